"""Where the object ends: masks as people hand them over, drawn to the outline that the picture shows.

A mask is grown, feathered or a little off, and then nothing that is said about its edge is true. Masks are mostly wrong by the
same distance all around: colours are compared across the contours at every distance from the mask's edge, direction by
direction, and the contour on which most directions agree is chosen, taught by the masks that objects were really cut with. What
meets at the edge is then looked up there; the effect still goes where the user's mask says.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..pooling import window_max
from .layers import zeros

REACH = 16
"""Pixels from the mask's edge that contours are looked for, inwards and outwards."""
CONTOURS = 2 * REACH + 1
METRICS = 2
"""Ways to grow a mask: by squares, and by diamonds, as repeated growth by single pixels does."""
SAID = 6
"""Numbers that are said of one contour: steps of colour across it, their size, how often it is the steepest place, its length."""
DIRECTIONS = 16
"""Sectors about the object's middle that are heard one by one."""
WIDTH = 48


class Found(NamedTuple):
    """What is found of B outlines.

    Attributes:
        inside: `(B, 1, S, S)` in [0, 1], how likely a pixel is the object's.
        contour: `(B, METRICS, CONTOURS)`, logits of the contour that is nearest to the outline.
        distance: `(B, METRICS, S, S)`, see `signed_distance`.
    """

    inside: Tensor
    contour: Tensor
    distance: Tensor


class Outline(nn.Module):
    """See the module. It starts as nothing: what comes out is the mask that went in."""

    def __init__(self) -> None:
        super().__init__()
        self.contour = nn.Sequential(
            nn.Conv1d(METRICS * SAID, WIDTH, 7, 1, 3), nn.ReLU(inplace=True), nn.Conv1d(WIDTH, WIDTH, 5, 1, 2), nn.ReLU(inplace=True)
        )
        self.offset = nn.Sequential(
            nn.Conv1d(3 * WIDTH, 64, 5, 1, 2),
            nn.ReLU(inplace=True),
            nn.Conv1d(64, 64, 5, 1, 2),
            nn.ReLU(inplace=True),
            zeros(nn.Conv1d(64, METRICS, 5, 1, 2)),
        )
        self.usual = nn.Parameter(-0.05 * torch.arange(-REACH, REACH + 1).abs() + 6.0 * (torch.arange(CONTOURS) == REACH))

    def forward(self, rgb: Tensor, mask: Tensor) -> Found:
        """Look for outlines; the answer is float32.

        Args:
            rgb: `(B, 3, S, S)` in [0, 1].
            mask: `(B, 1, S, S)` in [0, 1], as `shown_mask` gives it.
        """
        with torch.no_grad(), torch.autocast(rgb.device.type, enabled=False):
            distance = signed_distance(mask)
            profile, share = profiles(across(rgb, distance), distance, directions(mask))
        heard = self.contour(profile.flatten(0, 1)).unflatten(0, share.shape)  # (B, DIRECTIONS, WIDTH, CONTOURS)
        together = (heard * share[:, :, None, None].to(heard.dtype)).sum(1)
        everywhere = together.mean(2, keepdim=True).expand_as(together)
        contour = self.offset(torch.cat([together, heard.amax(1), everywhere], 1)).float() + self.usual
        chosen = contour.detach().flatten(1).softmax(1).reshape(contour.shape)
        return Found(_inside(chosen, distance), contour, distance)


def signed_distance(mask: Tensor) -> Tensor:
    """Pixels from the mask's edge, positive outside, by squares and by diamonds: `(B, METRICS, S, S)` in [-REACH, REACH].

    The mask's outermost pixels have 0, the first outside 1.
    """
    inside = mask > 0.5
    both = torch.cat([inside, ~inside], 1)  # how far it is to the mask, how far out of it
    along = _nearer((~both).to(torch.int8) * (REACH + 1), 3)
    diamond, square = _nearer(along, 2), along.clone()
    for k in range(1, REACH + 1):
        farther = along.clamp_min(k)
        for here, there in ((slice(k, None), slice(None, -k)), (slice(None, -k), slice(k, None))):
            part = square[..., here, :]
            torch.minimum(part, farther[..., there, :], out=part)
    apart = torch.stack([square, diamond], 1)  # (B, METRICS, 2, S, S)
    return torch.where(inside, 1 - apart[:, :, 1], apart[:, :, 0]).clamp(-REACH, REACH).to(mask.dtype)


def _nearer(distance: Tensor, dim: int) -> Tensor:
    """Distances with those along one axis added, by doubling: the nearest within 16 pixels."""
    for reach in (1, 2, 4, 8, 1):
        farther, nearer, rest = distance + reach, distance.clone(), distance.shape[dim] - reach
        for here, there in ((reach, 0), (0, reach)):
            part = nearer.narrow(dim, here, rest)
            torch.minimum(part, farther.narrow(dim, there, rest), out=part)
        distance = nearer
    return distance


def across(rgb: Tensor, distance: Tensor) -> Tensor:
    """Steps of colour over two pixels, outwards: `(B, 3, S, S)`."""
    outwards = distance.mean(1, keepdim=True)
    steps = torch.zeros_like(rgb)
    for x, y, part in (
        (rgb[..., 2:] - rgb[..., :-2], outwards[..., 2:] - outwards[..., :-2], steps[..., 1:-1]),
        (rgb[..., 2:, :] - rgb[..., :-2, :], outwards[..., 2:, :] - outwards[..., :-2, :], steps[..., 1:-1, :]),
    ):
        part += x * (y / 2).clamp(-1, 1)
    return steps


def directions(mask: Tensor) -> Tensor:
    """Which of `DIRECTIONS` sectors about the middle of what the mask covers a pixel lies in, `(B, 1, S, S)` int64."""
    y, x = (torch.arange(side, device=mask.device, dtype=mask.dtype) for side in mask.shape[-2:])
    weight = mask.sum((2, 3)).clamp_min(1e-3)
    cx, cy = (mask.sum(2) * x).sum(2) / weight, (mask.sum(3) * y).sum(2) / weight  # (B, 1)
    angle = torch.atan2(y[None, :, None] - cy[:, :, None], x[None, None, :] - cx[:, :, None])
    return ((angle / (2 * torch.pi) + 0.5) * DIRECTIONS).long().clamp(0, DIRECTIONS - 1)[:, None]


def profiles(step: Tensor, distance: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """What is seen across the contours at each distance, and which share of the edge that is, direction by direction.

    Returns:
        `(B, DIRECTIONS, METRICS * SAID, CONTOURS)` and `(B, DIRECTIONS)`, which sums to 1.
    """
    size = step.abs().mean(1, keepdim=True)
    steepest = ((size >= window_max(size, 5)) & (size > 0.02)).to(size.dtype)
    seen = torch.cat([step, size, steepest, torch.ones_like(size)], 1).flatten(2)  # (B, SAID, N)
    index = _contour_of(distance).add_(direction.flatten(2) * CONTOURS)  # (B, METRICS, N)
    out = seen.new_zeros(len(step), METRICS, SAID, DIRECTIONS * CONTOURS)
    for metric in range(METRICS):
        out[:, metric].scatter_add_(2, index[:, metric, None].expand(-1, SAID, -1), seen)
    out = out.unflatten(3, (DIRECTIONS, CONTOURS)).permute(0, 3, 1, 2, 4)  # (B, DIRECTIONS, METRICS, SAID, CONTOURS)
    count = out[..., -1:, :]
    mean = out[..., :-1, :] / count.clamp_min(1) * 8
    along = count[:, :, :1, 0, REACH].flatten(1)  # pixels of the mask's own edge
    share = (along + 1e-3) / (along + 1e-3).sum(1, keepdim=True)
    length = (count / along[:, :, None, None, None].clamp_min(1) / 2).clamp_max(2)
    length[..., [0, -1]] = 0  # all that lies beyond
    return torch.cat([mean[..., :3, :].abs(), mean[..., 3:, :], length], 3).flatten(2, 3), share


def _contour_of(distance: Tensor) -> Tensor:
    """Which contour every pixel lies on, `(B, METRICS, N)` int64: distances are whole numbers."""
    return distance.long().add_(REACH).flatten(2)


def _inside(chosen: Tensor, distance: Tensor) -> Tensor:
    """How likely pixels lie within the chosen contour, `(B, 1, S, S)`: within those that are at least as far out."""
    within = chosen.flip(2).cumsum(2).flip(2)  # (B, METRICS, CONTOURS)
    return within.gather(2, _contour_of(distance)).sum(1).reshape(len(chosen), 1, *distance.shape[-2:]).clamp(0, 1)


def outlined(inside: Tensor, mask: Tensor) -> Tensor:
    """The outline as a mask, `(B, 1, S, S)` in [0, 1]; the mask itself where hardly anything of it would be left.

    Args:
        inside: of `Found`.
        mask: what was shown, `(B, 1, S, S)`.
    """
    found = ((inside - 0.3) / 0.4).clamp(0, 1)
    enough = found.sum((2, 3), keepdim=True) > 0.05 * mask.sum((2, 3), keepdim=True)
    return torch.where(enough, found, mask)


def nearest_contour(distance: Tensor, cut: Tensor) -> Tensor:
    """How near each contour is to what the object was cut with, as shares that sum to 1: `(B, METRICS, CONTOURS)`.

    Args:
        distance: `(B, METRICS, S, S)`, see `signed_distance`.
        cut: `(B, 1, S, S)` in [0, 1].
    """
    index = _contour_of(distance)
    held = torch.zeros(*index.shape[:2], CONTOURS, device=cut.device).scatter_add_(2, index, cut.flatten(2).expand_as(index).float())
    count = torch.zeros_like(held).scatter_add_(2, index, torch.ones_like(index, dtype=held.dtype))
    wrong = (count - held).cumsum(2) + held.sum(2, keepdim=True) - held.cumsum(2)  # taken in, and left out
    around = count[..., REACH : REACH + 1].clamp_min(16)
    return (-4 * wrong / around).flatten(1).softmax(1).reshape(wrong.shape)


def outline_loss(found: Found, cut: Tensor) -> Tensor:
    """Cross-entropy of the contours against those that are nearest to what the object was cut with, `(B, 1, S, S)`. Scalar."""
    return F.cross_entropy(found.contour.flatten(1), nearest_contour(found.distance, cut).flatten(1))
