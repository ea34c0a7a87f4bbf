"""Semantic-guided fusion: the foreground looks for places that show the same and takes over their features."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def cosine_attention(
    queries: Tensor, keys: Tensor, values: Tensor, key_mask: Tensor, scale: Tensor | float, bias: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Attention by cosine similarity (Raiha, semantic-guided fusion).

    Args:
        queries: `(B, C, Q)`.
        keys: `(B, C, K)`.
        values: `(B, V, K)`.
        key_mask: `(B, K)` bool; False keys get weight 0. Where a picture has no key at all, its weights are all 0.
        scale: factor on the cosine before the softmax (the paper: 20).
        bias: `(B, K)`, added to the scaled cosine.

    Returns:
        attended values `(B, V, Q)` and weights `(B, Q, K)`, rows summing to 1.
    """
    q = scale * queries / (queries.norm(dim=1, keepdim=True) + 1e-8)
    k = keys / (keys.norm(dim=1, keepdim=True) + 1e-8)
    # Bias and mask ride along as one more channel: a pass over all pairs costs more than the products do.
    offset = torch.zeros_like(k[:, :1]) if bias is None else bias[:, None].to(k.dtype)
    k = torch.cat([k, offset.masked_fill(~key_mask[:, None], -1e4)], 1)
    weights = F.softmax(torch.cat([q, torch.ones_like(q[:, :1])], 1).mT @ k, dim=2)
    if not bool(key_mask.any(1).all()):
        weights = weights * key_mask.any(1)[:, None, None]
    return values @ weights.mT, weights
