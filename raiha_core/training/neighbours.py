"""Which photos of a pack show similar things: training's stand-in for retrieval."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from ..content.base import ContentEncoder


def content_neighbours(photos: NDArray[np.uint8], encoder: ContentEncoder, cache: Path, k: int = 12) -> NDArray[np.int64]:
    """The k most similar other photos of each photo by content, `(N, k)`; computed once and kept in `cache`.

    Near-duplicates (cosine above 0.98) are left out: they would be the answer, not a reference.
    """
    if cache.is_file():
        found: NDArray[np.int64] = np.load(cache)
        return found
    vectors = []
    for i in tqdm(range(0, len(photos), 32), desc="neighbours"):
        vectors.append(encoder.encode(torch.from_numpy(np.array(photos[i : i + 32])).permute(0, 3, 1, 2).float() / 255).vector.cpu())
    v = torch.cat(vectors)
    rows = []
    for start in range(0, len(v), 1024):
        alike = v[start : start + 1024] @ v.T
        alike[alike > 0.98] = -1.0
        rows.append(alike.topk(min(k, len(v) - 1), dim=1).indices)
    result = torch.cat(rows).numpy()
    part = cache.with_suffix(".part.npy")
    np.save(part, result)
    os.replace(part, cache)
    return result
