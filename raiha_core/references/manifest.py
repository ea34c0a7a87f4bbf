"""The manifest: the one small file that says what an index is, replaced last by every write."""

from __future__ import annotations

import hashlib
import json
import os
import re
import uuid
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..atomic import replacing
from ..errors import RaihaError

FORMAT = "raiha-index"
VERSION = 2
NAME = "manifest.json"
REBUILD = "rebuild.json"
"""Manifest of an index that is being made anew beside the one in use; renamed over `NAME` when it is done."""

_IDENTITY = re.compile(r"[0-9a-f]{32}")
_LARGEST = 2**53


class OlderFormat(RaihaError):
    """The index was written in a format of an earlier version; its photos have to be read again."""


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
        identity: 32 hex digits drawn when the index is made: two indexes never share it, whatever their folder is called.
        counts: `images`, `regions`, `files`, `unreadable`; `kept`: photos without a file, whose vectors are kept.
        revision: grows by one with every write.
        updated: UTC time of the last write, ISO 8601.
    """

    encoder: EncoderInfo
    illumination: str
    regions: str
    store: dict[str, Any]
    identity: str = field(default_factory=lambda: uuid.uuid4().hex)
    counts: dict[str, int] = field(default_factory=dict)
    revision: int = 0
    updated: str = ""

    @property
    def tag(self) -> str:
        """What the names of this index's own files carry."""
        return self.identity[:8]

    @property
    def catalogue(self) -> str:
        """File name of the catalogue."""
        return f"catalogue-{self.tag}.sqlite"

    @property
    def state(self) -> tuple[str, int]:
        """What distinguishes this state of this index from every other: identity and revision."""
        return self.identity, self.revision

    def next(self, state: dict[str, Any] | None, counts: dict[str, int]) -> Manifest:
        """The manifest of the following write."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return replace(self, store={**self.store, "state": state}, counts=counts, revision=self.revision + 1, updated=now)

    def constant(self) -> dict[str, Any]:
        """What never changes, as JSON: kept in the catalogue too, from which `verify` restores a lost manifest."""
        whole = asdict(self)
        store = {"kind": self.store["kind"], "options": self.store["options"], "state": None}
        return {**{key: whole[key] for key in ("encoder", "illumination", "regions", "identity")}, "store": store}


def exists(directory: Path) -> bool:
    """Whether an index lies in this folder (or what is left of one)."""
    return os.path.isfile(os.path.join(directory, NAME))


def save(manifest: Manifest, directory: Path, name: str = NAME) -> None:
    """Replace the manifest: written beside it, flushed to the disk, renamed over it."""
    document = {"format": FORMAT, "version": VERSION, **asdict(manifest)}
    write_durably(directory / name, (json.dumps({**document, "check": _digest(document)}, indent=2) + "\n").encode())


def load(directory: Path, name: str = NAME) -> Manifest:
    """Read the manifest.

    Raises:
        RaihaError: there is none, it is damaged, or another version wrote it (`OlderFormat` for an earlier one).
    """
    path = directory / name
    try:
        document = json.loads(path.read_bytes(), parse_constant=_refuse)
    except (FileNotFoundError, NotADirectoryError):
        raise RaihaError(f"no reference index at {directory}: build one with `raiha index build {directory} GALLERY`") from None
    except OSError as error:
        raise RaihaError(f"cannot read the reference index at {directory}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise damaged(directory, f"{name} is not valid JSON") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise RaihaError(f"{path} does not belong to a reference index: choose another folder")
    version = document.get("version")
    if version == 1:
        raise OlderFormat(
            f"the index at {directory} was made by an earlier version of Raiha: `raiha index build {directory} GALLERY` makes it anew"
        )
    if version != VERSION:
        raise RaihaError(f"the index at {directory} has format {version}, this version reads {VERSION}: update Raiha, or build it anew")
    try:
        check = document.pop("check")
        manifest = from_document(document)
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(directory, f"{name} lacks or distorts an entry ({error})") from error
    if check != _digest(document):
        raise damaged(directory, f"{name} has been changed")
    return manifest


def from_document(document: dict[str, Any]) -> Manifest:
    """A manifest from its JSON, every entry checked for its kind.

    Raises:
        KeyError, TypeError, ValueError: an entry is missing or is not what it should be.
    """
    encoder = document["encoder"]
    store = document["store"]
    if not isinstance(store["kind"], str) or not isinstance(store["options"], dict) or not isinstance(store["state"], dict | None):
        raise TypeError("store")
    texts = [encoder["id"], encoder["weights_hash"], document["illumination"], document["regions"], document.get("updated", "")]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("text")
    identity = document["identity"]
    if not (isinstance(identity, str) and _IDENTITY.fullmatch(identity)):
        raise ValueError("identity")
    counts = {str(key): whole(value) for key, value in document.get("counts", {}).items()}
    info = EncoderInfo(encoder["id"], encoder["weights_hash"], whole(encoder["dim"]))
    revision = whole(document.get("revision", 0))
    return Manifest(info, document["illumination"], document["regions"], store, identity, counts, revision, document.get("updated", ""))


def whole(value: object) -> int:
    """A whole number that is not negative, as it stands.

    Raises:
        TypeError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST:
        raise TypeError(f"{str(value)[:20]} is no number")
    return value


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is no number of JSON")


def _digest(document: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]


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
    with replacing(path) as part, open(part, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
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
