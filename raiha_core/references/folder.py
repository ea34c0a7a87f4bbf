"""The folder of an index: an empty index in it, another one made beside it, and what may go."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..content.base import ContentEncoder
from ..errors import RaihaError
from ..illumination import DESCRIPTOR_DIM, DESCRIPTOR_ID
from . import manifest as manifests
from .catalogue import Catalogue
from .manifest import EncoderInfo, Manifest
from .regions import LAYOUT
from .stores import Access, VectorStore, create_store


def info_of(encoder: ContentEncoder) -> EncoderInfo:
    """What an index remembers of an encoder."""
    return EncoderInfo(encoder.id, encoder.weights_hash, encoder.dim)


def open_store(directory: Path, manifest: Manifest, access: Access) -> VectorStore:
    """The vector store that a manifest names; nothing is loaded yet."""
    store = manifest.store
    return create_store(store["kind"], directory, manifest.encoder.dim, DESCRIPTOR_DIM, store["options"], access, manifest.tag)


def new_manifest(encoder: ContentEncoder, kind: str, options: dict[str, Any]) -> Manifest:
    """The manifest of an index that is still to be made."""
    manifest = Manifest(info_of(encoder), DESCRIPTOR_ID, LAYOUT, {"kind": kind, "options": options, "state": None})
    if kind == "faiss":
        return manifest
    # Several indexes may share a server, and one that is being made anew shares it with the old one.
    named = {**options, "collection": f"raiha_{manifest.identity[:12]}"}
    return replace(manifest, store={**manifest.store, "options": named})


def continues(directory: Path, fresh: Manifest) -> bool:
    """Whether an attempt that was interrupted makes the same index."""
    begun = manifest_or_none(directory, manifests.REBUILD)
    if begun is None or not (directory / begun.catalogue).is_file():
        return False
    same = (begun.encoder, begun.illumination, begun.regions, begun.store["kind"], begun.store["options"].get("uri"))
    return same == (fresh.encoder, fresh.illumination, fresh.regions, fresh.store["kind"], fresh.store["options"].get("uri"))


def manifest_or_none(directory: Path, name: str) -> Manifest | None:
    """The manifest of this name, if there is one that can be read."""
    try:
        return manifests.load(directory, name)
    except RaihaError:
        return None


def tidy(directory: Path, access: Access, *gone: Manifest | None) -> None:
    """Delete files of indexes that no manifest names any more, and what those of `gone` keep on servers."""
    (directory / manifests.REBUILD).unlink(missing_ok=True)
    tag = manifests.load(directory).tag
    for manifest in gone:
        if manifest is not None and manifest.tag != tag and manifest.store["kind"] != "faiss":
            with contextlib.suppress(RaihaError), contextlib.closing(open_store(directory, manifest, access)) as store:
                store.destroy()
    for path in directory.glob("catalogue*.sqlite*"):
        if not path.name.startswith(f"catalogue-{tag}."):
            # On Windows, readers may still hold it: then the next time.
            with contextlib.suppress(OSError):
                path.unlink()
    for path in directory.glob("vectors-*"):
        if not path.name.startswith(f"vectors-{tag}-"):
            shutil.rmtree(path, ignore_errors=True)


def make_folder(directory: Path) -> None:
    """Make the folder of an index, unless there is one.

    Raises:
        RaihaError: it holds other things, or cannot be made.
    """
    if directory.exists() and not directory.is_dir():
        raise RaihaError(f"{directory} is a file: choose a folder for the index")
    ours = manifests.exists(directory) or any(directory.glob("catalogue*.sqlite"))
    if directory.is_dir() and not ours and any(p.name not in ("writer.lock", "writer.json") for p in directory.iterdir()):
        raise RaihaError(f"the folder {directory} holds other things: choose an empty or a new folder for the index")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RaihaError(f"cannot make the index folder {directory}: {error.strerror or error}") from error


def create(directory: Path, manifest: Manifest, name: str = manifests.NAME) -> None:
    """Make an empty index. What a build that was killed before its first manifest left is worth nothing."""
    catalogue = Catalogue(directory, manifest, create=True)
    # From these `verify` restores a lost manifest.
    catalogue.set_meta({**manifest.constant(), "counts": {}})
    counts = catalogue.counts()
    catalogue.close()
    manifests.save(manifest.next(None, counts), directory, name)
