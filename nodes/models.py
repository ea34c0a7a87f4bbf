"""Harmonisation models under ComfyUI's model management."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path

from ..raiha_core.harmonizer import Harmonizer
from ..raiha_core.models import load_model
from ..raiha_core.models.registry import resolve
from . import folders
from .comfy import ModelPatcher, model_management

_KEPT = 2
_loaded: OrderedDict[tuple[Path, int], Managed] = OrderedDict()


class Managed:
    """A model that ComfyUI loads to its device and offloads when it needs the memory.

    The weights stay float32: they take 12 MB, and colours are computed from them.
    """

    def __init__(self, path: Path):
        model = load_model(path)
        self._patcher = ModelPatcher(
            model, load_device=model_management.get_torch_device(), offload_device=model_management.unet_offload_device()
        )
        self._harmonizer = Harmonizer(model)

    def ready(self) -> Harmonizer:
        """The harmoniser, its model on the device where it is to run."""
        model_management.load_models_gpu([self._patcher])
        return self._harmonizer


def managed(name: str) -> Managed:
    """A model by its name in the dropdown; the last two stay in memory.

    Raises:
        RaihaError: there is no such model, or its file is broken.
    """
    path = resolve(folders.model_path(name))
    key = (path, os.stat(path).st_mtime_ns if path.is_file() else 0)
    if key not in _loaded:
        _loaded[key] = Managed(path)
        while len(_loaded) > _KEPT:
            _loaded.popitem(last=False)
    _loaded.move_to_end(key)
    return _loaded[key]
