"""What a training run is told: a small YAML file, read into dataclasses that refuse unknown keys."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from ..errors import RaihaError
from .augment import Recipe
from .sources import ReferenceMix


@dataclass(frozen=True)
class SourceConfig:
    """One source of the mixture.

    Attributes:
        kind: `photos` (a folder, with or without masks.jsonl and pairs.jsonl), `triplets` (composite/ mask/ real/), or
            `iharmony4` (the data set's root, its training lists).
        path: the folder; relative paths are taken from the config file's folder.
        weight: relative frequency in the mixture.
        also: further folders of the same layout, packed together with `path`, for `photos`.
        luts, illuminants: tables for the edits, `.npz`; optional.
        pack: folder for the packed arrays; default is below the run's folder.
        regions: masks to add per photo, of regions found by their colour; for `photos`.
        references: a list of retrieved references in the paper's format (JSON lines `input`, `mask`, `refs`, paths relative to
            the data set), for `triplets` and `iharmony4`.
        whole: train on whole pictures instead of crops around the foreground, for the same two.
    """

    kind: str
    path: str
    weight: float = 1.0
    also: tuple[str, ...] = ()
    luts: str | None = None
    illuminants: str | None = None
    pack: str | None = None
    regions: int = 0
    references: str | None = None
    whole: bool = False


@dataclass(frozen=True)
class TrainConfig:
    """A training run.

    Attributes:
        out: folder for checkpoints, log and curves.
        sources: the mixture.
        architecture: `raiha-s` or `rhnet`, with `model` as its constructor's arguments.
        backbone: safetensors to start raiha-s's backbone from: of raiha-s, or written by `raiha_core.training.distill`.
        start: safetensors of a whole model to fine-tune.
        sizes: (share of the run, side in pixels) from when on which size is trained.
        batch: pictures per step and process.
        steps: length of the run.
        learning_rate, backbone_rate, weight_decay, warmup: AdamW; the second is a factor for the backbone.
        schedule: `cosine` or `linear`.
        hold: share of the run at the full rate, before a linear schedule falls.
        ema: decay of the averaged weights.
        precision: `no`, `bf16` or `fp16` (accelerate's names).
        workers: loader processes; on a CPU they also do the augmentation.
        threads: torch threads of the trainer on a CPU.
        validation: triplet folder measured every `validate_every` steps, or None.
        checkpoint_every: steps between checkpoints.
        seed: everything random follows from it and from the step.
    """

    out: str
    sources: tuple[SourceConfig, ...]
    architecture: str = "raiha-s"
    model: dict[str, Any] = field(default_factory=dict)
    backbone: str | None = None
    start: str | None = None
    sizes: tuple[tuple[float, int], ...] = ((0.0, 128), (0.7, 160))
    batch: int = 32
    steps: int = 10000
    learning_rate: float = 1e-3
    backbone_rate: float = 0.3
    weight_decay: float = 0.01
    warmup: int = 300
    schedule: str = "cosine"
    hold: float = 0.0
    ema: float = 0.998
    precision: str = "no"
    workers: int = 1
    threads: int = 1
    validation: str | None = None
    validate_every: int = 1000
    checkpoint_every: int = 500
    seed: int = 0
    recipe: Recipe = field(default_factory=Recipe)
    references: ReferenceMix = field(default_factory=ReferenceMix)


def _build(kind: type, raw: dict[str, Any], where: str) -> Any:
    hints = get_type_hints(kind)
    known = {f.name for f in fields(kind)}
    for key in raw:
        if key not in known:
            raise RaihaError(f"The training config has an unknown key {where}{key}; known are {', '.join(sorted(known))}.")
    values: dict[str, Any] = {}
    for key, value in raw.items():
        hint = hints[key]
        if key == "sources":
            value = tuple(_build(SourceConfig, s, "sources.") for s in value)
        elif is_dataclass(hint) and isinstance(hint, type):
            value = _build(hint, value, f"{key}.")
        elif isinstance(value, list):
            value = tuple(tuple(v) if isinstance(v, list) else v for v in value)
        values[key] = value
    try:
        return kind(**values)
    except TypeError as error:
        raise RaihaError(f"The training config is incomplete: {str(error).split('__init__() ')[-1]}.") from None


def read_config(path: Path, overrides: dict[str, Any] | None = None) -> TrainConfig:
    """Read a YAML file; relative paths in it are taken from its folder.

    Raises:
        RaihaError: the file is missing, is not YAML, or has unknown or missing keys.
    """
    import yaml

    try:
        raw = yaml.safe_load(path.read_text())
    except OSError:
        raise RaihaError(f"The training config {path} cannot be read; give an existing YAML file.") from None
    except yaml.YAMLError as error:
        raise RaihaError(f"The training config {path} is not valid YAML ({str(error).splitlines()[0]}).") from None
    if not isinstance(raw, dict):
        raise RaihaError(f"The training config {path} must be a mapping of keys to values.")

    def absolute(value: str) -> str:
        return str((path.parent / value).resolve())

    for key in ("out", "backbone", "start", "validation"):
        if isinstance(raw.get(key), str):
            raw[key] = absolute(raw[key])
    for source in raw.get("sources", []):
        for key in ("path", "luts", "illuminants", "pack", "references"):
            if isinstance(source.get(key), str):
                source[key] = absolute(source[key])
        if isinstance(source.get("also"), list):
            source["also"] = [absolute(str(folder)) for folder in source["also"]]
    return config_from({**raw, **(overrides or {})})


def config_from(raw: dict[str, Any]) -> TrainConfig:
    """A config from plain values, as `read_config` gives them.

    Raises:
        RaihaError: unknown or missing keys.
    """
    config: TrainConfig = _build(TrainConfig, raw, "")
    return config
