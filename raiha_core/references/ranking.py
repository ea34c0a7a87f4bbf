"""Candidates to references: exact scores, the weight between them, minimums, duplicates, pins."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import torch

from ..illumination import similarity
from .catalogue import Catalogue
from .kinds import PHOTO
from .lookalike import SAME, resemblance
from .query import Query
from .rows import ImageRow, RegionRow


@dataclass(frozen=True)
class Wishes:
    """How to rank.

    Attributes:
        k: how many references.
        weight: share of the illumination in the score, in [0, 1].
        min_content, min_illumination: lowest scores to accept, in [0, 1].
        pinned: rows of photos to return first, whatever their scores, in this order.
        excluded: rows of photos never to return.
        deduplicate: drop photos that look like the query's own or like a better one.
    """

    k: int
    weight: float
    min_content: float = 0.0
    min_illumination: float = 0.0
    pinned: tuple[int, ...] = ()
    excluded: frozenset[int] = field(default_factory=frozenset)
    deduplicate: bool = True


@dataclass(frozen=True)
class Ranked:
    """A photo with its scores and the region that matched best."""

    image: ImageRow
    region: RegionRow
    content: float
    illumination: float
    score: float


def rank(query: Query, regions: Iterable[RegionRow], catalogue: Catalogue, wishes: Wishes) -> list[Ranked]:
    """Score photos by their best region and sort them, best first; pinned ones are left to `choose`.

    Photos that are not in the index any more, whose vectors are kept, do not count.
    """
    best = _best_regions(query, regions)
    images = catalogue.images(catalogue.files_of(best))
    rows = [row for row in best if row in images]
    if not rows:
        return []
    light = np.zeros(len(rows), np.float32)
    weight = wishes.weight
    if query.illumination is None:
        weight = 0.0
    else:
        descriptors = torch.from_numpy(np.stack([images[row].illumination for row in rows]))
        light = similarity(descriptors, torch.from_numpy(query.illumination)).numpy()
    ranked = []
    for row, shine in zip(rows, light, strict=True):
        region, content = best[row]
        ranked.append(Ranked(images[row], region, content, float(shine), (1 - weight) * content + weight * float(shine)))
    return sorted(ranked, key=lambda r: (-r.score, r.image.hash))


def choose(query: Query, ranked: list[Ranked], wishes: Wishes, exists: Callable[[Ranked], bool]) -> list[Ranked]:
    """Take the pinned and the best photos, without duplicates; of several that look the same, the largest.

    Pictures of other kinds than photos (see `kinds`) are only taken when pinned; grey ones also for a grey composite.

    Args:
        query: what was searched for.
        ranked: candidates, best first, the pinned among them.
        wishes: how many, and which.
        exists: whether a photo's file is still there; asked only for those about to be chosen.
    """
    by_row = {r.image.id: r for r in ranked}
    chosen = [by_row[row] for row in wishes.pinned if row in by_row and exists(by_row[row])]
    rest = [
        r
        for r in ranked
        if r.image.id not in wishes.excluded
        and r.image.id not in wishes.pinned
        and r.content >= wishes.min_content
        and (r.illumination >= wishes.min_illumination or query.illumination is None)
        and r.image.kind in (PHOTO, query.kind)
    ]
    if wishes.deduplicate:
        itself = resemblance(query.signature, [r.image.signature for r in rest], query.background)
        rest = [r for r, same in zip(rest, itself, strict=True) if same < SAME]
    for candidate in rest:
        if len(chosen) >= wishes.k:
            break
        alike = [candidate]
        if wishes.deduplicate:
            if (resemblance(candidate.image.signature, [c.image.signature for c in chosen]) >= SAME).any():
                continue
            same = resemblance(candidate.image.signature, [r.image.signature for r in rest]) >= SAME
            # A small copy must not hide its original; of equally large ones the best stays.
            alike = sorted(
                [candidate, *(r for r, s in zip(rest, same, strict=True) if s and r is not candidate)], key=_pixels, reverse=True
            )
        found = next((r for r in alike if exists(r)), None)
        if found is not None:
            chosen.append(found)
    return chosen


def _pixels(ranked: Ranked) -> int:
    return ranked.image.width * ranked.image.height


def _best_regions(query: Query, regions: Iterable[RegionRow]) -> dict[int, tuple[RegionRow, float]]:
    """Of each photo the region nearest to the query, with the content score."""
    rows = list(regions)
    if not rows:
        return {}
    scores = (np.stack([r.content for r in rows]) @ query.content).clip(0, 1)
    best: dict[int, tuple[RegionRow, float]] = {}
    for row, score in zip(rows, scores, strict=True):
        if row.image not in best or score > best[row.image][1]:
            best[row.image] = (row, float(score))
    return best
