"""Near-duplicates: is this the same photo, resized, recompressed or developed differently?

A *signature* is the photo's luminance on a 32 x 32 grid. Two signatures are compared by the normalised correlation of their
fine structure (the signature minus its local mean), which ignores exposure and slow changes of light, and can leave out
the cells that a pasted foreground covers.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

SIDE = 32
BYTES = SIDE * SIDE
# Measured (docs/retrieval.md): every resized, recompressed or relit copy lies above, four in five of those with a few
# percent cropped off; of 6,000 pairs of similar photos eleven did, which by their names are twice the same.
SAME = 0.6


def signature(image: Tensor) -> bytes:
    """The signature of a picture `(1, 3, H, W)` in [0, 1]: `BYTES` bytes, row-major luminance."""
    weights = image.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    small = F.interpolate((image * weights).sum(1, keepdim=True), (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
    return bytes((small.clamp(0, 1) * 255).round().to(torch.uint8).numpy().tobytes())


def resemblance(query: bytes, others: list[bytes], counts: Tensor | None = None) -> NDArray[np.float32]:
    """How much the fine structure of pictures agrees.

    Args:
        query: a signature.
        others: signatures to compare with.
        counts: `(1, 1, H, W)` in [0, 1], 0 where the query shows something pasted; None: all of it counts.

    Returns:
        `(len(others),)` in [-1, 1]; 0 where there is no structure to compare.
    """
    if not others:
        return np.zeros(0, np.float32)
    stack = np.frombuffer(b"".join([query, *others]), np.uint8).reshape(-1, 1, SIDE, SIDE).astype(np.float32)
    signatures = torch.from_numpy(stack)
    weight = torch.ones(1, 1, SIDE, SIDE)
    if counts is not None:
        # A cell counts only if all of it, and its neighbours, are free of the paste.
        weight = 1 - F.max_pool2d(F.adaptive_max_pool2d(1 - counts.float().cpu(), SIDE), 3, 1, 1)
        weight = (weight > 0.5).float()
    window = 5
    area = F.avg_pool2d(weight, window, 1, window // 2).clamp_min(1e-6)
    fine = (signatures - F.avg_pool2d(signatures * weight, window, 1, window // 2) / area) * weight
    # The square root evens out a few strong edges against the many weak ones.
    fine = (fine.sign() * fine.abs().sqrt()).flatten(1)
    norm = fine.norm(dim=1)
    product = norm[1:] * norm[0]
    scores = (fine[1:] @ fine[0]) / product.clamp_min(1e-6)
    result: NDArray[np.float32] = torch.where(product > 1.0, scores, 0.0).numpy()
    return result
