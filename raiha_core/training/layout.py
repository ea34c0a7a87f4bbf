"""Where an object stands before its colours are changed: in its own photo, elsewhere in it, or in another photo.

All functions are batched, on the device of the pictures; boxes are (x0, y0, x1, y1) in [0, 1], x0 > x1 mirrors.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..models.pooling import window_mean
from .edits import Draw

PLACED, MOVED, PASTED = 0, 1, 2


def crop(x: Tensor, boxes: Tensor, size: int, padding: str = "border") -> Tensor:
    """Bilinear crops of `(B, C, H, W)` at `boxes` (x0, y0, x1, y1 in [0, 1]; swap x0 and x1 to mirror), `(B, C, size, size)`.

    Boxes may reach beyond the picture; `padding` says what is there (`border` or `zeros`).
    """
    if not len(x):
        return x.new_empty(0, x.shape[1], size, size)
    theta = torch.zeros(len(x), 2, 3, device=x.device)
    theta[:, 0, 0], theta[:, 1, 1] = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    theta[:, :, 2] = boxes[:, :2] + boxes[:, 2:] - 1
    grid = F.affine_grid(theta, [len(x), x.shape[1], size, size], align_corners=False)
    return F.grid_sample(x, grid, padding_mode=padding, align_corners=False)


def mirror(boxes: Tensor, generator: torch.Generator) -> Tensor:
    """Swap left and right of half of the boxes."""
    flip = (torch.rand(len(boxes), 1, generator=generator) < 0.5).to(boxes.device)
    return torch.where(flip, boxes[:, [2, 1, 0, 3]], boxes)


def move(photo: Tensor, mask: Tensor, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Objects pasted into another part of their own photo: what a harmonious paste looks like.

    The background is the one of eight random crops that holds least of the object where it stood, so that no twin
    gives its colours away.

    Args:
        photo: `(B, 3, P, P)`.
        mask: `(B, 1, P, P)`.
        size: side S of the results.

    Returns:
        pictures `(B, 3, S, S)` and the masks that the objects were cut out with.
    """
    box = _standing(mask, generator)
    background = _emptiest_boxes(mask, generator)
    at = cut_out(crop(mask, box, size, "zeros"), generator)
    return torch.lerp(crop(photo, mirror(background, generator), size), crop(photo, box, size), at), at


def paste(photo: Tensor, mask: Tensor, scene: Tensor, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Objects pasted into other photos; as `move`, with the background taken from `scene` `(B, 3, P, P)`."""
    box = _standing(mask, generator)
    side = torch.rand(len(photo), 1, generator=generator) * 0.4 + 0.6
    origin = torch.rand(len(photo), 2, generator=generator) * (1 - side)
    background = torch.cat([origin, origin + side], 1).to(photo.device)
    at = cut_out(crop(mask, box, size, "zeros"), generator)
    return torch.lerp(crop(scene, mirror(background, generator), size), crop(photo, box, size), at), at


def cut_out(alpha: Tensor, generator: torch.Generator) -> Tensor:
    """Objects as they are cut out, `(B, 1, S, S)`: hard, as they are, feathered, or with a fringe of the old background."""
    kind = torch.rand(len(alpha), generator=generator).to(alpha.device)[:, None, None, None]
    soft = window_mean(alpha, 3)
    wide = F.max_pool2d(alpha, 3, 1, 1)
    hard = ((alpha - 0.5) * 4 + 0.5).clamp(0, 1)
    return torch.where(kind < 0.45, alpha, torch.where(kind < 0.6, hard, torch.where(kind < 0.8, soft, wide)))


def _standing(mask: Tensor, generator: torch.Generator) -> Tensor:
    """Boxes `(B, 4)` of the photo, which may reach beyond it, so that the object stands somewhere about the middle of them."""
    b, device = len(mask), mask.device
    small = window_mean(mask, 4, 4)
    ys, xs = (torch.linspace(0, 1, n, device=device) for n in small.shape[-2:])
    rows, columns = small.sum(3)[:, 0], small.sum(2)[:, 0]
    total = rows.sum(1, keepdim=True).clamp_min(1e-3)
    centre = torch.cat([(columns * xs).sum(1, keepdim=True), (rows * ys).sum(1, keepdim=True)], 1) / total
    # Small objects are brought nearer: what is shown to the model is cropped around the foreground.
    extent = 2 * (total / small[0].numel()).sqrt()
    scale = (torch.rand(b, 1, generator=generator).to(device) * 0.6 + 0.6) * (0.6 / extent).clamp(1, 3)
    place = torch.rand(b, 2, generator=generator).to(device) * 0.5 + 0.25
    return mirror(torch.cat([centre - place / scale, centre + (1 - place) / scale], 1), generator)


def _emptiest_boxes(mask: Tensor, generator: torch.Generator, draws: int = 8) -> Tensor:
    """Of some random crops of 45 to 70 % of the side, the one with the least of the mask inside, `(B, 4)`."""
    best, least = torch.zeros(len(mask), 4, device=mask.device), torch.full((len(mask),), 2.0, device=mask.device)
    small = window_mean(mask, 8, 8)
    for _ in range(draws):
        side = torch.rand(len(mask), 1, generator=generator) * 0.25 + 0.45
        origin = torch.rand(len(mask), 2, generator=generator) * (1 - side)
        box = torch.cat([origin, origin + side], 1).to(mask.device)
        held = crop(small, box, 12).mean((1, 2, 3))
        best, least = torch.where((held < least)[:, None], box, best), torch.minimum(held, least)
    return best


def ramp(like: Tensor, generator: torch.Generator) -> Tensor:
    """A smooth random ramp per picture, `(B, 1, H, W)` in [0, 1]: one-sided light."""
    draw = Draw(generator, like)
    h, w = like.shape[-2:]
    angle = draw.uniform(0, 6.2832)
    y, x = torch.linspace(-1, 1, h).to(like)[:, None], torch.linspace(-1, 1, w).to(like)[None]
    return torch.sigmoid((x * angle.cos() + y * angle.sin() - draw.uniform(-0.4, 0.4)) * draw.uniform(1.0, 6.0))
