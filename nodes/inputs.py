"""Inputs that several nodes have, each described once."""

from __future__ import annotations

from . import folders
from .comfy import RaihaReferences, io
from .masks import RESIZE, SAME


def model(tooltip: str = "raiha-s ships with the pack. Other checkpoints go into models/raiha.") -> io.Combo.Input:
    """Which model harmonises or judges."""
    return io.Combo.Input("model", options=folders.model_names(), default="raiha-s", tooltip=tooltip)


def mask_size(picture: str = "image", optional: bool = False) -> io.Combo.Input:
    """What becomes of a mask that has another size than `picture`."""
    return io.Combo.Input(
        "mask_size",
        options=[SAME, RESIZE],
        default=SAME,
        optional=optional,
        tooltip=f"What to do with a mask of another size than the {picture}: refuse it, or scale it.",
    )


def references() -> RaihaReferences.Input:
    """Retrieved photos."""
    return RaihaReferences.Input(
        "references", optional=True, tooltip="Photos from Retrieve References that show such things in such light."
    )


def share(name: str, default: float, tooltip: str, optional: bool = False, most: float = 1.0) -> io.Float.Input:
    """A number from 0 to 1, or to `most`."""
    return io.Float.Input(name, default=default, min=0.0, max=most, step=0.05, optional=optional, tooltip=tooltip)
