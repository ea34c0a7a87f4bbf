"""What retrieval gives back."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ..errors import RaihaError
from .photos import UnreadableImage, as_tensor, read_photo
from .regions import Box, cut

THUMBNAIL_SIDE = 256


@dataclass(frozen=True)
class Reference:
    """A photo of the gallery that fits a composite.

    Attributes:
        path: the file.
        id: stable name: the first 16 hex digits of the SHA-256 of the file's bytes, so it survives moving the gallery.
        content: in [0, 1]: how much it shows what the foreground shows (cosine of the vectors, negative ones as 0).
        illumination: in [0, 1]: how much its light resembles that of the composite's background.
        score: in [0, 1]: both, weighted; what the order follows.
        region: the part that matched best, (x0, y0, x1, y1) as fractions of width and height.
        size: (width, height) of the photo in pixels.
        pinned: the user asked for it.
    """

    path: Path
    id: str
    content: float
    illumination: float
    score: float
    region: Box
    size: tuple[int, int]
    pinned: bool = False

    def load(self, *, max_side: int = 1024, crop: bool = False, device: torch.device | str = "cpu") -> Tensor:
        """The photo as a tensor `(1, 3, H, W)` float32, sRGB in [0, 1].

        Args:
            max_side: longest side in pixels; larger photos are reduced.
            crop: only the region that matched.
            device: where to put it.

        Raises:
            RaihaError: the file has vanished or can no longer be read.
        """
        wanted = max_side if not crop else int(max_side / max(self.region[2] - self.region[0], self.region[3] - self.region[1], 0.05))
        image = as_tensor(load_picture(self.path, wanted))
        return (cut(image, self.region).contiguous() if crop else image).to(device)

    @functools.cached_property
    def thumbnail(self) -> Image.Image:
        """The photo at most 256 pixels wide and high, RGB."""
        return load_picture(self.path, THUMBNAIL_SIDE)


class References(list[Reference]):
    """A list of references, best first, pinned ones before all others.

    Attributes:
        notices: sentences the user should see: photos that have vanished, pins that are not in the index.
    """

    def __init__(self, references: Iterable[Reference] = (), notices: Iterable[str] = ()):
        super().__init__(references)
        self.notices = tuple(notices)


def load_picture(path: Path, max_side: int) -> Image.Image:
    """Read a photo for a reference; its failure is the user's to mend."""
    try:
        return read_photo(path, max_side)[0]
    except UnreadableImage as error:
        raise RaihaError(
            f"the reference photo {path} cannot be loaded ({error}): run `raiha index build` again to update the index"
        ) from error
