"""References as the network knows them, and as it remembers them from one call to the next."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

KEPT = 32
"""References that are remembered, half a megabyte each."""
LIGHT = 18
"""Length of what `light_differences` says of one reference."""


class Encoded(NamedTuple):
    """N references as they are known whatever the composite.

    `keys` `(N, KEY, h * w)`, `values` `(N, TRUNK + COLOUR, h * w)`, the colours' `mean` `(N, 3)` and `covariance` `(N, 3, 3)`, and
    `pooled` features `(N, C)`.
    """

    keys: Tensor
    values: Tensor
    mean: Tensor
    covariance: Tensor
    pooled: Tensor


class ReferenceTokens(NamedTuple):
    """Tokens of all R references in a row: `keys` `(B, KEY, R * h * w)`, `values`, `bias` `(B, R * h * w)`; `summary` `(B, C)`."""

    keys: Tensor
    values: Tensor
    bias: Tensor
    summary: Tensor


def light_differences(own: tuple[Tensor, Tensor], back: tuple[Tensor, Tensor], r: int) -> Tensor:
    """How a reference's light differs from the background's: signed and absolute differences of moments.

    Args:
        own: the colours' mean `(B * r, 3)` and covariance `(B * r, 3, 3)` of the references.
        back: those of the background, `(B, 3)` and `(B, 3, 3)`.
        r: references of each composite.

    Returns:
        `(B, r, LIGHT)`.
    """
    upper = torch.triu_indices(3, 3, device=own[0].device)
    mine = torch.cat([own[0], own[1][:, upper[0], upper[1]] * 4], 1).reshape(-1, r, 9)
    theirs = torch.cat([back[0], back[1][:, upper[0], upper[1]] * 4], 1)[:, None]
    return torch.cat([mine - theirs, (mine - theirs).abs()], 2)


class Memory:
    """The references met last, known by their samples."""

    def __init__(self) -> None:
        self._known: dict[bytes, Encoded] = {}

    def known(self, reference: Tensor, encode: Callable[[Tensor], Encoded]) -> Encoded:
        """What `encode` says of one reference `(1, 3, S, S)`, asked once."""
        key = hashlib.sha256(reference.detach().cpu().contiguous().view(torch.uint8).numpy().data).digest()
        found = self._known.pop(key, None) or encode(reference)
        self._known[key] = found  # the last used is the last to go
        for oldest in list(self._known)[:-KEPT]:
            self._known.pop(oldest, None)
        return found
