"""Numbers and devices that callers give, checked before any work is done."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .errors import RaihaError


def within(value: Any, most: float, name: str) -> float:
    """A setting, checked.

    Raises:
        RaihaError: it is no number from 0 to `most`.
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # the last of tensors that have no value
        number = -1.0
    if isinstance(value, str | bytes) or not 0 <= number <= most:
        shown = "a tensor" if isinstance(value, Tensor) else repr(value)[:40]
        raise RaihaError(f"The {name} is {shown}; give a number from 0 to {most:g}.")
    return number


def switch(value: Any, name: str) -> bool:
    """True or false.

    Raises:
        RaihaError: it is neither, such as an array.
    """
    try:
        return bool(value)
    except (RuntimeError, ValueError, TypeError):
        raise RaihaError(f"{name} is neither true nor false but {type(value).__name__}; give True or False.") from None


def checked_device(device: Any) -> torch.device:
    """The device of a name, if it can compute here; None is the CPU.

    Raises:
        RaihaError: it cannot.
    """
    if device is None:
        return torch.device("cpu")
    named = device
    try:
        if not isinstance(device, str | torch.device):  # numbers would be CUDA's
            raise TypeError
        named = torch.device(device)
        torch.empty(1, device=named)
    except Exception:  # each backend has its own way to say that it is absent, down to missing modules
        shown = str(device)[:40] if isinstance(device, str | torch.device) else f"a {type(device).__name__}"
        raise RaihaError(f"The device {shown!r} is not to be had here; use cpu, or install a torch that supports it.") from None
    if named.type == "meta":
        raise RaihaError("The device 'meta' computes nothing; use cpu.")
    return named
