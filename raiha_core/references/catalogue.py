"""The catalogue: which files, which photos, which regions, with their vectors; one SQLite file.

It is the truth of an index. The published vectors are derived from it and can be made again from it. SQLite's
rollback journal (not WAL, which network drives do not support) makes every write all or nothing.

Nothing that a reader may hold is changed in place: a file that is replaced or gone keeps its row, which says from which
revision on it holds no more (`died`), and photos and regions stay, so that each revision can be read as it was and a
photo that comes back is not embedded again. `clean` deletes them for good.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..errors import RaihaError
from ..illumination import DESCRIPTOR_DIM
from .changes import Change
from .lookalike import BYTES
from .manifest import Manifest, damaged
from .rows import (
    ALIVE,
    FILE_COLUMNS,
    ID_LENGTH,
    IMAGE_COLUMNS,
    REGION_COLUMNS,
    ROOT_COLUMNS,
    SCHEMA,
    Distorted,
    Entry,
    FileRow,
    ImageRow,
    RegionRow,
    Root,
    checksum,
    file_of,
    image_of,
    region_of,
    root_of,
)
from .stores.base import VectorRows

_T = TypeVar("_T")
_CHECK = "check free space and permissions"
COUNTS = ("images", "regions", "files", "unreadable", "kept")


# A damaged schema is told by the names in it, which may be no UTF-8.
_BROKEN = (sqlite3.DatabaseError, UnicodeDecodeError)


class Catalogue:
    """An open catalogue as it is at one revision; usable from several threads.

    Args:
        directory: the index folder.
        manifest: whose catalogue; a reader sees the revision that it names.
        write: open for the following revision, which then is what is seen, too.
        create: make an empty one.
    """

    def __init__(self, directory: Path, manifest: Manifest, *, write: bool = False, create: bool = False):
        self.name = manifest.catalogue
        self.at = manifest.revision + (1 if write else 0)
        self.dirty = False
        """Whether anything that readers see was written since the writer last said so."""
        self._dim = manifest.encoder.dim
        self._lock = threading.RLock()
        self.directory = directory
        path = directory / self.name
        if not create and not path.is_file():
            raise damaged(directory, f"{self.name} is missing")
        try:
            self._db = sqlite3.connect(path, timeout=60, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA foreign_keys=ON")
            if create:
                self._db.executescript(SCHEMA)
            self._db.execute("SELECT count(*) FROM roots, (SELECT 1 FROM regions LIMIT 1), (SELECT 1 FROM removed LIMIT 1)").fetchone()
        except _BROKEN as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def _failed(self, error: Exception) -> RaihaError:
        if isinstance(error, sqlite3.OperationalError):
            if "locked" in str(error):
                return RaihaError(f"the index at {self.directory} is busy: another program holds its catalogue; try again")
            if any(word in str(error) for word in ("disk I/O", "full", "unable to open", "readonly")):
                return RaihaError(f"the index at {self.directory} cannot be opened or written ({error}): {_CHECK}")
        return damaged(self.directory, f"{self.name}: {error}")

    def _all(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        try:
            with self._lock:
                return self._db.execute(sql, parameters).fetchall()
        # A text column whose bytes are no UTF-8 any more is OperationalError; one that is a blob breaks further on.
        except _BROKEN as error:
            raise self._failed(error) from error

    def _in(self, sql: str, values: Iterable[int | str], *more: int) -> list[Any]:
        """Run a query with one `IN ({})` list, in pieces that every SQLite takes; `more` are the parameters after it."""
        values = list(values)
        rows: list[Any] = []
        for start in range(0, len(values), 900):
            piece = values[start : start + 900]
            rows += self._all(sql.format(",".join("?" * len(piece))), [*piece, *more])
        return rows

    def _checked(self, make: Callable[[Any], _T], rows: Iterable[Any]) -> Iterator[_T]:
        for row in rows:
            try:
                yield make(row)
            except (Distorted, TypeError, struct.error) as error:
                raise damaged(self.directory, f"{self.name}: {error}") from error

    @property
    def _now(self) -> tuple[int, int]:
        return self.at, self.at

    # --- reading

    def roots(self) -> list[Root]:
        """All gallery folders."""
        return list(self._checked(root_of, self._all(f"SELECT {ROOT_COLUMNS} FROM roots WHERE died > ? ORDER BY id", (self.at,))))

    def files(self, root: int | None = None) -> Iterator[FileRow]:
        """All files, of one root if given."""
        where, parameters = ("root = ? AND", (root,)) if root is not None else ("", ())
        sql = f"SELECT {FILE_COLUMNS} FROM files WHERE {where} born <= ? AND died > ? ORDER BY root, path"
        yield from self._checked(file_of, self._all(sql, (*parameters, *self._now)))

    def failures(self) -> list[FileRow]:
        """Files that could not be read, with the reason."""
        sql = f"SELECT {FILE_COLUMNS} FROM files WHERE error IS NOT NULL AND born <= ? AND died > ?"
        return list(self._checked(file_of, self._all(sql, self._now)))

    def files_of(self, images: Iterable[int]) -> dict[int, list[FileRow]]:
        """The files of photos; a photo of which none is left is not in it."""
        found: dict[int, list[FileRow]] = {}
        sql = f"SELECT {FILE_COLUMNS} FROM files WHERE image IN ({{}}) AND born <= ? AND died > ? ORDER BY root, path"
        for row in self._checked(file_of, self._in(sql, images, *self._now)):
            if row.image is not None:
                found.setdefault(row.image, []).append(row)
        return found

    def hashes(self) -> set[str]:
        """Content hashes of all photos whose vectors are there, also of those without a file."""
        return {row[0] for row in self._all("SELECT hash FROM images")}

    def images(self, rows: Iterable[int]) -> dict[int, ImageRow]:
        """Photos by row; rows that are gone are left out."""
        found = self._in(f"SELECT {IMAGE_COLUMNS} FROM images WHERE id IN ({{}})", rows)
        return {row.id: row for row in self._checked(lambda r: image_of(r, BYTES, DESCRIPTOR_DIM), found)}

    def image_by_id(self, public_id: str) -> int | None:
        """Row of the photo with a public id (the first characters of its content hash), if one of its files is in the index."""
        if len(public_id) != ID_LENGTH or not set(public_id) <= set("0123456789abcdef"):
            return None
        rows = [row[0] for row in self._all("SELECT id FROM images WHERE hash >= ? AND hash < ?", (public_id, public_id + "g"))]
        return next(iter(self.files_of(rows)), None)

    def file(self, root: int, path: str) -> FileRow | None:
        """One file."""
        sql = f"SELECT {FILE_COLUMNS} FROM files WHERE root = ? AND path = ? AND born <= ? AND died > ?"
        return next(self._checked(file_of, self._all(sql, (root, path, *self._now))), None)

    def regions(self, rows: Iterable[int]) -> list[RegionRow]:
        """Regions by row; rows that are gone are left out."""
        return self._regions("id", rows)

    def regions_of(self, images: Iterable[int]) -> list[RegionRow]:
        """All regions of the photos."""
        return self._regions("image", images)

    def _regions(self, column: str, values: Iterable[int]) -> list[RegionRow]:
        found = self._in(f"SELECT {REGION_COLUMNS} FROM regions WHERE {column} IN ({{}})", values)
        return list(self._checked(lambda r: region_of(r, self._dim), found))

    def other_kinds(self) -> dict[str, int]:
        """How many photos of the index are of which other kind (see `kinds`)."""
        live = "SELECT image FROM files WHERE image IS NOT NULL AND born <= ? AND died > ?"
        return dict(self._all(f"SELECT kind, count(*) FROM images WHERE kind <> '' AND id IN ({live}) GROUP BY kind", self._now))

    def counts(self) -> dict[str, int]:
        """Numbers of photos, their regions, files, unreadable files, and photos kept without a file, as they were last written."""
        return {name: int(self.meta().get("counts", {}).get(name, 0)) for name in COUNTS}

    def recount(self) -> dict[str, int]:
        """The same, counted anew."""
        live = "SELECT DISTINCT image FROM files WHERE image IS NOT NULL AND born <= ? AND died > ?"
        row = self._all(
            f"SELECT (SELECT count(*) FROM images WHERE id IN ({live})), (SELECT count(*) FROM regions WHERE image IN ({live})), "
            "(SELECT count(*) FROM files WHERE born <= ? AND died > ?), "
            f"(SELECT count(*) FROM files WHERE error IS NOT NULL AND born <= ? AND died > ?), "
            f"(SELECT count(*) FROM images WHERE id NOT IN ({live}))",
            self._now * 5,
        )[0]
        return dict(zip(COUNTS, row, strict=True))

    def meta(self) -> dict[str, Any]:
        """What the index was made with, to restore a lost manifest; the counts; what the last scan left out."""
        try:
            return {key: json.loads(value) for key, value in self._all("SELECT key, value FROM meta")}
        except (ValueError, TypeError) as error:
            raise damaged(self.directory, f"{self.name}: what it was made with is not valid JSON") from error

    def check(self) -> list[str]:
        """Problems SQLite finds in its own file, and rows that are not as they were written."""
        found = [row[0] for row in self._all("PRAGMA integrity_check")] + [str(row) for row in self._all("PRAGMA foreign_key_check")]
        found = [text for text in found if text != "ok"]
        if found:
            return found
        self.roots()
        for _ in self._checked(file_of, self._each(FILE_COLUMNS, "files")):
            pass
        for _ in self._checked(lambda r: image_of(r, BYTES, DESCRIPTOR_DIM), self._each(IMAGE_COLUMNS, "images")):
            pass
        for _ in self._checked(lambda r: region_of(r, self._dim), self._each(REGION_COLUMNS, "regions")):
            pass
        return []

    def _each(self, columns: str, table: str) -> Iterator[Any]:
        """All rows of a table, a few at a time."""
        cursor = self._db.execute(f"SELECT {columns} FROM {table}")
        while rows := cursor.fetchmany(1000):
            yield from rows

    # --- a source of vectors (see stores.base.VectorSource)

    def count(self, after: int = 0) -> int:
        """Number of regions with a row greater than `after`."""
        return int(self._all("SELECT count(*) FROM regions WHERE id > ?", (after,))[0][0])

    def rows(self, after: int = 0, batch: int = 8192, light: bool = True) -> Iterator[VectorRows]:
        """Vectors of the regions with a row greater than `after`, in order, in batches; without `light`, no illumination."""
        while True:
            sql = f"SELECT {REGION_COLUMNS} FROM regions WHERE id > ? ORDER BY id LIMIT ?"
            found = list(self._checked(lambda r: region_of(r, self._dim), self._all(sql, (after, batch))))
            if not found:
                return
            shine = np.zeros((len(found), 0), np.float32)
            if light:
                images = self.images({row.image for row in found})
                missing = next((row.image for row in found if row.image not in images), None)
                if missing is not None:
                    raise damaged(self.directory, f"{self.name}: photo {missing} is missing")
                shine = np.stack([images[row.image].illumination for row in found])
            yield VectorRows(np.array([row.id for row in found], np.int64), np.stack([row.content for row in found]), shine)
            after = found[-1].id

    def removed(self) -> list[int]:
        """Regions that were deleted since `forget_removed`."""
        return [row[0] for row in self._all("SELECT region FROM removed ORDER BY region")]

    # --- writing (the builder holds the index's lock)

    def forget_removed(self) -> None:
        """The store no longer holds any deleted region."""
        with self._transaction():
            self._db.execute("DELETE FROM removed")

    def set_meta(self, values: dict[str, Any]) -> None:
        """Remember what the index was made with, or what was left out of it."""
        rows = [(key, json.dumps(value)) for key, value in values.items()]
        known = dict(self._all("SELECT key, value FROM meta"))
        if any(known.get(key) != value for key, value in rows):
            with self._transaction():
                self._db.executemany("REPLACE INTO meta (key, value) VALUES (?, ?)", rows)
                self.dirty = True

    def set_root(self, path: Path, root: int | None = None, links: bool | None = None) -> int:
        """Add a gallery folder, or say where an old one lies now and whether links may lead out of it; returns its row."""
        known = next((r for r in self.roots() if r.id == root or (root is None and r.path == str(path))), None)
        wanted = (str(path), _relative(path, self.directory), int(links if links is not None else known is not None and known.links))
        if known is not None and (known.path, known.relative, int(known.links)) == wanted:
            return known.id
        with self._transaction():
            self.dirty = True
            if known is None:
                sql = "INSERT INTO roots (path, relative, links, checksum) VALUES (?, ?, ?, ?)"
                return int(self._db.execute(sql, (*wanted, checksum(*wanted))).lastrowid or 0)
            sql = "UPDATE roots SET path = ?, relative = ?, links = ?, checksum = ? WHERE id = ?"
            self._db.execute(sql, (*wanted, checksum(*wanted), known.id))
            return known.id

    def put(self, entries: Sequence[Entry]) -> None:
        """Store what became of some files, in one transaction."""
        with self._transaction():
            change = Change(self._db, self.at)
            for entry in entries:
                change.put(entry)
            self._finish(change)

    def set_aside(self, files: Iterable[tuple[int, str]]) -> None:
        """Take files out of the index for good, though they lie in the gallery."""
        with self._transaction():
            change = Change(self._db, self.at)
            for root, path in files:
                change.replace(root, path, lambda old: FileRow(old.root, old.path, old.size, old.mtime, None, None))
            self._finish(change)

    def drop_files(self, files: Iterable[tuple[int, str]]) -> None:
        """Forget files; their photos are kept until `clean`."""
        with self._transaction():
            change = Change(self._db, self.at)
            for root, path in files:
                change.replace(root, path, lambda old: None)
            self._finish(change)

    def drop_root(self, root: int) -> None:
        """Forget a gallery folder without files."""
        sql = "UPDATE roots SET died = ? WHERE id = ? AND died = ? AND NOT EXISTS (SELECT 1 FROM files WHERE root = ? AND died = ?)"
        with self._transaction():
            self.dirty |= bool(self._db.execute(sql, (self.at, root, ALIVE, root, ALIVE)).rowcount)

    def clean(self) -> int:
        """Delete for good what is not in the index any more; returns how many photos were deleted."""
        orphans = "SELECT id FROM images WHERE id NOT IN (SELECT image FROM files WHERE image IS NOT NULL)"
        with self._transaction():
            old = self._db.execute("DELETE FROM files WHERE died < ?", (ALIVE,)).rowcount
            self._db.execute(f"INSERT OR IGNORE INTO removed SELECT id FROM regions WHERE image IN ({orphans})")
            self._db.execute(f"DELETE FROM regions WHERE image IN ({orphans})")
            deleted = self._db.execute(f"DELETE FROM images WHERE id IN ({orphans})").rowcount
            self._db.execute("DELETE FROM roots WHERE died < ? AND id NOT IN (SELECT root FROM files)", (ALIVE,))
            counts = {**self.counts(), "kept": 0}
            self._db.execute("REPLACE INTO meta (key, value) VALUES ('counts', ?)", (json.dumps(counts),))
            self._db.execute("REPLACE INTO meta (key, value) VALUES ('complete_since', ?)", (json.dumps(self.at),))
            self.dirty |= old > 0 or deleted > 0
        with self._lock, contextlib.suppress(sqlite3.OperationalError):  # Only gives the space back.
            self._db.execute("VACUUM")
        return int(deleted)

    def _finish(self, change: Change) -> None:
        """Write the counts that a change led to, in its transaction."""
        if change.counts is None:
            return
        counts = self.counts()
        for name, number in change.counts.items():
            counts[name] = counts.get(name, 0) + number
        self._db.execute("REPLACE INTO meta (key, value) VALUES ('counts', ?)", (json.dumps(counts),))
        self.dirty = True

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
                raise RaihaError(f"cannot write the index at {self.directory} ({error}): {_CHECK}") from error
            except _BROKEN as error:
                raise damaged(self.directory, f"{self.name}: {error}") from error


def _relative(path: Path, start: Path) -> str:
    try:
        return os.path.relpath(path, start.resolve())
    except ValueError:  # Another drive.
        return str(path)
