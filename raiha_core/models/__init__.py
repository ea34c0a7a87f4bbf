"""Harmonisation models behind one protocol, and their loading. Each architecture is a folder of this room."""

from ..checkpoint import read_state
from .base import AffineMap, Attention, ColorTransform, HarmonizationModel, Prediction, apply_affine
from .raiha_s import RaihaS
from .registry import discover, load_model, register, save_model
from .rhnet import RHNet

discover()

__all__ = [
    "AffineMap",
    "Attention",
    "ColorTransform",
    "HarmonizationModel",
    "Prediction",
    "RHNet",
    "RaihaS",
    "apply_affine",
    "load_model",
    "read_state",
    "register",
    "save_model",
]
