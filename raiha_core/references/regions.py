"""The parts of a photo that get a vector of their own, so that a small object in a large photo is found."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..content.base import Region as Region

LAYOUT = "whole+5+own, kinds"
"""What an index keeps of a photo; changes when that does, and indexes are made anew."""

WHOLE: Region = (0.0, 0.0, 1.0, 1.0)

# Four overlapping corners and the centre, 0.55 of each side. An object up to a tenth of the side wide (the overlap)
# always lies whole in some corner, one that straddles a corner boundary in the middle lies in the centre, and in its
# region it covers 1 / 0.55^2 = 3.3 times the share it has of the photo. More tiles cost build time in proportion.
REGIONS: tuple[Region, ...] = (
    WHOLE,
    (0.0, 0.0, 0.55, 0.55),
    (0.45, 0.0, 1.0, 0.55),
    (0.0, 0.45, 0.55, 1.0),
    (0.45, 0.45, 1.0, 1.0),
    (0.225, 0.225, 0.775, 0.775),
)

# Long side of the pictures handed to the encoder, which resizes further as it needs.
ENCODE_SIDE = 320


def cut(image: Tensor, box: Region) -> Tensor:
    """The pixels of a box, at least one in each direction.

    Args:
        image: `(1, C, H, W)`.
        box: fractions of width and height.
    """
    height, width = image.shape[-2:]
    x0, y0 = min(int(box[0] * width), width - 1), min(int(box[1] * height), height - 1)
    x1, y1 = max(x0 + 1, round(box[2] * width)), max(y0 + 1, round(box[3] * height))
    return image[..., y0:y1, x0:x1]


def limit_side(image: Tensor, side: int) -> Tensor:
    """Reduce a picture `(B, C, H, W)` so that its long side is at most `side`; smaller ones stay as they are."""
    height, width = image.shape[-2:]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return F.interpolate(image, size, mode="bilinear", antialias=True, align_corners=False)
