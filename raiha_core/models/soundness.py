"""What a checkpoint must be before a model is made of it: of a known format, with possible settings and finite weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import RaihaError

FORMAT = 1
"""Of the files that `save_model` writes; one that an earlier version cannot read gets a higher number."""
_LARGEST = 1e6
"""No trained weight comes near it; half precision ends at 65504."""
_SIDES = range(32, 2049)
_STRIDES = {"raiha-s": 32}
_USUAL_STRIDE = 8
_SHARES = frozenset(["caution"])  # settings from 0 to 1
_MOST = 100_000
"""Of any other number in a configuration; layers of such a width would fill any memory."""


def check_checkpoint(architecture: str, state: Mapping[str, Tensor], metadata: Mapping[str, str], path: Path) -> None:
    """Refuse a checkpoint that would load and then fail, or paint in black.

    Raises:
        RaihaError: a later format, an impossible configuration, weights that are not finite or absurdly large.
    """
    _check_format(metadata.get("format", "1"), path)
    if "config" in metadata:
        _check_config(architecture, metadata["config"], path)
    for name, weight in state.items():
        _check_weight(name, weight, path)


def _check_format(said: str, path: Path) -> None:
    if not said.isdecimal():
        raise RaihaError(f"{path} says its format is {said[:20]!r}, which is no number; it is damaged, so fetch it again.")
    if int(said[:9]) > FORMAT:
        raise RaihaError(f"{path} was written by a later version of Raiha (format {said[:9]}; this one reads {FORMAT}); update Raiha.")


def _check_config(architecture: str, text: str, path: Path) -> None:
    try:
        config: Any = json.loads(text)
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise RaihaError(f"{path} has a configuration that cannot be read; fetch it again.")
    for key, value in config.items():
        if isinstance(value, str | bool) and key not in _SHARES:
            continue
        kinds, most = (int | float, 1) if key in _SHARES else (int, _MOST)
        if isinstance(value, bool) or not isinstance(value, kinds) or not 0 <= value <= most:
            raise RaihaError(f"{path} has the impossible setting {key[:40]} = {str(value)[:40]} in its configuration; fetch it again.")
    side, stride = config.get("input_size", 256), _STRIDES.get(architecture, _USUAL_STRIDE)
    if type(side) is not int or side not in _SIDES or side % stride:
        raise RaihaError(
            f"{path} has the impossible setting input_size = {str(side)[:40]}; "
            f"it must be a multiple of {stride} from {_SIDES.start} to {_SIDES.stop - 1}."
        )


def _check_weight(name: str, weight: Tensor, path: Path) -> None:
    if weight.layout != torch.strided or weight.is_meta or weight.is_quantized:
        raise RaihaError(f"{path} holds {name[:80]} as a sparse, quantised or empty tensor; save the checkpoint with dense weights.")
    if not weight.numel() or not (weight.is_floating_point() or weight.is_complex()):
        return
    # Infinity and NaN come through the extremes; float8 has no arithmetic of its own.
    largest = float(weight.float().abs().amax()) if not weight.is_complex() else float("nan")
    if not largest <= _LARGEST:
        what = "a weight as large as " + f"{largest:.1e}" if largest < float("inf") else "weights that are not finite"
        raise RaihaError(f"{path} has {what} in {name[:80]}; it is damaged or its training diverged, so use another.")
