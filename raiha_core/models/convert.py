"""Turn a published checkpoint into one safetensors file that needs nothing beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checkpoint import State, read_state
from ..errors import RaihaError
from .base import HarmonizationModel
from .registry import build_model, detect, save_model
from .rhnet import RHNet, infer_config
from .rhnet.prior import DINOV2


@dataclass(frozen=True)
class Converted:
    """What `convert` wrote.

    Attributes:
        out: the file.
        architecture: for example `rhnet`.
        parameters: how many the model has, the content prior's included where it is carried.
        config: constructor arguments.
    """

    out: Path
    architecture: str
    parameters: int
    config: Mapping[str, Any]


def convert(
    source: Path,
    out: Path,
    *,
    denoiser: Path | None = None,
    dinov2: Path | None = None,
    fetch: bool = False,
    prior: str | None = None,
    half: bool = False,
) -> Converted:
    """Convert a checkpoint of any known architecture; parts of `rhnet` that lie in other files are put in.

    Args:
        source: `.pth` or `.safetensors`, keys with or without the prefix `module.`.
        out: the `.safetensors` file to write; an existing one is replaced in one step.
        denoiser: checkpoint of the denoising block, if it is not in `source`.
        dinov2: weights of the content prior, to be carried in the file.
        fetch: carry the prior's weights from the library's cache, downloading them if they are not there.
        prior: content encoder that the model was trained with; None: what the checkpoint says, or the paper's.
        half: see `save_model`.

    Raises:
        RaihaError: a file is missing, broken, hostile or of another kind, parts do not fit each other, or `out` cannot be
            written.
    """
    if out.suffix != ".safetensors":
        raise RaihaError(f"The converted model {out} must be called .safetensors; change the name.")
    if not out.parent.is_dir():
        raise RaihaError(f"The folder {out.parent} does not exist; create it first.")
    state, metadata = read_state(source)
    architecture = detect(state, source)
    if architecture.name == "rhnet":
        model: HarmonizationModel = _complete(state, metadata, source, denoiser, dinov2, fetch, prior)
    elif denoiser or dinov2 or fetch or prior:
        raise RaihaError(f"{source} is of the architecture {architecture.name}, which takes no content prior; leave those options out.")
    else:
        model = build_model(architecture, state, metadata, source)
    extra = {k: v for k, v in metadata.items() if k not in ("architecture", "config", "format")}
    save_model(model, out, half=half, **extra)
    return Converted(out, architecture.name, sum(p.numel() for p in model.parameters()), model.config())


def _complete(
    state: State, metadata: Mapping[str, str], source: Path, denoiser: Path | None, dinov2: Path | None, fetch: bool, prior: str | None
) -> RHNet:
    """RHNet with its parts gathered from several files."""
    network = {k: v for k, v in state.items() if k.startswith(("model_layer", "model_out.", "DVTATT.", "prior."))}
    block = _denoiser_state(read_state(denoiser)[0], denoiser) if denoiser else _find_denoiser(state)
    network |= {f"prior.denoiser.{k}": v for k, v in block.items()}
    try:
        config = json.loads(metadata["config"]) if "config" in metadata else {}
        config |= infer_config(network)
    except (ValueError, TypeError, KeyError, IndexError):
        raise RaihaError(f"{source} looks like rhnet, but its configuration makes no sense; fetch the checkpoint again.") from None
    config["prior"] = prior or config.get("prior", DINOV2)
    if dinov2 or fetch:
        from ..content.dinov2 import locate, read_vit

        kind, _, name = config["prior"].partition(":")
        if kind != "dinov2":
            raise RaihaError(f"The content prior {config['prior']} cannot be carried in the file; only dinov2:MODEL can.")
        name = name.partition("@")[0]
        vit = read_vit(name, dinov2 or locate(name))
        network |= {f"prior.vit.{k}": v for k, v in vit.state_dict().items()}
        config["carries_prior"] = True
    unknown = len(state) - sum(k in network for k in state) - len(block if not denoiser else ())
    if unknown > 0:
        raise RaihaError(f"{source} holds {unknown} tensors that rhnet does not know; it is of another kind or version.")
    model = build_model(detect(network, source), network, {"config": json.dumps(config)}, source)
    assert isinstance(model, RHNet)
    return model


def _find_denoiser(state: State) -> State:
    """The denoising block among other tensors, its prefix removed; empty if there is none."""
    for key in state:
        prefix = key.removesuffix("pos_embed")
        if prefix != key and not prefix.startswith("prior.") and f"{prefix}denoiser.norm1.weight" in state:
            names = (f"{prefix}denoiser.", key)
            return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(names)}
    return {}


def _denoiser_state(state: State, path: Path) -> State:
    found = _find_denoiser(state)
    if not found:
        raise RaihaError(f"{path} holds no denoising block; give the checkpoint with `pos_embed` and `denoiser.*`, or leave it out.")
    return found
