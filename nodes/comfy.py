"""Everything that is imported from ComfyUI, in one place."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, TypeVar

import comfy.model_management as model_management
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from comfy.utils import ProgressBar
from comfy_api.latest import ComfyExtension, io
from torch import Tensor

from ..raiha_core.errors import RaihaError
from .sentences import here, shown

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


Execute = TypeVar("Execute", bound=Callable[..., Any])


def checked(*own: str) -> Callable[[Execute], Execute]:
    """Check an `execute` method's values against its node's schema: ComfyUI does so for widgets, but not for what is linked to them.

    What goes wrong in the method is said with what can be done about it in ComfyUI.

    Args:
        own: lists whose options are not the whole truth, so that the node looks by itself whether the text is one.

    Raises:
        RaihaError: (the method, when called) a number beyond its bounds, an option that is none, a value of another type.
    """

    def wrap(execute: Execute) -> Execute:
        parameters = inspect.signature(execute)

        @functools.wraps(execute)
        def run(cls: Any, *values: Any, **named: Any) -> Any:
            given = parameters.bind(cls, *values, **named).arguments
            for wanted in sorted(cls.define_schema().inputs, key=lambda i: i.io_type in _SOCKETS):
                if wanted.id in given:
                    given[wanted.id] = _checked(wanted, given[wanted.id], wanted.id in own)
            try:
                return execute(**given)
            except RaihaError as error:
                raise here(error) from None

        return run  # type: ignore[return-value]

    return wrap


def _checked(wanted: Any, value: Any, listed_elsewhere: bool = False) -> Any:
    """A value of its input's kind and, of a widget, within its bounds."""
    kind, name = wanted.io_type, wanted.id
    if kind in _SOCKETS:
        return value if value is None and getattr(wanted, "optional", False) else _carried(kind, name, value)
    if kind in ("INT", "FLOAT"):
        number = _number(value)
        if number is None or (kind == "INT" and number != int(number)):
            raise RaihaError(f"{name} is {shown(value)}; give {'a whole number' if kind == 'INT' else 'a number'}.")
        if (wanted.min is not None and number < wanted.min) or (wanted.max is not None and number > wanted.max):
            raise RaihaError(f"{name} is {number:g}; give a number from {wanted.min:g} to {wanted.max:g}.")
        return int(number) if kind == "INT" else number
    if kind == "BOOLEAN" and not isinstance(value, bool):
        if _number(value) not in (0, 1):
            raise RaihaError(f"{name} is {shown(value)}; give true or false.")
        return bool(_number(value))
    if kind == "COMBO" and not (isinstance(value, str) and (listed_elsewhere or value in (wanted.options or ()))):
        which = "from the list" if listed_elsewhere else "of " + ", ".join(map(repr, wanted.options or ()))
        raise RaihaError(f"{name} is {shown(value)}; choose one {which}.")
    return value


_SOCKETS = {
    "IMAGE": "an image",
    "MASK": "a mask",
    "RAIHA_INDEX": "Load Reference Index",
    "RAIHA_REFERENCES": "Retrieve References",
    "RAIHA_ATTENTION": "Harmonize Composite",
}
_CARRIED = {"RAIHA_INDEX": "IndexHandle", "RAIHA_REFERENCES": "ReferenceSet", "RAIHA_ATTENTION": "AttentionSource"}


def _carried(kind: str, name: str, value: Any) -> Any:
    """What came over a socket, if it is what the socket carries; an image of one channel as one of three.

    Raises:
        RaihaError: it is something else, as sockets of any type may give.
    """
    if kind in _CARRIED:
        if type(value).__name__ != _CARRIED[kind]:
            raise RaihaError(f"{name} is {shown(value)}; connect {_SOCKETS[kind]}.")
        return value
    if not isinstance(value, Tensor):
        raise RaihaError(f"{name} is {shown(value)}; connect {_SOCKETS[kind]}.")
    if value.layout != torch.strided or value.is_meta or value.is_complex():
        raise RaihaError(f"{name} is a tensor of another kind than {_SOCKETS[kind]}; connect {_SOCKETS[kind]}.")
    value = value.detach()
    if kind == "MASK":
        return value
    if value.ndim != 4 or value.shape[3] not in (1, 3, 4) or 0 in value.shape[1:]:
        sides = " x ".join(map(str, value.shape))
        raise RaihaError(f"{name} has the shape {sides}; connect images: a number, a height, a width, and 3 channels, or 4 with alpha.")
    return value.expand(-1, -1, -1, 3) if value.shape[3] == 1 else value


def _number(value: Any) -> float | None:
    """A finite number, also one written as text; None for anything else."""
    try:
        number = float(value.detach() if isinstance(value, Tensor) else value)
    except (TypeError, ValueError, RuntimeError):
        return None
    return number if math.isfinite(number) else None


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
    "checked",
    "folder_paths",
    "io",
    "model_management",
    "schema",
]
