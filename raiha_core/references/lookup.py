"""From photos to files and back: where the galleries lie, which file of a photo is there, which photo a name means."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from .catalogue import Catalogue
from .galleries import places, row_of_path
from .photos import file_hash
from .rows import ID_LENGTH, FileRow, Root

Stamp = tuple[int, int]
"""Size in bytes and time of change in ns of a file."""


class Lookup:
    """Names of photos and their files.

    Args:
        catalogue: of the index.
        moved: where the (only) gallery lies now; None: where the catalogue says.
    """

    def __init__(self, catalogue: Catalogue, moved: Path | None):
        self._catalogue = catalogue
        self._moved = moved
        self._roots: dict[int, Root] = {}
        self._places: dict[int, Path] = {}

    def places(self) -> dict[int, Path]:
        """The folder of each gallery."""
        if not self._places:
            self._roots = {root.id: root for root in self._catalogue.roots()}
            self._places = places(self._catalogue, self._moved)
        return self._places

    def paths(self, image: int) -> list[Path]:
        """All copies of a photo, there or not."""
        folders = self.places()
        rows = self._catalogue.files_of([image]).get(image, [])
        return [folders[row.root] / row.path for row in rows if row.root in folders]

    def existing(self, image: int) -> tuple[Path, Stamp] | None:
        """The first copy of a photo that is there and still is what was indexed."""
        for row in self._catalogue.files_of([image]).get(image, []):
            found = self._unchanged(row)
            if found is not None:
                return found
        return None

    def _unchanged(self, row: FileRow) -> tuple[Path, Stamp] | None:
        folder = self.places().get(row.root)
        if folder is None:
            return None
        path = folder / row.path
        try:
            if not inside(folder, row.path, links=self._roots[row.root].links):
                return None
            status = os.stat(path)
            if not os.path.isfile(path):
                return None
            stamp = (status.st_size, status.st_mtime_ns)
            if stamp != (row.size, row.mtime):
                # Touched or copied, perhaps; only its bytes tell whether it is another photo.
                image = self._catalogue.images([row.image or 0]).get(row.image or 0)
                if image is None or status.st_size != row.size or file_hash(path) != image.hash:
                    return None
        except (OSError, ValueError):
            return None
        return path, stamp

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
        if row is None and os.path.isfile(name):
            try:
                row = self._catalogue.image_by_id(file_hash(name)[:ID_LENGTH])
            except OSError:
                return None
        return row


def inside(folder: Path, path: str, *, links: bool) -> bool:
    """Whether a path of a catalogue lies in its gallery; unless `links` are allowed to lead out, also after following them.

    Raises:
        OSError, ValueError: it cannot be followed.
    """
    if os.path.isabs(path) or ".." in path.replace("\\", "/").split("/") or os.path.splitdrive(path)[0]:
        return False
    if links:
        return True
    home, target = os.path.realpath(folder), os.path.realpath(folder / path)
    return os.path.commonpath([home, target]) == home
