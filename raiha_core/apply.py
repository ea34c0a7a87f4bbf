"""A colour transform applied to the original pixels, strip by strip, and only where the mask says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import fused
from .image import Box, Mask, Picture
from .models.base import AffineMap, ColorTransform
from .parallel import each
from .parts import Part, only

STRIP = 2**18
"""Pixels of the rows that are transformed at a time; small enough for the cache, large enough to keep the overhead low."""

_LUMA = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709


@dataclass(frozen=True)
class PlacedTransform:
    """A colour transform and the box of the composite that it belongs to."""

    transform: ColorTransform
    box: Box


def apply_transform(
    picture: Picture,
    mask: Mask,
    placed: PlacedTransform,
    strength: float = 1.0,
    part_of_change: Part = "both",
    device: torch.device | str = "cpu",
    into: NDArray[Any] | None = None,
    one_pass: bool | None = None,
) -> Picture:
    """Apply a transform to what lies under a mask; everything outside is copied bit for bit.

    Args:
        picture: any size and depth.
        mask: `(H, W)` in [0, 1], not empty.
        placed: the transform, its tensors on `device`.
        strength: 0 gives the input back, 1 the full effect, up to 2 more of the same; in proportion, within what can be shown.
        part_of_change: of the change only the brightness, only the colour, or both.
        device: where to compute.
        into: an array of the picture's shape and type to put the result into; None makes one.
        one_pass: whether to use the compiled kernel of `fused`; None does where it can be had and pays. The result is the same.

    Returns:
        a new picture of the same depth; float pictures keep values above 1.
    """
    out, on = np.empty_like(picture.rgb) if into is None else into, torch.device(device)
    if strength <= 0:
        out[...] = picture.rgb
        return picture.with_rgb(out)
    box, (height, width) = placed.box, mask.shape
    # Pixel centres in the box's unit square.
    x = (torch.arange(width, dtype=torch.float32, device=on) + 0.5 - box.left) / box.width
    y = (torch.arange(height, dtype=torch.float32, device=on) + 0.5 - box.top) / box.height
    # Most pictures need nothing but the transform; their samples are then taken as they are, whatever white is.
    plain = picture.space is None and part_of_change == "both" and not picture.grey and not picture.premultiplied and strength <= 1
    change = _plain_change if plain else _any_change
    transform = placed.transform
    if plain and on.type == "cpu" and isinstance(transform, AffineMap) and (_in_one_pass(out) if one_pass is None else one_pass):
        sweep = fused.sweep(transform, x, y, picture.rgb, mask, out, picture.scale, strength)
    else:
        along = transform.along(x, picture.scale if plain else 1.0)

        def sweep(rows: slice, columns: slice) -> None:
            part = rows, columns
            rgb, weight = (torch.from_numpy(p).to(on) for p in (_planes(out[part]), np.ascontiguousarray(mask[part])))
            task = _Strip(picture, part, rgb[None], weight, lambda c: along(c, y[rows], columns), strength, part_of_change)
            _write(out[part], change(task), mask[part], plain)

    @torch.inference_mode()
    def strip(rows: slice) -> None:
        out[rows] = picture.rgb[rows]
        # Each strip has columns of its own, so that what lies beside an object is not even looked at.
        seen = np.flatnonzero(mask[rows].max(0) > 0)
        if seen.size:
            sweep(rows, slice(int(seen[0]), int(seen[-1]) + 1))

    step = max(1, STRIP // width)
    strips = [slice(top, min(top + step, height)) for top in range(0, height, step)]
    each(strip, strips, limit=None if on.type == "cpu" else 1)
    return picture.with_rgb(out)


def _in_one_pass(out: NDArray[Any]) -> bool:
    """Whether the kernel is to change a picture like this."""
    return fused.pays(out.size // 3) and fused.agrees(out.dtype, not out.flags.c_contiguous, _both_ways_are_one)


def _both_ways_are_one(rgb: NDArray[Any], mask: Mask, transform: AffineMap) -> bool:
    placed = PlacedTransform(transform, Box(0, 0, *mask.shape))
    passes, one = (apply_transform(Picture(rgb), mask, placed, 0.9, one_pass=how).rgb for how in (False, True))
    return np.array_equal(passes, one)


class _Strip(NamedTuple):
    """A part of a picture to change: its samples `(1, 3, h, w)` as the file has them, weights `(h, w)`, and what changes colours."""

    picture: Picture
    part: tuple[slice, slice]
    rgb: Tensor
    weight: Tensor
    transform: Callable[[Tensor], Tensor]
    strength: float
    part_of_change: Part


def _plain_change(strip: _Strip) -> Tensor:
    """What becomes of samples that are sRGB and not multiplied by alpha; the transform takes them as they are."""
    rgb, white, moved = strip.rgb, strip.picture.scale, strip.transform(strip.rgb)
    # Within what can be shown, unless the picture itself goes beyond, as no whole numbers do.
    whole = strip.picture.rgb.dtype.kind == "u"
    moved = moved.clamp_(0, white) if whole else torch.clamp(moved, rgb.clamp_max(0), rgb.clamp_min(white))
    return torch.lerp(rgb, moved, strip.weight if strip.strength == 1 else strip.weight * strip.strength)


def _any_change(strip: _Strip) -> Tensor:
    """What becomes of the samples of any picture: in the file's own space, grey, multiplied by alpha, in part, or more than in full."""
    picture, strength = strip.picture, strip.strength
    scale, space = picture.scale, picture.space
    rgb, cover = strip.rgb / scale, None
    if picture.premultiplied and picture.alpha is not None:
        cover = torch.from_numpy(np.ascontiguousarray(picture.alpha[strip.part], np.float32)).to(rgb.device).div_(scale)
    straight = rgb if cover is None else rgb / cover.clamp_min(1e-4)
    seen = straight if space is None else space.to_srgb(straight)
    moved = only(strip.part_of_change, seen, strip.transform(seen))
    if picture.grey:
        moved = torch.einsum("c,bchw->bhw", moved.new_tensor(_LUMA), moved)[:, None].expand_as(moved)
    if space is not None:
        moved = space.moved(straight, seen, moved)
    if strength > 1:
        moved, strength = straight + strength * (moved - straight), 1.0
    # Within what can be shown, unless the picture itself goes beyond.
    moved = torch.maximum(torch.minimum(moved, straight.clamp_min(1)), straight.clamp_max(0))
    moved = moved if cover is None else moved * cover
    return torch.lerp(rgb, moved, strength * strip.weight).mul_(scale)


def _planes(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """`(h, w, 3)` of any depth as `(3, h, w)` floats; plane by plane, which numpy does several times as fast as transposing."""
    planes = np.empty((3, *pixels.shape[:2]), np.float32)
    for channel in range(3):
        planes[channel] = pixels[:, :, channel]
    return planes


def _write(out: NDArray[Any], new: Tensor, weight: NDArray[np.float32], plain: bool) -> None:
    """Put samples `(1, 3, h, w)` where there is any weight, rounded where they are whole numbers."""
    samples, whole = new[0].cpu().numpy(), out.dtype.kind == "u"
    if whole:
        samples = np.rint(samples, out=samples)
        samples = (samples if plain else samples.clip(0, np.iinfo(out.dtype).max)).astype(out.dtype)
    # Soft weights of 0 must copy, whatever rounding would do. Whole numbers that were not even scaled come back as they were.
    chosen: Any = True if whole and plain else weight > 0
    for channel in range(3):
        np.copyto(out[:, :, channel], samples[channel], where=chosen)
