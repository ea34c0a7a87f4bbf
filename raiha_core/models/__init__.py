"""Harmonisation models behind one protocol, and their loading."""

from .base import AffineMap, Attention, ColorTransform, HarmonizationModel, Prediction, apply_affine

__all__ = ["AffineMap", "Attention", "ColorTransform", "HarmonizationModel", "Prediction", "apply_affine"]
