"""One search: candidates from the vectors, ranked and chosen, as many as it takes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from ..errors import RaihaError
from . import kinds
from .lookup import Lookup, Stamp
from .query import Query
from .ranking import Ranked, Wishes, choose, rank
from .reference import Reference
from .rows import ID_LENGTH
from .snapshot import Snapshot

FEWEST = 256
"""Regions looked at first; of a photo several may be among them."""
NAMED = 5
"""Vanished photos named one by one."""
_GONE = (
    "the gallery {} is not there: connect its drive, say where it lies now (`--gallery`), or build the index again with the folder "
    "where it lies now"
)
_OTHER_LIGHT = (
    "what shows such things lies in a light unlike the scene's and was left out, since such references make results worse; pin a "
    "photo, or give it as a reference yourself, to use it all the same"
)


def search(query: Query, wishes: Wishes, snapshot: Snapshot, lookup: Lookup) -> tuple[list[Reference], list[str]]:
    """The references for a query, and sentences about photos whose files have vanished.

    The store proposes regions by content; while too few photos are left after minimums, duplicates, vanished files and
    what is no more in the index, more regions are asked for.
    """
    catalogue, store, counts = snapshot.catalogue, snapshot.store, snapshot.manifest.counts
    # Vectors of photos that are no more in the index are found, too, and left out later.
    total = counts.get("regions", 0) + counts.get("kept", 0) * -(-counts.get("regions", 0) // max(1, counts.get("images", 0)))
    limit = max(FEWEST, 48 * wishes.k)
    weight = wishes.weight if query.illumination is not None else 0.0
    files: dict[int, tuple[Path, Stamp]] = {}
    vanished: dict[Path, None] = {}

    def there(ranked: Ranked) -> bool:
        found = lookup.existing(ranked.image.id)
        if found is not None:
            files[ranked.image.id] = found
            return True
        vanished.update(dict.fromkeys(lookup.paths(ranked.image.id)[:1]))
        return False

    while True:
        proposed = catalogue.regions(store.search(query.content, query.illumination, weight, min(limit, total)).tolist())
        regions = [*proposed, *catalogue.regions_of(wishes.pinned)]
        # Where content orders, and the last that was found shows too little, so does whatever would come after it.
        spent = (
            bool(proposed) and (weight == 0 or not store.hybrid) and min(r.content @ query.content for r in proposed) < wishes.min_content
        )
        ranked = rank(query, regions, catalogue, wishes)
        chosen = choose(query, ranked, wishes, there)
        if len(chosen) >= wishes.k or limit >= total or spent:
            found = [_reference(r, *files[r.image.id], r.image.id in wishes.pinned) for r in chosen]
            # Whether something would have been found in any light.
            dark = not chosen and wishes.min_illumination > 0 and bool(choose(query, ranked, replace(wishes, min_illumination=0.0), there))
            others = catalogue.other_kinds() if len(chosen) < wishes.k else {}
            others.pop(query.kind, None)
            return found, _notices(list(vanished), lookup) + [_OTHER_LIGHT] * dark + kinds.lines(others)
        limit *= 8


def no_gallery(lookup: Lookup) -> None:
    """Nothing was found: refuse to go on as if nothing fitted where it is a gallery that is not there.

    Raises:
        RaihaError: names the folder.
    """
    gone = [folder for folder in lookup.places().values() if not os.path.isdir(folder)]
    if gone:
        raise RaihaError(f"no reference can be had, since {_GONE.format(gone[0])}")


def _notices(vanished: list[Path], lookup: Lookup) -> list[str]:
    """What to say of photos that are not there: by gallery where a whole one is gone, few by name."""
    gone = [folder for folder in lookup.places().values() if not os.path.isdir(folder)]
    notices = [
        f"{_GONE.format(folder)}; its photos were skipped" for folder in gone if any(path.is_relative_to(folder) for path in vanished)
    ]
    rest = [path for path in vanished if not any(path.is_relative_to(folder) for folder in gone)]
    mend = "run `raiha index build` again to update the index"
    notices += [f"{path} has {_what(path)} and was skipped: {mend}" for path in rest[:NAMED]]
    if len(rest) > NAMED:
        notices.append(f"{len(rest) - NAMED} more photos have vanished or changed and were skipped: {mend}")
    return notices


def _what(path: Path) -> str:
    return "changed, or leads out of the gallery," if os.path.exists(path) else "vanished"


def _reference(ranked: Ranked, path: Path, stamp: Stamp, pinned: bool) -> Reference:
    image = ranked.image
    scores = (ranked.content, ranked.illumination, ranked.score)
    return Reference(path, image.hash[:ID_LENGTH], *scores, ranked.region.box, (image.width, image.height), pinned, stamp)
