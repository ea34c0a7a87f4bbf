"""What a run's folder remembers: checkpoints that survive a kill, and which run they belong to."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import __version__
from ..atomic import replacing
from ..errors import RaihaError
from .config import TrainConfig, config_from

CHECKPOINT, RECORD = "checkpoint", "run.json"

_NOT_THE_RUN = {"out", "workers", "threads", "validation", "validate_every", "checkpoint_every"}
"""Keys that change where and how fast a run goes, not where to."""


def part_of(out: Path) -> Path:
    """Where a checkpoint is written before it replaces the last one."""
    return out / f"{CHECKPOINT}.part"


def clear_part(out: Path) -> None:
    """Remove what a kill left of a checkpoint that was being written."""
    shutil.rmtree(part_of(out), ignore_errors=True)


def recover(out: Path) -> bool:
    """Whether there is a checkpoint to go on from, after mending what a kill within `replace_checkpoint` left."""
    checkpoint, part, old = out / CHECKPOINT, part_of(out), out / f"{CHECKPOINT}.old"
    if not checkpoint.is_dir() and old.is_dir():
        # The old one is only put aside when the new one is whole.
        os.replace(part if part.is_dir() else old, checkpoint)
    return checkpoint.is_dir()


def replace_checkpoint(out: Path) -> None:
    """Put the finished `checkpoint.part` in the checkpoint's place; a kill at any moment leaves a whole one for `recover`."""
    checkpoint, part, old = out / CHECKPOINT, part_of(out), out / f"{CHECKPOINT}.old"
    shutil.rmtree(old, ignore_errors=True)
    if checkpoint.is_dir():
        os.replace(checkpoint, old)
    os.replace(part, checkpoint)
    shutil.rmtree(old, ignore_errors=True)


def write_record(out: Path, config: TrainConfig, contents: Sequence[dict[str, Any]]) -> None:
    """Note which run the folder holds."""
    said = {"version": __version__, "config": asdict(config), "contents": list(contents)}
    with replacing(out / RECORD) as part:
        part.write_text(json.dumps(said, indent=1), encoding="utf-8")


def refuse_another_run(out: Path, config: TrainConfig) -> None:
    """Refuse a folder whose checkpoint belongs to a run with another config.

    Raises:
        RaihaError: says which keys differ.
    """
    before = _read(out).get("config")
    if not isinstance(before, dict):
        raise RaihaError(f"The checkpoint in {out} does not say what it was trained with, so it was made by an earlier version; {_ADVICE}.")
    with suppress(RaihaError):  # keys that are gone since then are differences; those that are new have their defaults
        before = asdict(config_from(before))
    was, now = _flat(_identity(before)), _flat(_identity(asdict(config)))
    changed = [f"{k} was {_short(was.get(k))} and is {_short(now.get(k))}" for k in sorted(was | now) if was.get(k) != now.get(k)]
    if changed:
        more = f", and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise RaihaError(f"{out} holds another run: {', '.join(changed[:3])}{more}; {_ADVICE}.")


def refuse_other_data(out: Path, config: TrainConfig, contents: Sequence[dict[str, Any]]) -> None:
    """Refuse a folder whose checkpoint was trained on other pictures than lie in the sources now.

    Raises:
        RaihaError: says of which source.
    """
    before = _read(out).get("contents")
    for source, was, now in zip(config.sources, before if isinstance(before, list) else [], contents, strict=False):
        if was != now:
            counts = f"{was.get('items')} then, {now['items']} now" if was.get("items") != now["items"] else "as many, but others"
            raise RaihaError(f"The pictures in {source.path} have changed since the run in {out} began ({counts}); {_ADVICE}.")


_ADVICE = "give another --out, or --force-resume to go on from its checkpoint all the same"


def _read(out: Path) -> dict[str, Any]:
    try:
        record = json.loads((out / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _identity(config: dict[str, Any]) -> dict[str, Any]:
    """What of a config decides where its run leads."""
    sources = [{k: v for k, v in s.items() if k != "pack"} for s in config.get("sources", ())]
    return {k: v for k, v in config.items() if k not in _NOT_THE_RUN} | {"sources": sources}


def _flat(value: Any, where: str = "") -> dict[str, Any]:
    """Nested mappings and lists as one mapping of paths such as `sources[0].path` to plain values."""
    if isinstance(value, dict):
        parts = [(f"{where}.{k}" if where else str(k), v) for k, v in value.items()]
    elif isinstance(value, list | tuple) and any(isinstance(v, dict) for v in value):
        parts = [(f"{where}[{i}]", v) for i, v in enumerate(value)]
    else:
        return {where: json.loads(json.dumps(value))}
    return {k: v for path, part in parts for k, v in _flat(part, path).items()}


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:20]}...{text[-57:]}"  # of a path the end says more
