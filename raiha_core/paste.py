"""A cut-out pasted into a picture: placed, scaled, turned, its edge trimmed; and the mask of where it went."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .errors import RaihaError
from .image import Box

_BARE = 1e-6
"""Alpha below which a colour cannot be told."""


@dataclass(frozen=True)
class Placement:
    """Where a cut-out goes, the same at any resolution.

    Attributes:
        x: where the middle of the cut-out's picture lies, 0 at the background's left edge, 1 at its right.
        y: 0 at the top, 1 at the bottom.
        scale: 1 makes the cut-out's picture just fit into the background.
        rotation: degrees clockwise.
        mirror: left and right swapped, before it is turned.
    """

    x: float = 0.5
    y: float = 0.5
    scale: float = 0.5
    rotation: float = 0.0
    mirror: bool = False

    def factor(self, cutout: tuple[int, int], background: tuple[int, int]) -> float:
        """By how much the cut-out's pixels are enlarged; 1 where the size would differ by less than a pixel.

        Args:
            cutout: (height, width).
            background: (height, width).
        """
        found = self.scale * min(b / c for b, c in zip(background, cutout, strict=True))
        # Not resampled for nothing: an object that comes in the right size keeps its own pixels.
        return 1.0 if all(abs(found * side - side) < 1 for side in cutout) else found


@dataclass(frozen=True)
class Patch:
    """A cut-out as it lies on backgrounds of one size.

    Attributes:
        colours: `(1, 3, h, w)`, not multiplied by alpha.
        alpha: `(1, 1, h, w)` in [0, 1].
        box: where it lies on the background.
        size: (height, width) of the background.
    """

    colours: Tensor
    alpha: Tensor
    box: Box
    size: tuple[int, int]

    def mask(self) -> Tensor:
        """Where the object is, `(1, 1, H, W)`."""
        mask = self.alpha.new_zeros(1, 1, *self.size)
        mask[:, :, self.box.top : self.box.bottom, self.box.left : self.box.right] = self.alpha
        return mask

    def onto(self, background: Tensor) -> Tensor:
        """The composite; where alpha is 0 it is the background, bit for bit.

        Args:
            background: `(1, 3, H, W)`.
        """
        out = background.clone()
        part = out[:, :, self.box.top : self.box.bottom, self.box.left : self.box.right]
        mixed = part * (1 - self.alpha) + self.colours.to(part) * self.alpha
        part.copy_(torch.where(self.alpha > 0, mixed, part))
        return out


def place(
    colours: Tensor,
    alpha: Tensor,
    size: tuple[int, int],
    placement: Placement,
    *,
    shrink_edge: int = 0,
    feather: float = 0.0,
) -> Patch:
    """Bring a cut-out to its place.

    Without rotation it is moved by whole pixels and, in its own size, not resampled at all.

    Args:
        colours: `(1, 3, h, w)` float, not multiplied by alpha.
        alpha: `(1, 1, h, w)` in [0, 1].
        size: (height, width) of the background.
        placement: where to.
        shrink_edge: pixels of the background by which the edge moves inwards, against halos of the old background.
        feather: pixels of the background over which the edge fades, inwards.

    Raises:
        RaihaError: nothing of the object would be seen.
    """
    if not alpha.any():
        raise RaihaError("The object's mask is empty, so there is nothing to paste; connect the mask that shows the object.")
    layer = torch.cat([colours * alpha, alpha], 1)
    if placement.mirror:
        layer = layer.flip(3)
    factor = placement.factor((alpha.shape[2], alpha.shape[3]), size)
    layer = _resized(layer, min(factor, 1.0))
    quarters = round(placement.rotation / 90)
    layer = torch.rot90(layer, -quarters, (2, 3))
    enlarged, turned = max(factor, 1.0), math.radians(placement.rotation - 90 * quarters)
    margin = shrink_edge + math.ceil(feather)
    if enlarged == 1 and turned == 0:
        layer, box = _moved(layer, size, placement, margin)
    else:
        layer, box = _sampled(layer, size, placement, enlarged, turned, margin)
    before = layer[:, 3:]
    after = _feathered(_shrunk(before, shrink_edge), feather)
    if not after.any():
        raise RaihaError("Nothing of the object is left in the picture; move it in, enlarge it, or lower shrink edge and feather.")
    return Patch(layer[:, :3] / before.clamp_min(_BARE), after, box, size)


def _resized(layer: Tensor, factor: float) -> Tensor:
    if factor == 1:
        return layer
    height, width = (max(1, round(side * factor)) for side in layer.shape[2:])
    small = F.interpolate(layer, size=(height, width), mode="bicubic", antialias=True, align_corners=False)
    return _bounded(small)


def _bounded(layer: Tensor) -> Tensor:
    """Without what cubics draw beyond: alpha in [0, 1], no colour below black."""
    return torch.cat([layer[:, :3].clamp_min(0), layer[:, 3:].clamp(0, 1)], 1)


def _visible(centre: tuple[float, float], half: tuple[float, float], size: tuple[int, int], margin: int) -> Box:
    """The part of a background that lies under a rectangle and a margin around it; (row, column) everywhere.

    Raises:
        RaihaError: the rectangle lies outside.
    """
    low = [max(0, math.floor(c - h) - margin) for c, h in zip(centre, half, strict=True)]
    high = [min(side, math.ceil(c + h) + margin) for c, h, side in zip(centre, half, size, strict=True)]
    if low[0] >= high[0] or low[1] >= high[1]:
        raise RaihaError("The object lies outside the picture; set x and y to values from 0 to 1 (0.5 and 0.5 is the middle).")
    return Box(low[0], low[1], high[0], high[1])


def _moved(layer: Tensor, size: tuple[int, int], placement: Placement, margin: int) -> tuple[Tensor, Box]:
    """Moved by whole pixels."""
    height, width = layer.shape[2:]
    top, left = round(placement.y * size[0] - height / 2), round(placement.x * size[1] - width / 2)
    box = _visible((top + height / 2, left + width / 2), (height / 2, width / 2), size, margin)
    out = layer.new_zeros(1, 4, box.height, box.width)
    rows = slice(max(top, box.top), min(top + height, box.bottom))
    columns = slice(max(left, box.left), min(left + width, box.right))
    if rows.start < rows.stop and columns.start < columns.stop:
        out[:, :, rows.start - box.top : rows.stop - box.top, columns.start - box.left : columns.stop - box.left] = layer[
            :, :, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
        ]
    return out, box


def _sampled(layer: Tensor, size: tuple[int, int], placement: Placement, enlarged: float, turned: float, margin: int) -> tuple[Tensor, Box]:
    """Enlarged and turned, only as much of it as the background shows."""
    height, width = layer.shape[2:]
    cos, sin = math.cos(turned), math.sin(turned)
    half = [abs(a) * height * enlarged / 2 + abs(b) * width * enlarged / 2 for a, b in ((cos, sin), (sin, cos))]
    centre = placement.y * size[0], placement.x * size[1]
    box = _visible(centre, (half[0], half[1]), size, margin)
    dy = (torch.arange(box.top, box.bottom, dtype=torch.float32, device=layer.device) + 0.5 - centre[0])[:, None]
    dx = (torch.arange(box.left, box.right, dtype=torch.float32, device=layer.device) + 0.5 - centre[1])[None, :]
    # Turned back and shrunk back, as shares of the layer's half sides: what grid_sample wants.
    u = (dx * cos + dy * sin) * (2 / (enlarged * width))
    v = (dy * cos - dx * sin) * (2 / (enlarged * height))
    drawn = F.grid_sample(layer, torch.stack([u, v], -1)[None], mode="bicubic", padding_mode="border", align_corners=False)
    # The picture's own border: as sharp as a pixel, however much it is enlarged.
    across, down = ((1 - p.abs()) * (enlarged * side / 2) + 0.5 for p, side in ((u, width), (v, height)))
    return _bounded(drawn) * across.clamp(0, 1) * down.clamp(0, 1), box


def _shrunk(alpha: Tensor, pixels: int) -> Tensor:
    """The edge moved inwards by an eight-sided step for every pixel; where the background ends, nothing is taken away."""
    for step in range(pixels):
        across = -F.max_pool2d(-alpha, (1, 3), 1, (0, 1))
        down = -F.max_pool2d(-(across if step % 2 else alpha), (3, 1), 1, (1, 0))
        alpha = torch.minimum(across, down)
    return alpha


def _feathered(alpha: Tensor, pixels: float) -> Tensor:
    """The edge faded inwards: nothing outside the object becomes part of it."""
    if pixels <= 0:
        return alpha
    # A blurred step is 1/2 at the edge: twice of it, less 1, is 0 there and rises to 1 inside.
    sigma = pixels / 2
    at = torch.arange(-math.ceil(3 * sigma), math.ceil(3 * sigma) + 1, device=alpha.device, dtype=alpha.dtype)
    kernel = torch.exp(-0.5 * (at / sigma).square())
    kernel = (kernel / kernel.sum())[None, None, None]
    reach = at.numel() // 2
    inside = (alpha > 0.1 * alpha.max()).to(alpha)
    blurred = F.conv2d(F.pad(inside, (reach, reach, 0, 0), "replicate"), kernel)
    blurred = F.conv2d(F.pad(blurred, (0, 0, reach, reach), "replicate"), kernel.mT)
    return alpha * (2 * blurred - 1).clamp(0, 1)
