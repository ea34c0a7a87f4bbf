"""Content encoders by name."""

from __future__ import annotations

import torch

from ..errors import RaihaError
from .base import ContentEncoder


def load_encoder(name: str = "embedded", device: torch.device | str | None = None) -> ContentEncoder:
    """Load a content encoder by the name a user gives.

    Raises:
        RaihaError: the name is not known.
    """
    if name == "embedded":
        from .embedded import EmbeddedEncoder

        return EmbeddedEncoder.load(device=device or "cpu")
    raise RaihaError(f"The content encoder {name!r} is not known; use embedded.")
