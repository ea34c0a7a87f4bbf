"""`raiha-s`: the small default model, whose weights come with the package."""

from ..registry import ship
from .network import Output, RaihaS

ship("raiha-s", "raiha-s.safetensors")

__all__ = ["Output", "RaihaS"]
