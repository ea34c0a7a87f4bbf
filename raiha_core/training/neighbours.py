"""Which photos of a pack show similar things: training's stand-in for retrieval."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from ..content.base import ContentEncoder

TWINS = 0.98
"""Cosine above which two photos are near-duplicates: one would be the answer to the other, not a reference."""


def content_neighbours(photos: NDArray[np.uint8], encoder: ContentEncoder, cache: Path, k: int = 12) -> NDArray[np.int64]:
    """The k most similar other photos of each photo by content; computed once for these photos and kept in `cache`.

    Args:
        photos: `(N, P, P, 3)`.
        encoder: says what they show.
        cache: an `.npz` file; one that belongs to other photos or to another encoder is replaced.
        k: how many; at most N - 1.

    Returns:
        `(N, min(k, N - 1))`, best first. Near-duplicates come last; a photo is never its own neighbour.
    """
    made_of = _made_of(photos, encoder, k)
    try:
        with np.load(cache, allow_pickle=False) as kept:
            if str(kept["made_of"]) == made_of:
                found: NDArray[np.int64] = kept["rows"]
                return found
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        pass  # none yet, or one that cannot be read: made below
    result = most_alike(_vectors(photos, encoder), k)
    part = cache.with_name(f"{cache.stem}.{os.getpid()}.part.npz")
    np.savez(part, rows=result, made_of=np.array(made_of))
    os.replace(part, cache)
    return result


def most_alike(vectors: Tensor, k: int) -> NDArray[np.int64]:
    """The k rows of unit vectors `(N, D)` most like each row, as `content_neighbours` gives them."""
    rows = []
    for start in range(0, len(vectors), 1024):
        alike = vectors[start : start + 1024] @ vectors.T
        alike[alike > TWINS] = -1.0
        own = torch.arange(len(alike))
        alike[own, start + own] = -2.0
        rows.append(alike.topk(min(k, len(vectors) - 1), dim=1).indices)
    return torch.cat(rows).numpy()


def _vectors(photos: NDArray[np.uint8], encoder: ContentEncoder) -> Tensor:
    vectors = []
    for i in tqdm(range(0, len(photos), 32), desc="neighbours"):
        vectors.append(encoder.encode(torch.from_numpy(np.array(photos[i : i + 32])).permute(0, 3, 1, 2).float() / 255).vector.cpu())
    return torch.cat(vectors)


def _made_of(photos: NDArray[np.uint8], encoder: ContentEncoder, k: int) -> str:
    """Tells photos and encoders apart; of each photo a few pixels are read."""
    digest = hashlib.sha256(f"{photos.shape} {encoder.id} {encoder.weights_hash} {k} {TWINS}".encode())
    for start in range(0, len(photos), 1024):
        digest.update(np.ascontiguousarray(photos[start : start + 1024, 16::32, 16::32]).tobytes())
    return digest.hexdigest()
