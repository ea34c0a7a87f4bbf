"""From photos to files and back: where the galleries lie, which file of a photo is there, which photo a name means."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from .catalogue import ID_LENGTH, Catalogue
from .checks import places, row_of_path
from .photos import file_hash


class Lookup:
    """Names of photos and their files.

    Args:
        catalogue: of the index.
        moved: where the (only) gallery lies now; None: where the catalogue says.
    """

    def __init__(self, catalogue: Catalogue, moved: Path | None):
        self._catalogue = catalogue
        self._moved = moved

    def places(self) -> dict[int, Path]:
        """The folder of each gallery."""
        return places(self._catalogue, self._moved)

    def paths(self, image: int) -> list[Path]:
        """All copies of a photo, there or not."""
        folders = self.places()
        return [folders[root] / path for root, path in self._catalogue.files_of([image]).get(image, [])]

    def existing(self, image: int) -> Path | None:
        """The first copy of a photo whose file is there."""
        return next((path for path in self.paths(image) if path.is_file()), None)

    def rows(self, names: Iterable[str | os.PathLike[str]]) -> tuple[list[int], list[str]]:
        """Rows of photos given by id, by path, or by a file with the same bytes; and the names that mean none."""
        rows: dict[int, None] = {}
        unknown: list[str] = []
        for name in names:
            row = self._row(name)
            if row is None:
                unknown.append(os.fspath(name))
            else:
                rows[row] = None
        return list(rows), unknown

    def _row(self, name: str | os.PathLike[str]) -> int | None:
        row = self._catalogue.image_by_id(os.fspath(name))
        if row is None:
            row = row_of_path(self._catalogue, self.places(), Path(name))
        if row is None and Path(name).is_file():
            try:
                row = self._catalogue.image_by_id(file_hash(name)[:ID_LENGTH])
            except OSError:
                return None
        return row
