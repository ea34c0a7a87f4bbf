"""Light: a Retinex estimate of the illumination of a picture's background, and a descriptor to compare two of them."""

from .descriptor import DESCRIPTOR_DIM, DESCRIPTOR_ID, describe, similarity
from .retinex import Retinex, estimate

__all__ = ["DESCRIPTOR_DIM", "DESCRIPTOR_ID", "Retinex", "describe", "estimate", "similarity"]
