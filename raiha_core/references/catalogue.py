"""The catalogue: which files, which photos, which regions, with their vectors; one SQLite file.

It is the truth of an index. The published vectors are derived from it and can be made again from it. SQLite's
rollback journal (not WAL, which network drives do not support) makes every write all or nothing; readers see the
state before or after it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RaihaError
from .manifest import damaged
from .regions import Box
from .stores.base import VectorRows

NAME = "catalogue.sqlite"
ID_LENGTH = 16

_SCHEMA = """
CREATE TABLE IF NOT EXISTS roots (id INTEGER PRIMARY KEY, path TEXT NOT NULL, relative TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS images (
    id INTEGER PRIMARY KEY AUTOINCREMENT, hash TEXT NOT NULL UNIQUE, width INTEGER NOT NULL, height INTEGER NOT NULL,
    look BLOB NOT NULL, illumination BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS files (
    root INTEGER NOT NULL REFERENCES roots(id), path TEXT NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL,
    image INTEGER REFERENCES images(id), error TEXT, PRIMARY KEY (root, path)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS files_image ON files(image);
CREATE TABLE IF NOT EXISTS regions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, image INTEGER NOT NULL REFERENCES images(id),
    x0 REAL NOT NULL, y0 REAL NOT NULL, x1 REAL NOT NULL, y1 REAL NOT NULL, content BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS regions_image ON regions(image);
CREATE TABLE IF NOT EXISTS removed (region INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@dataclass(frozen=True)
class Root:
    """A gallery folder: its absolute path when it was added, and its path relative to the index folder."""

    id: int
    path: str
    relative: str


@dataclass(frozen=True)
class FileRow:
    """A file of the gallery: path relative to its root, and either its image's row or why it could not be read.

    With neither, the user took it out of the index, and updates leave it out.
    """

    root: int
    path: str
    size: int
    mtime: int
    image: int | None
    error: str | None


@dataclass(frozen=True)
class ImageRow:
    """A photo: row, content hash, size in pixels, look (see `lookalike`), illumination descriptor."""

    id: int
    hash: str
    width: int
    height: int
    look: bytes
    illumination: NDArray[np.float32]


@dataclass(frozen=True)
class RegionRow:
    """A region of a photo and its content vector."""

    id: int
    image: int
    box: Box
    content: NDArray[np.float32]


@dataclass(frozen=True)
class Entry:
    """What the builder hands over for one file: a new photo, a known one (only `hash`), or an error."""

    root: int
    path: str
    size: int
    mtime: int
    hash: str | None = None
    error: str | None = None
    width: int = 0
    height: int = 0
    look: bytes = b""
    illumination: NDArray[np.float32] | None = None
    content: NDArray[np.float32] | None = None


class Catalogue:
    """An open catalogue; usable from several threads."""

    def __init__(self, directory: Path, *, create: bool = False):
        path = directory / NAME
        self._lock = threading.RLock()
        self.directory = directory
        if not create and not path.is_file():
            raise damaged(directory, f"{NAME} is missing")
        try:
            self._db = sqlite3.connect(path, timeout=60, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA foreign_keys=ON")
            if create:
                self._db.executescript(_SCHEMA)
            self._db.execute("SELECT count(*) FROM roots, (SELECT 1 FROM regions LIMIT 1), (SELECT 1 FROM removed LIMIT 1)").fetchone()
        except sqlite3.DatabaseError as error:
            raise damaged(directory, f"{NAME}: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _all(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        try:
            with self._lock:
                return self._db.execute(sql, parameters).fetchall()
        except sqlite3.DatabaseError as error:
            raise damaged(self.directory, f"{NAME}: {error}") from error

    def _in(self, sql: str, values: Iterable[int | str]) -> list[Any]:
        """Run a query with one `IN ({})` list, in pieces that every SQLite takes."""
        values = list(values)
        rows: list[Any] = []
        for start in range(0, len(values), 900):
            piece = values[start : start + 900]
            rows += self._all(sql.format(",".join("?" * len(piece))), piece)
        return rows

    # --- reading

    def roots(self) -> list[Root]:
        """All gallery folders."""
        return [Root(*row) for row in self._all("SELECT id, path, relative FROM roots ORDER BY id")]

    def files(self, root: int | None = None) -> Iterator[FileRow]:
        """All files, of one root if given."""
        where, parameters = ("WHERE root = ?", (root,)) if root is not None else ("", ())
        for row in self._all(f"SELECT root, path, size, mtime, image, error FROM files {where} ORDER BY root, path", parameters):
            yield FileRow(*row)

    def failures(self) -> list[FileRow]:
        """Files that could not be read, with the reason."""
        return [FileRow(*row) for row in self._all("SELECT root, path, size, mtime, image, error FROM files WHERE error IS NOT NULL")]

    def files_of(self, images: Iterable[int]) -> dict[int, list[tuple[int, str]]]:
        """(root, path) of each copy of the photos."""
        found: dict[int, list[tuple[int, str]]] = {}
        for image, root, path in self._in("SELECT image, root, path FROM files WHERE image IN ({}) ORDER BY root, path", images):
            found.setdefault(image, []).append((root, path))
        return found

    def hashes(self) -> set[str]:
        """Content hashes of all photos."""
        return {row[0] for row in self._all("SELECT hash FROM images")}

    def images(self, rows: Iterable[int]) -> dict[int, ImageRow]:
        """Photos by row; rows that are gone are left out."""
        found = self._in("SELECT id, hash, width, height, look, illumination FROM images WHERE id IN ({})", rows)
        return {r[0]: ImageRow(r[0], r[1], r[2], r[3], r[4], np.frombuffer(r[5], np.float32)) for r in found}

    def image_by_id(self, public_id: str) -> int | None:
        """Row of the photo with a public id (the first characters of its content hash)."""
        if len(public_id) != ID_LENGTH or not set(public_id) <= set("0123456789abcdef"):
            return None
        rows = self._all("SELECT id FROM images WHERE hash >= ? AND hash < ?", (public_id, public_id + "g"))
        return rows[0][0] if rows else None

    def file(self, root: int, path: str) -> FileRow | None:
        """One file."""
        rows = self._all("SELECT root, path, size, mtime, image, error FROM files WHERE root = ? AND path = ?", (root, path))
        return FileRow(*rows[0]) if rows else None

    def regions(self, rows: Iterable[int]) -> list[RegionRow]:
        """Regions by row; rows that are gone are left out."""
        return self._regions("id", rows)

    def regions_of(self, images: Iterable[int]) -> list[RegionRow]:
        """All regions of the photos."""
        return self._regions("image", images)

    def _regions(self, column: str, values: Iterable[int]) -> list[RegionRow]:
        found = self._in(f"SELECT id, image, x0, y0, x1, y1, content FROM regions WHERE {column} IN ({{}})", values)
        return [RegionRow(r[0], r[1], (r[2], r[3], r[4], r[5]), np.frombuffer(r[6], np.float16).astype(np.float32)) for r in found]

    def counts(self) -> dict[str, int]:
        """Numbers of images, regions, files and unreadable files."""
        row = self._all(
            "SELECT (SELECT count(*) FROM images), (SELECT count(*) FROM regions), (SELECT count(*) FROM files), "
            "(SELECT count(*) FROM files WHERE error IS NOT NULL)"
        )[0]
        return dict(zip(("images", "regions", "files", "unreadable"), row, strict=True))

    def meta(self) -> dict[str, Any]:
        """What the index was made with, to restore a lost manifest."""
        return {key: json.loads(value) for key, value in self._all("SELECT key, value FROM meta")}

    def check(self) -> list[str]:
        """Problems SQLite finds in its own file."""
        found = [row[0] for row in self._all("PRAGMA integrity_check")] + [str(row) for row in self._all("PRAGMA foreign_key_check")]
        return [text for text in found if text != "ok"]

    # --- a source of vectors (see stores.base.VectorSource)

    def count(self, after: int = 0) -> int:
        """Number of regions with a row greater than `after`."""
        return int(self._all("SELECT count(*) FROM regions WHERE id > ?", (after,))[0][0])

    def rows(self, after: int = 0, batch: int = 8192) -> Iterator[VectorRows]:
        """Vectors of the regions with a row greater than `after`, in order, in batches."""
        while True:
            found = self._all(
                "SELECT r.id, r.content, i.illumination FROM regions r JOIN images i ON i.id = r.image "
                "WHERE r.id > ? ORDER BY r.id LIMIT ?",
                (after, batch),
            )
            if not found:
                return
            ids = np.array([r[0] for r in found], np.int64)
            content = np.frombuffer(b"".join(r[1] for r in found), np.float16).reshape(len(found), -1).astype(np.float32)
            light = np.frombuffer(b"".join(r[2] for r in found), np.float32).reshape(len(found), -1)
            yield VectorRows(ids, content, light)
            after = int(ids[-1])

    def removed(self) -> list[int]:
        """Regions that were deleted since `forget_removed`."""
        return [row[0] for row in self._all("SELECT region FROM removed ORDER BY region")]

    # --- writing (the builder holds the index's lock)

    def forget_removed(self) -> None:
        """The store no longer holds any deleted region."""
        self._write([("DELETE FROM removed", None)])

    def set_meta(self, values: dict[str, Any]) -> None:
        """Remember what the index was made with."""
        self._write([("REPLACE INTO meta (key, value) VALUES (?, ?)", [(key, json.dumps(value)) for key, value in values.items()])])

    def set_root(self, path: Path, root: int | None = None) -> int:
        """Add a gallery folder, or say where an old one lies now; returns its row."""
        relative = _relative(path, self.directory)
        if root is None:
            for known in self.roots():
                if known.path == str(path):
                    root = known.id
        with self._transaction():
            if root is None:
                return int(self._db.execute("INSERT INTO roots (path, relative) VALUES (?, ?)", (str(path), relative)).lastrowid or 0)
            self._db.execute("UPDATE roots SET path = ?, relative = ? WHERE id = ?", (str(path), relative, root))
            return root

    def put(self, entries: Sequence[Entry], boxes: Sequence[Box]) -> None:
        """Store what became of some files, in one transaction."""
        with self._transaction():
            for entry in entries:
                self._put(entry, boxes)

    def _put(self, entry: Entry, boxes: Sequence[Box]) -> None:
        image = None
        if entry.hash is not None:
            row = self._db.execute("SELECT id FROM images WHERE hash = ?", (entry.hash,)).fetchone()
            if row is not None:
                image = row[0]
            elif entry.content is not None and entry.illumination is not None:
                light = entry.illumination.astype(np.float32).tobytes()
                values = (entry.hash, entry.width, entry.height, entry.look, light)
                image = self._db.execute(
                    "INSERT INTO images (hash, width, height, look, illumination) VALUES (?,?,?,?,?)", values
                ).lastrowid
                self._db.executemany(
                    "INSERT INTO regions (image, x0, y0, x1, y1, content) VALUES (?,?,?,?,?,?)",
                    [(image, *box, vector.astype(np.float16).tobytes()) for box, vector in zip(boxes, entry.content, strict=True)],
                )
        self._db.execute(
            "INSERT OR REPLACE INTO files (root, path, size, mtime, image, error) VALUES (?,?,?,?,?,?)",
            (entry.root, entry.path, entry.size, entry.mtime, image, entry.error),
        )

    def set_aside(self, files: Iterable[tuple[int, str]]) -> None:
        """Take files out of the index for good, though they lie in the gallery."""
        self._write([("UPDATE files SET image = NULL, error = NULL WHERE root = ? AND path = ?", list(files))])

    def drop_files(self, files: Iterable[tuple[int, str]]) -> None:
        """Forget files; their photos stay until `drop_orphans`."""
        self._write([("DELETE FROM files WHERE root = ? AND path = ?", list(files))])

    def drop_orphans(self) -> None:
        """Forget photos of which no file is left."""
        orphans = "SELECT id FROM images WHERE id NOT IN (SELECT image FROM files WHERE image IS NOT NULL)"
        self._write(
            [
                (f"INSERT OR IGNORE INTO removed SELECT id FROM regions WHERE image IN ({orphans})", None),
                (f"DELETE FROM regions WHERE image IN ({orphans})", None),
                (f"DELETE FROM images WHERE id IN ({orphans})", None),
            ]
        )

    def drop_root(self, root: int) -> None:
        """Forget a gallery folder without files."""
        self._write([("DELETE FROM roots WHERE id = ? AND NOT EXISTS (SELECT 1 FROM files WHERE root = ?)", [(root, root)])])

    def _write(self, statements: list[tuple[str, list[Any] | None]]) -> None:
        """Run statements in one transaction; with a list of parameters, once for each."""
        with self._transaction():
            for sql, parameters in statements:
                if parameters is None:
                    self._db.execute(sql)
                else:
                    self._db.executemany(sql, parameters)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield
                    self._db.execute("COMMIT")
                except BaseException:
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                    raise
            except sqlite3.OperationalError as error:
                raise RaihaError(f"cannot write the index at {self.directory} ({error}): check free space and permissions") from error
            except sqlite3.DatabaseError as error:
                raise damaged(self.directory, f"{NAME}: {error}") from error


def _relative(path: Path, start: Path) -> str:
    try:
        return os.path.relpath(path, start.resolve())
    except ValueError:  # Another drive.
        return str(path)
