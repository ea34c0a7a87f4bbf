"""What the results in a folder were made of, so that a batch started again does only what it would do otherwise.

Beside the results lies one JSON line for each: its name, a digest of everything that decides what is in it (options, model,
inputs, version), and how the written file looked to the file system. A result that was replaced or edited since, or that was
made of something else, is not done.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..atomic import replacing

NAME = ".raiha-batch.jsonl"


def stamp(path: Path) -> list[Any]:
    """Where a file lies, its size and when it was last changed; what is not there has neither."""
    try:
        stat = path.stat()
    except OSError:
        return [os.path.realpath(path)]
    return [os.path.realpath(path), stat.st_size, stat.st_mtime_ns]


def digest(parts: Any) -> str:
    """A short digest of plain values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


class Record:
    """The record of one folder of results; the folder need not exist yet."""

    def __init__(self, folder: Path):
        self._file = folder / NAME
        self._made: dict[str, tuple[str, int, int]] = {}
        try:
            text = self._file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            text = ""
        self._torn = bool(text) and not text.endswith("\n")
        lines = text.splitlines()
        for line in lines:
            # A line that a kill cut off is as good as none: its result is made again.
            with suppress(ValueError, TypeError, KeyError):
                entry = json.loads(line)
                self._made[entry["name"]] = str(entry["made_of"]), int(entry["size"]), int(entry["changed"])
        if len(lines) > 2 * len(self._made) + 100:
            self._shorten()

    def has(self, result: Path, made_of: str) -> bool:
        """Whether this result is there as it was written, made of this."""
        try:
            stat = result.stat()
        except OSError:
            return False
        return self._made.get(result.name) == (made_of, stat.st_size, stat.st_mtime_ns)

    def add(self, result: Path, made_of: str) -> None:
        """Remember a result that has just been written."""
        # Where the record cannot be written, the result is made once more next time; nothing is lost.
        with suppress(OSError):
            stat = result.stat()
            self._made[result.name] = made_of, stat.st_size, stat.st_mtime_ns
            with self._file.open("a", encoding="utf-8") as file:
                file.write(("\n" if self._torn else "") + _line(result.name, self._made[result.name]))
            self._torn = False

    def _shorten(self) -> None:
        """Leave out lines that later ones have replaced."""
        with suppress(OSError):
            with replacing(self._file) as part:
                part.write_text("".join(_line(name, entry) for name, entry in self._made.items()), encoding="utf-8")
            self._torn = False


def _line(name: str, entry: tuple[str, int, int]) -> str:
    return json.dumps(dict(zip(("name", "made_of", "size", "changed"), (name, *entry), strict=True))) + "\n"


class Records:
    """The records of all folders that a batch writes to."""

    def __init__(self) -> None:
        self._by_folder: dict[Path, Record] = {}

    def _of(self, result: Path) -> Record:
        if result.parent not in self._by_folder:
            self._by_folder[result.parent] = Record(result.parent)
        return self._by_folder[result.parent]

    def have(self, results: Sequence[Path], made_of: str) -> bool:
        """Whether all these results are there, made of this."""
        return all(self._of(result).has(result, made_of) for result in results)

    def add(self, results: Sequence[Path], made_of: str) -> None:
        """Remember results that have just been written."""
        for result in results:
            self._of(result).add(result, made_of)
