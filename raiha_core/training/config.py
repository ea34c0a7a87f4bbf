"""What a training run is told: a small YAML file, read into dataclasses; every mistake in it is one sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec
from msgspec import Meta

from ..errors import RaihaError
from .augment import KINDS, Recipe
from .sources import ReferenceMix

Count = Annotated[int, Meta(ge=1)]
FromZero = Annotated[int, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
BelowOne = Annotated[float, Meta(ge=0, lt=1)]
Side = Annotated[int, Meta(ge=32, multiple_of=32)]
"""Side of the pictures that a step trains on: both networks halve it five times, or pad to that."""


@dataclass(frozen=True)
class SourceConfig:
    """One source of the mixture.

    Attributes:
        kind: `photos` (a folder, with or without masks.jsonl and pairs.jsonl), `triplets` (composite/ mask/ real/), or
            `iharmony4` (the data set's root, its training lists).
        path: the folder; relative paths are taken from the config file's folder.
        weight: relative frequency in the mixture.
        also: further folders of the same layout, packed together with `path`, for `photos`.
        luts, illuminants: film looks and lights for the edits, `.npz`; optional.
        pack: folder for the packed arrays; default is below the run's folder.
        regions: masks to add per photo, of segments found by their colour; for `photos`.
        references: a list of retrieved references in the paper's format (JSON lines `input`, `mask`, `refs`, paths relative to
            the data set), for `triplets` and `iharmony4`.
        whole: train on whole pictures instead of crops around the foreground, for the same two.
    """

    kind: Literal["photos", "triplets", "iharmony4"]
    path: str
    weight: Positive = 1.0
    also: tuple[str, ...] = ()
    luts: str | None = None
    illuminants: str | None = None
    pack: str | None = None
    regions: FromZero = 0
    references: str | None = None
    whole: bool = False


@dataclass(frozen=True)
class TrainConfig:
    """A training run.

    Attributes:
        out: folder for checkpoints, log and curves.
        sources: the mixture.
        architecture: `raiha-s` or `rhnet`, with `model` as its constructor's arguments.
        backbone: safetensors to start raiha-s's backbone from: of raiha-s, or written by `scripts/distill_backbone.py`.
        start: safetensors of a whole model to fine-tune.
        learns: `all` of the model, or of raiha-s the `outline` alone, which is much faster.
        sizes: (share of the run, side in pixels) from when on which size is trained; sides are multiples of 32.
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
    learns: Literal["all", "outline"] = "all"
    sizes: tuple[tuple[Share, Side], ...] = ((0.0, 128), (0.7, 160))
    batch: Count = 32
    steps: Count = 10000
    learning_rate: Positive = 1e-3
    backbone_rate: NotNegative = 0.3
    weight_decay: NotNegative = 0.01
    warmup: FromZero = 300
    schedule: Literal["cosine", "linear"] = "cosine"
    hold: Share = 0.0
    ema: BelowOne = 0.998
    precision: Literal["no", "bf16", "fp16"] = "no"
    workers: FromZero = 1
    threads: Count = 1
    validation: str | None = None
    validate_every: Count = 1000
    checkpoint_every: Count = 500
    seed: FromZero = 0
    recipe: Recipe = field(default_factory=Recipe)
    references: ReferenceMix = field(default_factory=ReferenceMix)


def read_config(path: Path, overrides: dict[str, Any] | None = None) -> TrainConfig:
    """Read a YAML file; relative paths in it are taken from its folder.

    Raises:
        RaihaError: the file is missing or is not YAML, or something in it makes no sense.
    """
    import yaml

    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), _loader())
    except (OSError, UnicodeDecodeError):
        raise RaihaError(f"The training config {path} cannot be read; give an existing YAML file.") from None
    except yaml.YAMLError as error:
        raise RaihaError(f"The training config {path} is not valid YAML ({str(error).splitlines()[0]}).") from None
    if not isinstance(raw, dict):
        raise RaihaError(f"The training config {path} must be a mapping of keys to values.")
    _make_absolute(raw, ("out", "backbone", "start", "validation"), path.parent)
    sources = raw.get("sources")
    for source in sources if isinstance(sources, list) else ():
        _make_absolute(source, ("path", "luts", "illuminants", "pack", "references"), path.parent)
        if isinstance(source, dict) and isinstance(source.get("also"), list):
            source["also"] = [str((path.parent / str(folder)).resolve()) for folder in source["also"]]
    return config_from({**raw, **(overrides or {})})


def config_from(raw: dict[str, Any]) -> TrainConfig:
    """A config from plain values, as YAML and JSON give them.

    Raises:
        RaihaError: a key that is unknown or missing, a value of another type or outside of its range, or values that do not go
            together.
    """
    _refuse_unknown(TrainConfig, raw, "")
    try:
        config = msgspec.convert(raw, TrainConfig)
    except msgspec.ValidationError as error:
        raise RaihaError(_sentence(str(error), raw)) from None
    for wrong, advice in _contradictions(config):
        raise RaihaError(f"The training config's {wrong}; {advice}.")
    return config


def _loader() -> type:
    """PyYAML's safe loader, to which 1e-3 is a number and `no`, the name of a precision, a word, as they are in YAML 1.2."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Of its own, since resolvers are added to a class."""

    boolean = "tag:yaml.org,2002:bool"
    kept = {first: [r for r in all_ if r[0] != boolean] for first, all_ in Loader.yaml_implicit_resolvers.items()}
    Loader.yaml_implicit_resolvers = kept
    Loader.add_implicit_resolver(boolean, re.compile("^(true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789"))
    return Loader


def _make_absolute(raw: Any, keys: Sequence[str], folder: Path) -> None:
    for key in keys:
        if isinstance(raw, dict) and isinstance(raw.get(key), str):
            raw[key] = str((folder / raw[key]).resolve())


def _refuse_unknown(kind: type, raw: Any, where: str) -> None:
    """Keys are checked here, since msgspec passes over those that a dataclass does not have."""
    if not isinstance(raw, dict):
        return
    hints = get_type_hints(kind)
    known = {f.name for f in fields(kind)}
    for key, value in raw.items():
        if key not in known:
            raise RaihaError(f"The training config has an unknown key {where}{key}; known are {', '.join(sorted(known))}.")
        inner = hints[key] if is_dataclass(hints[key]) else next(iter(get_args(hints[key])), None)
        if isinstance(inner, type) and is_dataclass(inner):
            for part in value if isinstance(value, list | tuple) else [value]:
                _refuse_unknown(inner, part, f"{where}{key}.")


_WORDS = {"array": "a list", "object": "a mapping of keys to values", "float": "a number", "int": "a whole number", "str": "text"}
_WORDS |= {"bool": "true or false", "null": "nothing"}


def _sentence(message: str, raw: Any) -> str:
    """One of msgspec's messages as a sentence: what the value is, and what it must be."""
    what, _, path = message.partition(" - at `")
    if path and not path.startswith("$"):  # a key, not a value
        return f"The training config has a key in {path.partition('$')[2].strip('.`')} that is no text; write it in quotes."
    path = path[1:].rstrip("`").lstrip(".")
    if "missing required field" in what:
        inner = f" in {path}" if path else ""
        return f"The training config lacks {what.split('`')[1]}{inner}; give it."
    kind: Any = TrainConfig
    for token in re.findall(r"[^.\[\]]+|\.\.\.", path):
        kind = get_type_hints(kind)[token] if is_dataclass(kind) else next(iter(get_args(kind)), None)
        raw = raw[int(token)] if isinstance(raw, list | tuple) and token.isdigit() else raw.get(token) if isinstance(raw, dict) else None
    if what.startswith("Invalid enum value"):
        wanted = " or ".join(map(str, get_args(kind)))
    else:
        types, rest = what.removeprefix("Expected ").partition(", got")[0].split("`")[1:]
        wanted = " or ".join(_WORDS.get(name, name) for name in types.split(" | ")) + rest.replace("that's ", "that is ").replace(".0", "")
    found = "not that" if path.endswith("...]") else repr(raw)
    return f"The training config's {path.replace('[...]', '')} is {found}; give {wanted}."


def _contradictions(config: TrainConfig) -> list[tuple[str, str]]:
    """What every single value allows, but all together do not: (what is wrong, what to do)."""
    recipe, mix = config.recipe, config.references
    begins = [share for share, _ in config.sizes]
    strangers = sorted(set(recipe.shares) - set(KINDS))
    side, step = config.model.get("input_size", 32), 32 if config.architecture == "raiha-s" else 8
    apart = mix.positive, mix.retrieved, mix.wrong_light
    shares = {f"recipe.{name}": getattr(recipe, name) for name in ("regrade", "mood", "ramp", "capture", "moved", "pasted", "loose")}
    shares |= {f"references.{name}": getattr(mix, name) for name in ("found", "same_look")}
    checks = [
        (not isinstance(side, int) or side < step or side % step > 0, f"model.input_size is {side!r}", f"give a multiple of {step}"),
        (
            config.learns == "outline" and config.architecture != "raiha-s",
            f"learns is outline, which {config.architecture} has not",
            "give all",
        ),
        (not begins or begins[0] != 0, "sizes do not say what to begin with", "give [0, SIDE] first"),
        (begins != sorted(begins), "sizes are not in order", "let the shares of the run rise"),
        (bool(strangers), f"recipe.shares has no kind {', '.join(strangers)}", f"use {', '.join(KINDS)}"),
        (not _frequencies(recipe.shares.values()), "recipe.shares are no frequencies", "give numbers from 0 up, not all 0"),
        *((not _shares(value), f"{name} is no share", "give a number from 0 to 1") for name, value in shares.items()),
        (recipe.moved + recipe.pasted > 1 + 1e-6, "recipe.moved and recipe.pasted exceed 1", "let them sum to 1 at most"),
        (not recipe.amount >= 0, "recipe.amount is below 0", "give a number from 0 up"),
        (not recipe.most > 0, "recipe.most is not above 0", "give a positive number"),
        (not _frequencies(mix.count), "references.count are no frequencies", "give numbers from 0 up, not all 0"),
        (
            not _shares(*apart) or sum(apart) > 1 + 1e-6,
            "references' shares exceed 1",
            "positive + retrieved + wrong_light is 1 at most",
        ),
        (not 0 < mix.crop[0] <= mix.crop[1] <= 1, "references.crop is no range of shares", "give [LEAST, MOST], above 0 and up to 1"),
    ]
    return [(wrong, advice) for is_so, wrong, advice in checks if is_so]


def _frequencies(values: Any) -> bool:
    numbers = list(values)
    return all(0 <= v < float("inf") for v in numbers) and sum(numbers) > 0


def _shares(*values: float) -> bool:
    return all(0 <= v <= 1 for v in values)
