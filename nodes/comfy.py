"""Everything that is imported from ComfyUI, in one place."""

from __future__ import annotations

import dataclasses
from typing import Any

import comfy.model_management as model_management
import folder_paths
from comfy.model_patcher import ModelPatcher
from comfy.utils import ProgressBar
from comfy_api.latest import ComfyExtension, io

_KNOWN = {field.name for field in dataclasses.fields(io.Schema)}

RaihaIndex = io.Custom("RAIHA_INDEX")
RaihaReferences = io.Custom("RAIHA_REFERENCES")
RaihaAttention = io.Custom("RAIHA_ATTENTION")


@io.comfytype(io_type="RAIHA_PICKS")
class RaihaPicks(io.ComfyTypeIO):
    """The gallery widget's value: a JSON string."""

    Type = str

    class Input(io.WidgetInput):
        """Drawn by `web/gallery.js`."""


def schema(**fields: Any) -> io.Schema:
    """A schema without the fields that this version of ComfyUI does not know, which would make it raise."""
    return io.Schema(category="Raiha", **{key: value for key, value in fields.items() if key in _KNOWN})


class Steps:
    """Progress on the node and the chance to stop it, one step at a time."""

    def __init__(self, total: int):
        self._bar = ProgressBar(max(1, total))

    def step(self) -> None:
        """One more is done. Raises ComfyUI's interruption if the user pressed cancel."""
        self._bar.update(1)
        model_management.throw_exception_if_processing_interrupted()

    def reach(self, done: int, total: int) -> None:
        """So many of so many are done; for work that counts itself."""
        self._bar.update_absolute(done, max(1, total))
        model_management.throw_exception_if_processing_interrupted()


__all__ = [
    "ComfyExtension",
    "ModelPatcher",
    "RaihaAttention",
    "RaihaIndex",
    "RaihaPicks",
    "RaihaReferences",
    "Steps",
    "folder_paths",
    "io",
    "model_management",
    "schema",
]
