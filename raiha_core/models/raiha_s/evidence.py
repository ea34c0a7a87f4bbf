"""What can be said of a composite without any weights: colours of both regions, token by token, and what meets at the mask's edge.

It needs no gradient. All of it is float32.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..pooling import block_max, window_mean
from .backbone import STRIDE
from .colour_statistics import described
from .edges import Edge, edge_colours, spread_inside, step_histogram
from .layers import token_colours


class Evidence(NamedTuple):
    """Of B composites with h x w tokens.

    Attributes:
        colours: `(B, 6, h, w)`, mean and spread of every token's colours: of the foreground where the mask touches it, else of the rest.
        own, covered: `(B, 1, h, w)`, whether the mask touches a token, and which share of it.
        inner, outer, weight: as in `Edge`.
        spread: `(B, 4, h, w)`, steps at the edge carried inside, see `spread_inside`.
        steps: `(B, STEPS)`, see `step_histogram`.
        described: `(B, 2 * DESCRIPTOR + 9)`, colours of foreground and background.
        front_mean, front_covariance, back_mean, back_covariance: `(B, 3)` and `(B, 3, 3)`.
        extent: `(B, 2)`, share of the picture and of the tokens that is foreground.
    """

    colours: Tensor
    own: Tensor
    covered: Tensor
    inner: Tensor
    outer: Tensor
    weight: Tensor
    spread: Tensor
    steps: Tensor
    described: Tensor
    front_mean: Tensor
    front_covariance: Tensor
    back_mean: Tensor
    back_covariance: Tensor
    extent: Tensor

    @property
    def edge(self) -> Edge:
        """What meets at the edge."""
        return Edge(self.inner, self.outer, self.weight)

    def without_edge(self, keep: Tensor) -> Evidence:
        """The same with nothing known of the edge where `keep` `(B,)` is 0: as an edge between things that do not meet."""
        planes, rows = keep[:, None, None, None], keep[:, None]
        return self._replace(weight=self.weight * planes, spread=self.spread * planes, steps=self.steps * rows)


def observe(composite: Tensor, mask: Tensor) -> Evidence:
    """Look at composites.

    Args:
        composite: `(B, 3, S, S)`, sRGB in [0, 1], S divisible by 32.
        mask: `(B, 1, S, S)` in [0, 1], as `shown_mask` gives it.
    """
    own = (block_max(mask, STRIDE) > 0.02).to(composite.dtype)
    touched = own.repeat_interleave(STRIDE, 2).repeat_interleave(STRIDE, 3) > 0
    colours = token_colours(composite, torch.where(touched, mask, 1 - mask))
    edge = edge_colours(composite, mask)
    # Statistics need no more than every second row and column.
    pixels, inner = composite[..., ::2, ::2].flatten(2), mask[..., ::2, ::2].flatten(2)
    (front, described_front), (back, described_back) = described(pixels, (inner, 1 - inner))
    return Evidence(
        colours=colours,
        own=own,
        covered=window_mean(mask, STRIDE, STRIDE),
        inner=edge.inner,
        outer=edge.outer,
        weight=edge.weight,
        spread=spread_inside(edge),
        steps=step_histogram(composite, mask),
        described=torch.cat([described_front, described_back, back[1].flatten(1) * 4], 1),
        front_mean=front[0],
        front_covariance=front[1],
        back_mean=back[0],
        back_covariance=back[1],
        extent=torch.cat([mask.mean((2, 3)), own.mean((2, 3))], 1),
    )


def shown_mask(mask: Tensor) -> Tensor:
    """The mask as the network sees it: its own maximum is white, and a feathered edge is drawn together about its middle.

    How soft a user's mask is says how the effect is to fade, not where the object ends; the network is told the second.

    Args:
        mask: `(B, 1, S, S)`, at least 0.
    """
    whitest = mask.amax((2, 3), keepdim=True).clamp_min(1e-6)
    return ((mask / whitest - 0.3) / 0.4).clamp(0, 1)
