"""What fits together: encoders and indexes, numbers and their ranges, galleries and where they lie now."""

from __future__ import annotations

import math
import os
from pathlib import Path

import torch

from ..content.base import ContentEncoder
from ..errors import RaihaError
from ..illumination import DESCRIPTOR_DIM, DESCRIPTOR_ID
from .catalogue import Catalogue
from .manifest import EncoderInfo, Manifest
from .regions import LAYOUT
from .stores import Access, VectorStore, create_store


def load_by_name(name: str, device: torch.device | str | None) -> ContentEncoder:
    """Load a content encoder by name."""
    from ..content import load_encoder

    encoder: ContentEncoder = load_encoder(name, device)
    return encoder


def wrong_encoder(directory: Path, made: EncoderInfo, asked: object) -> RaihaError:
    """The sentence for an index and an encoder that do not belong together."""
    if isinstance(asked, EncoderInfo) and asked.id == made.id:
        return RaihaError(
            f"the index at {directory} was made with the encoder {made}, whose weights are others by now, not with {asked}: "
            f"`raiha index build {directory}` makes it anew"
        )
    return RaihaError(
        f"the index at {directory} was made with the encoder {made}, not with {asked}: use {made.id}, or make it anew with --rebuild"
    )


def require_encoder(manifest: Manifest, encoder: ContentEncoder, directory: Path) -> None:
    """Refuse an encoder whose vectors cannot be compared with those of the index.

    Raises:
        RaihaError: names both.
    """
    given = EncoderInfo(encoder.id, encoder.weights_hash, encoder.dim)
    if given != manifest.encoder:
        raise wrong_encoder(directory, manifest.encoder, given)


def is_current(manifest: Manifest) -> bool:
    """Whether descriptors and regions are those of this version of Raiha."""
    return (manifest.illumination, manifest.regions) == (DESCRIPTOR_ID, LAYOUT)


def require_current(manifest: Manifest, directory: Path) -> None:
    """Refuse to mix descriptors or regions of another version of Raiha, or to compare them.

    Raises:
        RaihaError: says how to make the index anew.
    """
    if not is_current(manifest):
        raise RaihaError(f"the index at {directory} was made by another version of Raiha: `raiha index build {directory}` makes it anew")


def check_numbers(*, k: int, weight: float, min_content: float, min_illumination: float) -> None:
    """Refuse numbers out of range.

    Raises:
        RaihaError: names the number and its range.
    """
    if k < 1:
        raise RaihaError(f"the number of references must be at least 1, not {k}")
    for name, value in (("weight", weight), ("min_content", min_content), ("min_illumination", min_illumination)):
        if not (math.isfinite(value) and 0 <= value <= 1):
            raise RaihaError(f"{name} must lie between 0 and 1, not {value}")


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


def open_store(directory: Path, manifest: Manifest, access: Access) -> VectorStore:
    """The vector store that a manifest names; nothing is loaded yet."""
    store = manifest.store
    return create_store(store["kind"], directory, manifest.encoder.dim, DESCRIPTOR_DIM, store["options"], access, manifest.tag)
