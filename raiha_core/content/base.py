"""What every content encoder is: pictures in, one vector and one dense map each out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor


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
    """

    id: str
    weights_hash: str
    dim: int

    @abstractmethod
    def encode(self, images: Tensor) -> ContentFeatures:
        """Encode pictures `(B, 3, H, W)`, sRGB in [0, 1], of any size; the encoder resizes as it needs."""
