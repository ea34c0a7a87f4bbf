"""The weighted mixture of sources that a config names, opened once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ..content import load_encoder
from ..errors import RaihaError
from ..evaluation import Dataset, IHarmony4, TripletFolder
from .augment import EditBank, Recipe
from .config import SourceConfig, TrainConfig
from .kin import open_kin
from .pack import build_pack
from .sources import PhotoSource, RawBatch, ReferenceMix
from .triplets import TripletSource, with_list


class Source(Protocol):
    """Anything that draws raw batches."""

    def draw(self, batch: int, rng: np.random.Generator) -> RawBatch:
        """Draw one raw batch."""
        ...


@dataclass
class Mixture:
    """Sources with their weights, and what edits are drawn from. One source per step, so that batches stay of one kind."""

    sources: list[Source]
    weights: NDArray[np.float64]
    bank: EditBank
    contents: list[dict[str, Any]]
    """What lies in each source now, `items` and a `digest`, so that a resumed run notices other pictures."""

    def draw(self, batch: int, rng: np.random.Generator) -> RawBatch:
        """Draw a source, then a raw batch from it."""
        return self.sources[int(rng.choice(len(self.sources), p=self.weights))].draw(batch, rng)


def _archived(path: str | None, key: str) -> NDArray[np.float32] | None:
    if path is None:
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            return np.asarray(archive[key], np.float32)
    except (OSError, KeyError, ValueError):
        raise RaihaError(f"The table {path} cannot be read; it must be an .npz file with an array '{key}'.") from None


def open_edit_bank(sources: tuple[SourceConfig, ...]) -> EditBank:
    """Film looks and illuminants of all sources together.

    Raises:
        RaihaError: a table is missing or of another shape.
    """
    luts = [t for s in sources if (t := _archived(s.luts, "luts")) is not None]
    patches = [t for s in sources if (t := _archived(s.illuminants, "patches")) is not None]
    lut = np.concatenate(luts).transpose(0, 4, 1, 2, 3) if luts else np.zeros((0, 3, 2, 2, 2), np.float32)
    patch = np.concatenate(patches) / 255 if patches else np.zeros((0, 24, 3), np.float32)
    return EditBank(torch.from_numpy(np.ascontiguousarray(lut)), torch.from_numpy(patch))


def open_source(config: SourceConfig, cache: Path, recipe: Recipe, mix: ReferenceMix) -> Source:
    """Open one source; packs go to `cache`.

    Raises:
        RaihaError: an unknown kind, or a folder without what it needs.
    """
    root = Path(config.path)
    if config.kind == "photos":
        pack = build_pack(root, cache, regions=config.regions, also=[Path(folder) for folder in config.also])
        return PhotoSource(pack, open_kin(pack, load_encoder("embedded"), cache / "kin.npz"), recipe, mix)
    if config.kind in ("triplets", "iharmony4"):
        dataset: Dataset = TripletFolder(root) if config.kind == "triplets" else IHarmony4(root, "train")
        rows = with_list(dataset, Path(config.references)) if config.references else dataset
        return TripletSource(rows, whole=config.whole, mix=mix)
    raise RaihaError(f"The training source kind {json.dumps(config.kind)} is not known; use photos, triplets or iharmony4.")


def open_mixture(config: TrainConfig, out: Path, main: bool = True, wait: Callable[[], None] = lambda: None) -> Mixture:
    """Open all sources; where several processes share a disk, the main one packs first.

    Raises:
        RaihaError: no source, or one that cannot be opened.
    """
    if not config.sources:
        raise RaihaError("The training config names no sources; give at least one with kind and path.")
    if not main:
        wait()
    sources = [
        open_source(s, Path(s.pack) if s.pack else out / f"pack{i}", config.recipe, config.references) for i, s in enumerate(config.sources)
    ]
    if main:
        wait()
    weights = np.array([s.weight for s in config.sources], np.float64)
    return Mixture(sources, weights / weights.sum(), open_edit_bank(config.sources), [_contents(s) for s in sources])


def _contents(source: Source) -> dict[str, Any]:
    if isinstance(source, PhotoSource):
        return {"items": len(source.pack.names), "digest": source.pack.digest}
    if isinstance(source, TripletSource):
        names = "\n".join(f"{row.name} {len(row.references)}" for row in source.rows)
        return {"items": len(source.rows), "digest": hashlib.sha256(names.encode()).hexdigest()}
    return {}
