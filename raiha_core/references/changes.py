"""What one transaction does to a catalogue's files: rows that hold no more, rows instead, and how the counts follow."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import numpy as np

from .rows import ALIVE, FILE_COLUMNS, Entry, FileRow, checksum, region_checksum


class Change:
    """What one transaction does to the files, and to the counts; `counts` is None while nothing that readers see changed."""

    def __init__(self, db: sqlite3.Connection, at: int):
        self.db = db
        self.at = at
        self.counts: dict[str, int] | None = None

    def put(self, entry: Entry) -> None:
        """Store what became of a file."""
        image = self._image(entry) if entry.hash is not None else None
        self.replace(
            entry.root, entry.path, lambda old: FileRow(entry.root, entry.path, entry.size, entry.mtime, image, entry.error), missing=True
        )

    def _image(self, entry: Entry) -> int | None:
        row = self.db.execute("SELECT id FROM images WHERE hash = ?", (entry.hash,)).fetchone()
        if row is not None:
            return int(row[0])
        if entry.content is None or entry.illumination is None:
            return None
        light = entry.illumination.astype(np.float32).tobytes()
        values = (entry.hash, entry.width, entry.height, entry.kind, entry.signature, light)
        sql = "INSERT INTO images (hash, width, height, kind, look, illumination, checksum) VALUES (?,?,?,?,?,?,?)"
        image = int(self.db.execute(sql, (*values, checksum(*values))).lastrowid or 0)
        rows = []
        for box, vector in zip(entry.boxes, entry.content, strict=True):
            content = vector.astype(np.float16).tobytes()
            rows.append((image, *box, content, region_checksum(image, box, content)))
        self.db.executemany("INSERT INTO regions (image, x0, y0, x1, y1, content, checksum) VALUES (?,?,?,?,?,?,?)", rows)
        self._count(kept=1)
        return image

    def replace(self, root: int, path: str, new: Callable[[FileRow], FileRow | None], missing: bool = False) -> None:
        """Let the row of a file hold no more, and another one instead; with `missing` also where there was none."""
        sql = f"SELECT {FILE_COLUMNS}, born FROM files WHERE root = ? AND path = ? AND died = ?"
        found = self.db.execute(sql, (root, path, ALIVE)).fetchone()
        if found is None and not missing:
            return
        old = FileRow(*found[:6]) if found is not None else None
        row = new(old or FileRow(root, path, 0, 0, None, None))
        values = () if row is None else (row.root, row.path, row.size, row.mtime, row.image, row.error)
        if row is not None and old is not None and (old.image, old.error) == (row.image, row.error):
            # The same photo, written anew or touched: no reader needs to see the difference.
            sql = "UPDATE files SET size = ?, mtime = ?, checksum = ? WHERE root = ? AND path = ? AND born = ?"
            self.db.execute(sql, (row.size, row.mtime, checksum(*values), root, path, found[7]))
            return
        if old is not None:
            if found[7] == self.at:
                self.db.execute("DELETE FROM files WHERE root = ? AND path = ? AND born = ?", (root, path, self.at))
            else:
                self.db.execute("UPDATE files SET died = ? WHERE root = ? AND path = ? AND born = ?", (self.at, root, path, found[7]))
            self._tally(old, -1)
        if row is not None:
            sql = f"INSERT INTO files ({FILE_COLUMNS}, born) VALUES (?,?,?,?,?,?,?,?)"
            self.db.execute(sql, (*values, checksum(*values), self.at))
            self._tally(row, 1)

    def _tally(self, row: FileRow, sign: int) -> None:
        """Count a file that is there now (sign 1), or no more (-1)."""
        self._count(files=sign, unreadable=sign if row.error is not None else 0)
        if row.image is None:
            return
        sql = "SELECT count(*) FROM (SELECT 1 FROM files WHERE image = ? AND died = ? LIMIT 2)"
        left = int(self.db.execute(sql, (row.image, ALIVE)).fetchone()[0])
        if left == (1 if sign > 0 else 0):  # The first file of its photo, or the last.
            regions = int(self.db.execute("SELECT count(*) FROM regions WHERE image = ?", (row.image,)).fetchone()[0])
            self._count(images=sign, regions=sign * regions, kept=-sign)

    def _count(self, **numbers: int) -> None:
        self.counts = self.counts or {}
        for name, number in numbers.items():
            self.counts[name] = self.counts.get(name, 0) + number
