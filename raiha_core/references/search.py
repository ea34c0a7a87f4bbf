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
NAMED = 5
"""Vanished photos named one by one."""


def search(query: Query, wishes: Wishes, catalogue: Catalogue, store: VectorStore, lookup: Lookup) -> tuple[list[Reference], list[str]]:
    """The references for a query, and sentences about photos whose files have vanished.

    The store proposes regions by content; while too few photos are left after minimums, duplicates and vanished files,
    more regions are asked for.
    """
    total = catalogue.count()
    limit = max(FEWEST, 48 * wishes.k)
    weight = wishes.weight if query.illumination is not None else 0.0
    files: dict[int, Path] = {}
    vanished: dict[Path, None] = {}

    def there(ranked: Ranked) -> bool:
        path = lookup.existing(ranked.image.id)
        if path is not None:
            files[ranked.image.id] = path
            return True
        vanished.update(dict.fromkeys(lookup.paths(ranked.image.id)[:1]))
        return False

    while True:
        regions = catalogue.regions(store.search(query.content, query.illumination, weight, min(limit, total)).tolist())
        regions += catalogue.regions_of(wishes.pinned)
        chosen = choose(query, rank(query, regions, catalogue, wishes), wishes, there)
        if len(chosen) >= wishes.k or limit >= total:
            return [_reference(r, files[r.image.id], r.image.id in wishes.pinned) for r in chosen], _notices(list(vanished), lookup)
        limit *= 8


def _notices(vanished: list[Path], lookup: Lookup) -> list[str]:
    """What to say of photos that are not there: by gallery where a whole one is gone, few by name."""
    gone = [folder for folder in lookup.places().values() if not folder.is_dir()]
    notices = [
        f"the gallery {folder} is not there, its photos were skipped: connect its drive, say where it lies now (`--gallery`), or "
        "build the index again with the folder where it lies now"
        for folder in gone
        if any(path.is_relative_to(folder) for path in vanished)
    ]
    rest = [path for path in vanished if not any(path.is_relative_to(folder) for folder in gone)]
    mend = "run `raiha index build` again to update the index"
    notices += [f"{path} has vanished and was skipped: {mend}" for path in rest[:NAMED]]
    if len(rest) > NAMED:
        notices.append(f"{len(rest) - NAMED} more photos have vanished and were skipped: {mend}")
    return notices


def _reference(ranked: Ranked, path: Path, pinned: bool) -> Reference:
    image = ranked.image
    scores = (ranked.content, ranked.illumination, ranked.score)
    return Reference(path, image.hash[:ID_LENGTH], *scores, ranked.region.box, (image.width, image.height), pinned)
