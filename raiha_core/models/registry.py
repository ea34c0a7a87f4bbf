"""Which architectures there are, and how a checkpoint becomes a model.

A checkpoint says which architecture it is by the keys of its state dict, so a name or a path is all that a caller knows.
An architecture is a folder beside this file: `discover` imports it, and what it imports calls `register`.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError

from ..atomic import replacing
from ..checkpoint import State, read_state
from ..errors import RaihaError
from ..settings import checked_device
from .base import HarmonizationModel
from .soundness import FORMAT, check_checkpoint

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"
SHIPPED: dict[str, str] = {}
"""Models that come with the package: name -> file in `weights/`."""
SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")


@dataclass(frozen=True)
class Architecture:
    """One architecture: how its state dict is recognised and how a model is built from it.

    Attributes:
        name: also the value of the metadata key `architecture`.
        detect: whether these keys are of this architecture.
        build: a model with these weights; gets the state dict and the metadata.
    """

    name: str
    detect: Callable[[State], bool]
    build: Callable[[State, Mapping[str, str]], HarmonizationModel]


_registry: dict[str, Architecture] = {}


def register(name: str, detect: Callable[[State], bool], build: Callable[[State, Mapping[str, str]], HarmonizationModel]) -> None:
    """Make an architecture known to `load_model`; a later one of the same name replaces the earlier."""
    _registry[name] = Architecture(name, detect, build)


def ship(name: str, file: str) -> None:
    """Make weights that lie in `weights/` known to `load_model` by a name."""
    SHIPPED[name] = file


def discover() -> None:
    """Import every folder of this room, so that the architecture in it registers itself."""
    room = importlib.import_module(__package__)
    for module in pkgutil.iter_modules(room.__path__, f"{__package__}."):
        if module.ispkg:
            importlib.import_module(module.name)


def resolve(name_or_path: str | os.PathLike[str]) -> Path:
    """The file of a shipped name or a path.

    Raises:
        RaihaError: neither; says which names there are.
    """
    name = str(name_or_path)
    if name in SHIPPED:
        return WEIGHTS / SHIPPED[name]
    if Path(name).suffix in SUFFIXES or os.sep in name or os.path.exists(name):  # unlike Path's, false for names that are too long
        return Path(name).expanduser()
    raise RaihaError(f"There is no model named {name!r}; use {', '.join(SHIPPED)} or the path of a .safetensors or .pth file.")


def detect(state: State, path: Path) -> Architecture:
    """The architecture that a state dict belongs to.

    Raises:
        RaihaError: none that is known.
    """
    for architecture in _registry.values():
        if architecture.detect(state):
            return architecture
    raise RaihaError(f"{path} is a checkpoint of another kind; known are {', '.join(_registry)}.")


_UNKNOWN_SETTING = re.compile(r"got an unexpected keyword argument ('[^']*')")


def build_model(architecture: Architecture, state: State, metadata: Mapping[str, str], path: Path) -> HarmonizationModel:
    """A model with these weights, ready to predict.

    Raises:
        RaihaError: the weights do not fit the architecture, are not finite, or have an impossible configuration.
    """
    check_checkpoint(architecture.name, state, metadata, path)
    try:
        return architecture.build(state, metadata).eval()
    except RaihaError:
        raise
    except (RuntimeError, KeyError, TypeError, ValueError, IndexError, AttributeError, ZeroDivisionError) as error:
        reason = " ".join(str(error).split())[:160]
        if unknown := _UNKNOWN_SETTING.search(reason):
            reason = f"its config has a setting {unknown[1]} that this version does not know"
        raise RaihaError(
            f"{path} looks like {architecture.name} but does not fit it ({reason}); it may be incomplete or of another version."
        ) from None


def load_model(name_or_path: str | os.PathLike[str] = "raiha-s", device: torch.device | str | None = None) -> HarmonizationModel:
    """Load a model by the name of shipped weights or from a checkpoint of any known architecture.

    Args:
        name_or_path: `raiha-s`, or a `.safetensors` or `.pth` file.
        device: where to put it; None is the CPU.

    Raises:
        RaihaError: an unknown name, a file that is missing, broken, hostile or of another kind, or a device that cannot compute.
    """
    chosen = checked_device(device)
    path = resolve(name_or_path)
    state, metadata = read_state(path)
    return build_model(detect(state, path), state, metadata, path).to(chosen)


def save_model(model: HarmonizationModel, path: Path, *, half: bool = False, **metadata: str) -> None:
    """Write a model as safetensors with architecture and configuration in the metadata, atomically.

    Args:
        model: what to write.
        path: where.
        half: parameters in float16, half as large; they are float32 again when loaded. Buffers (statistics) stay float32.
        metadata: further facts to keep in the file.

    Raises:
        RaihaError: the file cannot be written, or float16 does not hold the weights; nothing is left of it then.
    """
    from safetensors.torch import save_file

    small = {name for name, _ in model.named_parameters()} if half else set()
    state = {
        k: (v.to(torch.float16 if k in small else torch.float32) if v.is_floating_point() else v).detach().cpu().contiguous()
        for k, v in model.state_dict().items()
    }
    if lost := [name for name in small if not state[name].isfinite().all()]:
        raise RaihaError(f"{lost[0]} has values that float16 does not hold; write the model in full precision.")
    said = {"architecture": model.architecture, "format": str(FORMAT), "config": json.dumps(model.config())}
    try:
        with replacing(path) as part:
            save_file(state, part, metadata=said | metadata)
            os.chmod(part, 0o644)  # safetensors makes it readable by its owner alone
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RaihaError(f"The model cannot be written to {path} ({reason}); choose another place.") from None
