"""Walking a gallery: which files are there, and what changed since they were catalogued."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import RaihaError
from . import manifest as manifests
from .catalogue import Catalogue, Entry
from .embed import Task
from .photos import SUFFIXES


@dataclass
class Scan:
    """What a walk over the galleries found.

    Attributes:
        tasks: files to read: new, changed, or unreadable last time.
        gone: (root, path) of catalogued files that are no longer there.
        failed: entries for files and folders that could not even be looked at.
        seen: number of picture files found.
    """

    tasks: list[Task] = field(default_factory=list)
    gone: list[tuple[int, str]] = field(default_factory=list)
    failed: list[Entry] = field(default_factory=list)
    seen: int = 0


def check_gallery(path: Path) -> Path:
    """The absolute path of a gallery folder.

    Raises:
        RaihaError: it is not there, is no folder, or cannot be listed.
    """
    absolute = Path(os.path.abspath(path))
    if not absolute.is_dir():
        raise RaihaError(f"no gallery folder at {path}: give a folder with photos")
    if not os.access(absolute, os.R_OK | os.X_OK):
        raise RaihaError(f"the gallery folder {path} cannot be listed: no permission")
    return absolute


def scan(catalogue: Catalogue, roots: Iterable[tuple[int, Path]]) -> Scan:
    """Compare galleries with the catalogue by path, size and time of change.

    Hidden files and folders, other indexes, and folders reached through links are left out.
    """
    result = Scan()
    for root, folder in roots:
        known = {row.path: row for row in catalogue.files(root)}
        blocked: list[str] = []
        present: set[str] = set()
        for path, file in _walk(root, folder, result, blocked):
            present.add(path)
            row = known.get(path)
            try:
                status = os.stat(file)
            except OSError as error:
                result.failed.append(Entry(root, path, 0, 0, error=f"cannot be read ({error.strerror or error})"))
                continue
            result.seen += 1
            if row is not None and row.image is None and row.error is None:
                continue
            if row is None or row.image is None or (row.size, row.mtime) != (status.st_size, status.st_mtime_ns):
                result.tasks.append(Task(root, path, file, status.st_size, status.st_mtime_ns))
        # What lies under a folder that could not be listed may well still be there.
        result.gone += [(root, path) for path in known if path not in present and not any(_under(path, b) for b in blocked)]
    return result


def _walk(root: int, folder: Path, result: Scan, blocked: list[str]) -> Iterable[tuple[str, str]]:
    def on_error(error: OSError) -> None:
        path = os.path.relpath(str(error.filename), folder).replace(os.sep, "/")
        blocked.append(path)
        result.failed.append(Entry(root, _printable(path), 0, 0, error=f"the folder cannot be listed ({error.strerror})"))

    for place, folders, files in os.walk(folder, onerror=on_error):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and not manifests.exists(Path(place, f)))
        for name in sorted(files):
            if name.startswith(".") or os.path.splitext(name)[1].lower() not in SUFFIXES:
                continue
            file = os.path.join(place, name)
            path = os.path.relpath(file, folder).replace(os.sep, "/")
            if _printable(path) != path:
                result.failed.append(Entry(root, _printable(path), 0, 0, error="its name is not valid Unicode: rename it"))
                continue
            yield path, file


def _printable(path: str) -> str:
    """The path with bytes that are no Unicode replaced, so that SQLite and JSON take it."""
    return path.encode("utf-8", "backslashreplace").decode()


def _under(path: str, folder: str) -> bool:
    return folder == "." or path == folder or path.startswith(folder + "/")
