"""Content encoders: what a picture shows, whatever its light."""

from .base import ContentEncoder, ContentFeatures
from .factory import load_encoder

__all__ = ["ContentEncoder", "ContentFeatures", "load_encoder"]
