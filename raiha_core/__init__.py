"""Raiha: retrieval-augmented image harmonisation.

Names are imported on first use, so that `import raiha_core` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import RaihaError

if TYPE_CHECKING:
    from .harmonizer import Harmonizer, Result, harmonize
    from .models import load_model
    from .references import Reference, ReferenceIndex
    from .transfer import transfer_look

__version__ = "0.1.0"
__all__ = ["Harmonizer", "RaihaError", "Reference", "ReferenceIndex", "Result", "harmonize", "load_model", "transfer_look"]

_HOME = {
    "Harmonizer": ".harmonizer",
    "Result": ".harmonizer",
    "harmonize": ".harmonizer",
    "load_model": ".models",
    "Reference": ".references",
    "ReferenceIndex": ".references",
    "transfer_look": ".transfer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name], __name__), name)
    globals()[name] = value
    return value
