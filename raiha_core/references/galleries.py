"""Where the galleries of an index lie now, and which photo lies at a path."""

from __future__ import annotations

import os
from pathlib import Path

from .catalogue import Catalogue


def places(catalogue: Catalogue, moved: Path | None = None) -> dict[int, Path]:
    """Where each gallery lies: as it was added, or at the same place relative to the index, or where the user says."""
    found = {}
    for root in catalogue.roots():
        path = Path(root.path)
        beside = Path(os.path.normpath(catalogue.directory.resolve() / root.relative))
        # Not Path.is_dir, which raises where a folder above may not be entered.
        found[root.id] = moved or (path if os.path.isdir(path) or not os.path.isdir(beside) else beside)
    return found


def row_of_path(catalogue: Catalogue, roots: dict[int, Path], path: Path) -> int | None:
    """Row of the photo in a file, by its path."""
    located = locate(roots, path)
    row = catalogue.file(*located) if located else None
    return row.image if row else None


def locate(roots: dict[int, Path], path: Path) -> tuple[int, str] | None:
    """Which gallery a path lies in: its root's row, and the path relative to it."""
    absolute = Path(os.path.abspath(path))
    for root, folder in roots.items():
        if absolute.is_relative_to(folder):
            return root, absolute.relative_to(folder).as_posix()
    return None
