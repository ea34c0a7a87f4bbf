"""What fits together: encoders and indexes, versions of Raiha, numbers and their ranges."""

from __future__ import annotations

import math
from pathlib import Path

from ..content.base import ContentEncoder
from ..errors import RaihaError
from ..illumination import DESCRIPTOR_ID
from .manifest import EncoderInfo, Manifest
from .regions import LAYOUT


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
