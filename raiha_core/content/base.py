"""What every content encoder is: pictures in, one vector and one dense map each out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

Region = tuple[float, float, float, float]
"""(x0, y0, x1, y1) as fractions of width and height; x to the right, y down."""


@dataclass(frozen=True)
class ContentFeatures:
    """Features of a batch of pictures.

    Attributes:
        vector: `(B, D)` float32, unit length: what the picture shows as a whole.
        dense: `(B, C, h, w)` float32: what it shows where.
    """

    vector: Tensor
    dense: Tensor


class ContentEncoder(ABC):
    """A content encoder.

    Attributes:
        id: the name a user gives, for example `embedded` or `open_clip:ViT-B-32/laion2b_s34b_b79k`.
        weights_hash: short hex digest of the weights; an index remembers it.
        dim: D, the length of the global vector.
        region_side: longest side of the pictures that `encode_regions` wants; larger ones are of no use to it.
        more_regions: boxes whose vectors it gets at little cost, for an index to keep besides its own.
    """

    id: str
    weights_hash: str
    dim: int
    region_side: int = 576
    more_regions: tuple[Region, ...] = ()

    @abstractmethod
    def encode(self, images: Tensor) -> ContentFeatures:
        """Encode pictures `(B, 3, H, W)`, sRGB in [0, 1], of any size; the encoder resizes as it needs."""

    def encode_regions(self, images: Sequence[Tensor], boxes: Sequence[Region]) -> Tensor:
        """Vectors of the same regions of several pictures; each is cut out and encoded, unless an encoder knows a shorter way.

        Args:
            images: `(1, 3, H, W)` each, sRGB in [0, 1], of any sizes.
            boxes: of the regions.

        Returns:
            `(len(images), len(boxes), D)` float32 on the CPU, unit length.
        """
        return torch.stack([self.encode(_cut_all(image, boxes)).vector.float().cpu() for image in images])


_CUT_SIDE = 320
"""Longest side of regions handed to an encoder, which resizes further as it needs."""


def _cut_all(image: Tensor, boxes: Sequence[Region]) -> Tensor:
    """Regions of a picture `(1, 3, H, W)`, all of the picture's own aspect ratio: `(len(boxes), 3, h, w)`."""
    height, width = image.shape[-2:]
    scale = min(1.0, _CUT_SIDE / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    parts = []
    for box in boxes:
        part = _cut(image, box)
        whole = part.shape[-2:] == image.shape[-2:] and scale == 1
        parts.append(part if whole else F.interpolate(part, size, mode="bilinear", antialias=True, align_corners=False))
    return torch.cat(parts).clamp(0, 1)


def _cut(image: Tensor, box: Region) -> Tensor:
    """The pixels of a box, at least one in each direction."""
    height, width = image.shape[-2:]
    left, top = min(int(box[0] * width), width - 1), min(int(box[1] * height), height - 1)
    right, bottom = max(left + 1, round(box[2] * width)), max(top + 1, round(box[3] * height))
    return image[..., top:bottom, left:right]
