"""One search: candidates from the vectors, ranked and chosen, as many as it takes."""

from __future__ import annotations

from pathlib import Path

from .catalogue import ID_LENGTH, Catalogue
from .lookup import Lookup
from .query import Query
from .ranking import Ranked, Wishes, choose, rank
from .reference import Reference
from .stores import VectorStore

FEWEST = 256
"""Regions looked at first; of a photo several may be among them."""


def search(query: Query, wishes: Wishes, catalogue: Catalogue, store: VectorStore, lookup: Lookup) -> tuple[list[Reference], list[str]]:
    """The references for a query, and a sentence for each photo whose file has vanished.

    The store proposes regions by content; while too few photos are left after minimums, duplicates and vanished files,
    more regions are asked for.
    """
    total = catalogue.count()
    limit = max(FEWEST, 48 * wishes.k)
    weight = wishes.weight if query.illumination is not None else 0.0
    files: dict[int, Path] = {}
    missing: dict[str, None] = {}

    def there(ranked: Ranked) -> bool:
        path = lookup.existing(ranked.image.id)
        if path is not None:
            files[ranked.image.id] = path
            return True
        for path in lookup.paths(ranked.image.id)[:1]:
            missing[f"{path} has vanished and was skipped: run `raiha index build` again to update the index"] = None
        return False

    while True:
        regions = catalogue.regions(store.search(query.content, query.illumination, weight, min(limit, total)).tolist())
        regions += catalogue.regions_of(wishes.pinned)
        chosen = choose(query, rank(query, regions, catalogue, wishes), wishes, there)
        if len(chosen) >= wishes.k or limit >= total:
            return [_reference(r, files[r.image.id], r.image.id in wishes.pinned) for r in chosen], list(missing)
        limit *= 8


def _reference(ranked: Ranked, path: Path, pinned: bool) -> Reference:
    image = ranked.image
    scores = (ranked.content, ranked.illumination, ranked.score)
    return Reference(path, image.hash[:ID_LENGTH], *scores, ranked.region.box, (image.width, image.height), pinned)
