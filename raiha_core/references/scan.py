"""Walking a gallery: which files are there, and what changed since they were catalogued."""

from __future__ import annotations

import contextlib
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import RaihaError
from . import manifest as manifests
from .catalogue import Catalogue
from .embed import Task
from .photos import SUFFIXES
from .rows import Entry

TOOLS = (
    "@eaDir/", "\\#recycle/", "\\#snapshot/", "@Recycle/", "@Recently-Snapshot/", "@__thumb/", "lost+found/", "__MACOSX/", "$RECYCLE.BIN/",
    "System Volume Information/", "iPod Photo Cache/", "*.lrdata/", "*.photoslibrary/resources/", "*.photolibrary/Thumbnails/",
)  # fmt: skip
"""Folders that storage boxes, systems and photo programs leave: copies in small, or what was thrown away. Hidden ones go anyway."""
IGNORE_FILE = ".raihaignore"
MARKER = ".nomedia"
"""A folder that holds a file of this name is left out with all below it."""
_NAMED = 5
FEW = 20
"""A gallery that lost fewer photos than this was tidied up, unless it lost all."""


@dataclass
class LeftOut:
    """What a walk saw and did not take: numbers, and the first names of each kind.

    Attributes:
        suffixes: number of files by a suffix that is no picture's.
        links: links that lead out of the gallery, or nowhere, as "path -> target".
        ignored: folders and files that a pattern or a marker leaves out.
    """

    suffixes: Counter[str] = field(default_factory=Counter)
    links: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        document: dict[str, Any] = {"suffixes": dict(self.suffixes.most_common(_NAMED)), "files": self.suffixes.total()}
        for key, names in (("links", self.links), ("ignored", self.ignored)):
            document[key] = {"count": len(names), "first": names[:_NAMED]}
        return document


def left_out_lines(document: Mapping[str, Any]) -> list[str]:
    """Sentences about what a scan left out, from its JSON."""
    lines = []
    if document.get("files"):
        kinds = ", ".join(f"{number} {suffix or 'without one'}" for suffix, number in document["suffixes"].items())
        lines.append(f"{document['files']} files with suffixes that are no known picture's ({kinds})")
    for key, what in (("links", "links that lead out of the gallery or nowhere; --follow-links takes them in"), ("ignored", "ignored")):
        found = document.get(key, {})
        if found.get("count"):
            more = f", and {found['count'] - len(found['first'])} more" if found["count"] > len(found["first"]) else ""
            lines.append(f"{found['count']} {what}: {', '.join(found['first'])}{more}")
    return lines


@dataclass
class Scan:
    """What a walk over the galleries found.

    Attributes:
        tasks: files to read: new, changed, or unreadable last time.
        gone: (root, path) of catalogued files that are no longer there.
        failed: entries for files and folders that could not even be looked at.
        seen: number of picture files found.
        left_out: what was not taken.
    """

    tasks: list[Task] = field(default_factory=list)
    gone: list[tuple[int, str]] = field(default_factory=list)
    failed: list[Entry] = field(default_factory=list)
    seen: int = 0
    left_out: LeftOut = field(default_factory=LeftOut)


def check_gallery(path: Path) -> Path:
    """The absolute path of a gallery folder.

    Raises:
        RaihaError: it is not there, is no folder, or cannot be listed.
    """
    absolute = Path(os.path.abspath(path))
    if not os.path.isdir(absolute):
        raise RaihaError(f"no gallery folder at {path}: give a folder with photos")
    if not os.access(absolute, os.R_OK | os.X_OK):
        raise RaihaError(f"the gallery folder {path} cannot be listed: no permission")
    return absolute


def scan(catalogue: Catalogue, roots: Iterable[tuple[int, Path]], ignore: Sequence[str] = (), *, allow_empty: bool = False) -> Scan:
    """Compare galleries with the catalogue by path, size and time of change.

    Left out are hidden files and folders, other indexes, what `ignore` or the gallery's `.raihaignore` names, folders that
    tools leave (`TOOLS`), and links that lead out of the gallery, unless its root allows them; all but hidden ones and
    indexes are counted in `left_out`.

    Args:
        catalogue: what is known.
        roots: rows and folders of the galleries.
        ignore: patterns as in .gitignore.
        allow_empty: believe it where a gallery lost most of its photos.

    Raises:
        RaihaError: a gallery lost most of its photos at once; a pattern cannot be understood.
    """
    result = Scan()
    links = {root.id: root.links for root in catalogue.roots()}
    for root, folder in roots:
        known = {row.path: row for row in catalogue.files(root)}
        walk = _Walk(root, folder, result, ignore, links.get(root, False))
        present: set[str] = set()
        for path, file, status in walk.files():
            present.add(path)
            row = known.get(path)
            result.seen += 1
            if row is not None and row.image is None and row.error is None:
                continue
            if row is None or row.image is None or (row.size, row.mtime) != (status.st_size, status.st_mtime_ns):
                result.tasks.append(Task(root, path, file, status.st_size, status.st_mtime_ns))
        failed = {entry.path for entry in result.failed if entry.root == root}
        # What lies under a folder that could not be listed may well still be there.
        gone = [path for path in known if path not in present and path not in failed and not any(_under(path, b) for b in walk.blocked)]
        if not allow_empty:
            _ask(folder, sum(row.image is not None for row in known.values()), sum(known[path].image is not None for path in gone), present)
        result.gone += [(root, path) for path in gone]
    return result


def _ask(folder: Path, before: int, gone: int, present: set[str]) -> None:
    """Refuse to believe that most photos of a gallery were deleted: an unplugged drive leaves an empty folder."""
    if gone and (not present or (gone >= FEW and len(present) < before / 2)):
        raise RaihaError(
            f"{gone} of {before} photos in {folder} are gone: connect its drive, or, if they were deleted, say so with --allow-empty "
            "(the node's switch 'allow empty')"
        )


class _Walk:
    """One gallery's files; folders reached by links come last, so that a folder is known by its own path."""

    def __init__(self, root: int, folder: Path, result: Scan, ignore: Sequence[str], links: bool):
        self.root = root
        self.folder = folder
        self.result = result
        self.links = links
        self.home = os.path.realpath(folder)
        self.blocked: list[str] = []
        self._seen: set[tuple[int, int]] = set()
        self._linked: list[str] = []
        self._ignored = _patterns(folder, ignore)

    def files(self) -> Iterator[tuple[str, str, os.stat_result]]:
        """(path in the gallery, file, status) of each picture file that may be read."""
        yield from self._walk(str(self.folder))
        while self._linked:
            yield from self._walk(self._linked.pop(0))

    def _walk(self, top: str) -> Iterator[tuple[str, str, os.stat_result]]:
        for place, folders, files in os.walk(top, onerror=self._unlisted):
            try:
                status = os.stat(place)
            except OSError as error:
                self._unlisted(error)
                folders.clear()
                continue
            key = (status.st_dev, status.st_ino)
            if key in self._seen:
                folders.clear()
                continue
            self._seen.add(key)
            if MARKER in files and place != str(self.folder):
                self.result.left_out.ignored.append(_printable(self._path(place)) + "/")
                folders.clear()
                continue
            folders[:] = [name for name in sorted(folders) if self._enter(os.path.join(place, name))]
            for name in sorted(files):
                found = self._file(place, name)
                if found is not None:
                    yield found

    def _enter(self, folder: str) -> bool:
        """Whether to look into a folder now; links to folders are kept for later."""
        path = self._path(folder)
        if os.path.basename(folder).startswith(".") or manifests.exists(Path(folder)):
            return False
        if self._ignored(path + "/"):
            self.result.left_out.ignored.append(_printable(path) + "/")
            return False
        if os.path.islink(folder):
            if self._allowed(folder, path):
                self._linked.append(folder)
            return False
        return True

    def _file(self, place: str, name: str) -> tuple[str, str, os.stat_result] | None:
        file = os.path.join(place, name)
        path = self._path(file)
        if name.startswith("."):
            return None
        suffix = os.path.splitext(name)[1].lower()
        if suffix not in SUFFIXES:
            self.result.left_out.suffixes[_printable(suffix)] += 1
            return None
        if self._ignored(path):
            self.result.left_out.ignored.append(_printable(path))
            return None
        if _printable(path) != path:
            self._fail(path, "its name is not valid Unicode: rename it")
            return None
        if os.path.islink(file) and not self._allowed(file, path):
            return None
        try:
            status = os.stat(file)
        except OSError as error:
            self._fail(path, f"cannot be read ({error.strerror or error})")
            return None
        if not stat.S_ISREG(status.st_mode):
            self._fail(path, "it is no file but a pipe, a device or a socket")
            return None
        return path, file, status

    def _allowed(self, link: str, path: str) -> bool:
        """Whether a link may be followed; others are noted."""
        target = os.path.realpath(link)
        within = target == self.home or target.startswith(self.home.rstrip(os.sep) + os.sep)
        if os.path.exists(target) and (within or self.links):
            return True
        self.result.left_out.links.append(_printable(f"{path} -> {target}"))
        return False

    def _unlisted(self, error: OSError) -> None:
        path = self._path(str(error.filename))
        self.blocked.append(path)
        self._fail(path, f"the folder cannot be listed ({error.strerror})")

    def _fail(self, path: str, reason: str) -> None:
        self.result.failed.append(Entry(self.root, _printable(path), 0, 0, error=reason))

    def _path(self, file: str) -> str:
        return os.path.relpath(file, self.folder).replace(os.sep, "/")


def _patterns(folder: Path, ignore: Sequence[str]) -> Any:
    """Whether a path (folders end in a slash) is to be ignored, by `TOOLS`, the gallery's own file, and `ignore`.

    Raises:
        RaihaError: a pattern cannot be understood.
    """
    import pathspec

    lines = list(TOOLS)
    with contextlib.suppress(OSError):
        lines += (folder / IGNORE_FILE).read_text("utf-8", "replace").splitlines()
    lines += ignore  # What the user says now goes before what lies in the gallery.
    try:
        return pathspec.GitIgnoreSpec.from_lines(lines).match_file
    except (ValueError, TypeError) as error:
        raise RaihaError(f"a pattern of files to ignore cannot be understood ({error}): write it as in .gitignore") from None


def _printable(path: str) -> str:
    """The path with bytes that are no Unicode replaced, so that SQLite and JSON take it."""
    return path.encode("utf-8", "backslashreplace").decode()


def _under(path: str, folder: str) -> bool:
    return folder == "." or path == folder or path.startswith(folder + "/")
