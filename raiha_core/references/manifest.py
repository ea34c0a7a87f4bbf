"""The manifest: the one small file that says what an index is, replaced last by every write."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..errors import RaihaError

FORMAT = "raiha-index"
VERSION = 1
NAME = "manifest.json"


@dataclass(frozen=True)
class EncoderInfo:
    """Which content encoder made the vectors: its id, its weights' hash, the length of its vector."""

    id: str
    weights_hash: str
    dim: int

    def __str__(self) -> str:
        return f"{self.id} (weights {self.weights_hash[:12]}, {self.dim} numbers)"


@dataclass(frozen=True)
class Manifest:
    """What an index holds.

    Attributes:
        encoder: the content encoder of all vectors.
        illumination: id of the illumination descriptor.
        regions: id of the layout of regions.
        store: `kind`, `options` and `state` of the vector store; the state names the published vectors.
        counts: `images`, `regions`, `files`, `unreadable`.
        revision: grows by one with every write.
        updated: UTC time of the last write, ISO 8601.
    """

    encoder: EncoderInfo
    illumination: str
    regions: str
    store: dict[str, Any]
    counts: dict[str, int] = field(default_factory=dict)
    revision: int = 0
    updated: str = ""

    def next(self, state: dict[str, Any] | None, counts: dict[str, int]) -> Manifest:
        """The manifest of the following write."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return replace(self, store={**self.store, "state": state}, counts=counts, revision=self.revision + 1, updated=now)


def exists(directory: Path) -> bool:
    """Whether an index lies in this folder (or what is left of one)."""
    return (directory / NAME).is_file()


def save(manifest: Manifest, directory: Path) -> None:
    """Replace the manifest: written beside it, flushed to the disk, renamed over it."""
    document = {"format": FORMAT, "version": VERSION, **asdict(manifest)}
    write_durably(directory / NAME, (json.dumps(document, indent=2) + "\n").encode())


def load(directory: Path) -> Manifest:
    """Read the manifest.

    Raises:
        RaihaError: there is none, it is damaged, or a newer version wrote it.
    """
    path = directory / NAME
    try:
        document = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise RaihaError(f"no reference index at {directory}: build one with `raiha index build {directory} GALLERY`") from None
    except OSError as error:
        raise RaihaError(f"cannot read the reference index at {directory}: {error.strerror or error}") from error
    except ValueError as error:
        raise damaged(directory, f"{NAME} is not valid JSON") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise RaihaError(f"{path} does not belong to a reference index: choose another folder")
    if document.get("version") != VERSION:
        raise RaihaError(f"the index at {directory} has format {document.get('version')}, this version reads {VERSION}: build it anew")
    try:
        encoder = EncoderInfo(**document["encoder"])
        store = document["store"]
        if not isinstance(store["kind"], str) or not isinstance(store["options"], dict) or "state" not in store:
            raise TypeError("store")
        return Manifest(
            encoder,
            document["illumination"],
            document["regions"],
            store,
            document["counts"],
            int(document["revision"]),
            document["updated"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(directory, f"{NAME} lacks or distorts an entry ({error})") from error


def damaged(directory: Path, what: str) -> RaihaError:
    """The sentence for an index that cannot be used as it lies there."""
    return RaihaError(f"the reference index at {directory} is damaged ({what}): mend it with `raiha index verify {directory} --repair`")


def fingerprint(directory: str | os.PathLike[str]) -> str:
    """Hex digest of the manifest file: changes with every write to the index.

    Raises:
        RaihaError: there is no index.
    """
    path = Path(directory) / NAME
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        raise RaihaError(f"no reference index at {directory}: build one with `raiha index build {directory} GALLERY`") from None


def write_durably(path: Path, data: bytes) -> None:
    """Write a file so that after a crash either the old or the new content is there, never a part."""
    temporary = path.with_name(path.name + ".new")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Flush a folder's entries to the disk, where the system can do that."""
    if os.name == "nt":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
