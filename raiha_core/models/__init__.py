"""Harmonisation models behind one protocol, and their loading."""

from . import raiha_s as _raiha_s  # registers itself
from . import rhnet as _rhnet  # likewise
from .base import AffineMap, Attention, ColorTransform, HarmonizationModel, Prediction, apply_affine
from .registry import load_model, read_state, register, save_model

RaihaS = _raiha_s.RaihaS
RHNet = _rhnet.RHNet

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
