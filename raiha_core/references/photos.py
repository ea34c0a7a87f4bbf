"""Which files of a gallery are photos, and their hashes; reading them is `raiha_core.image.reduced`."""

from __future__ import annotations

import hashlib
import os
from typing import BinaryIO

from ..image.reduced import UnreadableImage, as_tensor
from ..image.reduced import read_reduced as read_photo
from ..image.regular import open_regular
from ..suffixes import READABLE

__all__ = ["SUFFIXES", "UnreadableImage", "as_tensor", "file_hash", "hash_of", "read_photo"]

SUFFIXES = frozenset(READABLE)


def file_hash(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, in hex.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    with open_regular(path) as file:
        return hash_of(file)


def hash_of(file: BinaryIO) -> str:
    """SHA-256 of all bytes of an open file, in hex; reads in pieces, and leaves it at its start."""
    digest = hashlib.sha256()
    file.seek(0)
    while piece := file.read(1 << 20):
        digest.update(piece)
    file.seek(0)
    return digest.hexdigest()
