"""A colour transform applied to the original pixels, strip by strip, and only where the mask says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .image import Box, Mask, Picture
from .models.base import ColorTransform
from .parts import Part, only

STRIP = 2**17
"""Pixels that are transformed at a time; small enough for the cache, large enough to keep the overhead low."""

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

    Returns:
        a new picture of the same depth; float pictures keep values above 1.
    """
    out = np.empty_like(picture.rgb) if into is None else into
    out[...] = picture.rgb
    if strength > 0:
        rows, columns = np.flatnonzero(mask.max(1) > 0), np.flatnonzero(mask.max(0) > 0)
        left, right = int(columns[0]), int(columns[-1]) + 1
        step = max(1, STRIP // (right - left))
        for top in range(int(rows[0]), int(rows[-1]) + 1, step):
            part = slice(top, min(top + step, int(rows[-1]) + 1)), slice(left, right)
            weight = mask[part]
            if weight.any():
                out[part] = _part(picture, part, weight, placed, strength, part_of_change, torch.device(device))
    return picture.with_rgb(out)


def _part(
    picture: Picture,
    part: tuple[slice, slice],
    weight: NDArray[np.float32],
    placed: PlacedTransform,
    strength: float,
    part_of_change: Part,
    device: torch.device,
) -> NDArray[Any]:
    pixels, box = picture.rgb[part], placed.box
    scale, space, top, left = picture.scale, picture.space, part[0].start, part[1].start
    h, w = weight.shape
    # Pixel centres in the box's unit square.
    y = (torch.arange(top, top + h, dtype=torch.float32, device=device) + 0.5 - box.top) / box.height
    x = (torch.arange(left, left + w, dtype=torch.float32, device=device) + 0.5 - box.left) / box.width
    # Planes first, then floats: transposing bytes is cheap.
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    rgb = torch.from_numpy(planes).to(device).float()[None] / scale
    m = torch.from_numpy(np.ascontiguousarray(weight)).to(device)
    cover = None
    if picture.premultiplied and picture.alpha is not None:
        cover = torch.from_numpy(np.ascontiguousarray(picture.alpha[part], np.float32)).to(device).div_(scale)
    straight = rgb if cover is None else rgb / cover.clamp_min(1e-4)
    seen = straight if space is None else space.to_srgb(straight)
    moved = only(part_of_change, seen, placed.transform(seen, x, y))
    if picture.grey:
        moved = torch.einsum("c,bchw->bhw", moved.new_tensor(_LUMA), moved)[:, None].expand_as(moved)
    if space is not None:
        moved = space.moved(straight, seen, moved)
    if strength > 1:
        moved, strength = straight + strength * (moved - straight), 1.0
    # Within what can be shown, unless the picture itself goes beyond.
    moved = torch.maximum(torch.minimum(moved, straight.clamp_min(1)), straight.clamp_max(0))
    moved = moved if cover is None else moved * cover
    mixed = torch.lerp(rgb, moved, strength * m)
    new = (mixed * scale)[0].cpu()
    if pixels.dtype.kind == "u":
        new = new.round_().clamp_(0, scale)
    # Soft weights of 0 must copy, whatever rounding would do.
    chosen = np.where(weight > 0, new.numpy().astype(pixels.dtype), planes)
    return np.ascontiguousarray(chosen.transpose(1, 2, 0))
