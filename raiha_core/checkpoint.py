"""Files of weights, read without running anything that lies in them."""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from .errors import RaihaError

State = dict[str, Tensor]
"""Names of parameters and buffers, and their values."""

_WRAPPERS = ("state_dict", "params_ema", "params", "model", "netG", "denoiser")


def read_state(path: Path) -> tuple[State, dict[str, str]]:
    """State dict and metadata of a `.safetensors` file, or of a `.pth` read with `weights_only=True`.

    A wrapping `state_dict`, `params_ema`, `params`, `model`, `netG` or `denoiser` is opened, the prefix `module.` of
    distributed training removed.

    Raises:
        RaihaError: the file is missing, truncated, corrupt, of another kind, or wants to run code.
    """
    _check_there(path)
    metadata: dict[str, str] = {}
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                loaded: Any = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
                metadata = dict(file.metadata() or {})
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "truncated" not in str(error):
            raise RaihaError(
                f"{path} is not a plain checkpoint: it holds objects other than tensors and was not loaded, since it could run code."
            ) from None
        raise RaihaError(f"{path} is truncated; fetch it again.") from None
    except Exception as error:  # parsing a stranger's file: broken ones raise a dozen unrelated kinds
        reason = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise RaihaError(f"{path} cannot be read as a checkpoint ({reason}); it may be truncated, so fetch it again.") from None
    for key in _WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not loaded or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise RaihaError(f"{path} holds no state dict; give a checkpoint of a harmonisation model.")
    return {str(k).removeprefix("module."): v for k, v in loaded.items()}, metadata


def _check_there(path: Path) -> None:
    # Not a pipe, whose opening would wait for ever; and other than `is_file` it takes names that are too long.
    if not os.path.isfile(path):
        raise RaihaError(f"The model file {path} does not exist or is no file; check the path.")


def digest(path: Path) -> str:
    """Short hash of a weights file, 16 hex digits of SHA-256.

    Raises:
        RaihaError: the file is missing.
    """
    _check_there(path)
    with path.open("rb") as file:
        sha = hashlib.sha256()
        while block := file.read(1 << 22):
            sha.update(block)
    return sha.hexdigest()[:16]
