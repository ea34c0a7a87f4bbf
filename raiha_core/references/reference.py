"""What retrieval gives back."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import torch
from PIL import Image
from torch import Tensor

from ..errors import RaihaError
from ..image.regular import open_regular
from .photos import UnreadableImage, as_tensor, hash_of, read_photo
from .regions import Region, cut
from .rows import ID_LENGTH

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
        stamp: size in bytes and time of change in ns of the file when it was retrieved; None: not known.
    """

    path: Path
    id: str
    content: float
    illumination: float
    score: float
    region: Region
    size: tuple[int, int]
    pinned: bool = False
    stamp: tuple[int, int] | None = field(default=None, repr=False, compare=False)

    def load(self, *, max_side: int = 1024, crop: bool = False, device: torch.device | str = "cpu") -> Tensor:
        """The photo as a tensor `(1, 3, H, W)` float32, sRGB in [0, 1].

        Args:
            max_side: longest side in pixels; larger photos are reduced.
            crop: only the region that matched.
            device: where to put it.

        Raises:
            RaihaError: the file has vanished, has changed since it was indexed, or can no longer be read.
        """
        wanted = max_side if not crop else int(max_side / max(self.region[2] - self.region[0], self.region[3] - self.region[1], 0.05))
        image = as_tensor(self._picture(wanted))
        return (cut(image, self.region).contiguous() if crop else image).to(device)

    @functools.cached_property
    def thumbnail(self) -> Image.Image:
        """The photo at most 256 pixels wide and high, RGB."""
        return self._picture(THUMBNAIL_SIDE)

    def _picture(self, side: int) -> Image.Image:
        try:
            status = os.stat(self.path)
        except OSError:
            status = None  # Reading it says why.
        if self.stamp is not None and status is not None and self.stamp != (status.st_size, status.st_mtime_ns):
            return thumbnail_of(self.path, self.id, side)
        return load_picture(self.path, side)


class References(list[Reference]):
    """A list of references, best first, pinned ones before all others.

    Attributes:
        notices: sentences the user should see: photos that have vanished, pins that are not in the index.
    """

    def __init__(self, references: Iterable[Reference] = (), notices: Iterable[str] = ()):
        super().__init__(references)
        self.notices = tuple(notices)


def load_picture(photo: Path | BinaryIO, max_side: int, name: Path | None = None) -> Image.Image:
    """Read a photo, or what is open of it as `name`, for a reference; its failure is the user's to mend."""
    try:
        return read_photo(photo, max_side)[0]
    except UnreadableImage as error:
        raise RaihaError(
            f"the reference photo {name or photo} cannot be loaded ({error}): run `raiha index build` again to update the index"
        ) from error


def thumbnail_of(path: Path, public_id: str, max_side: int) -> Image.Image:
    """A photo, RGB, at most `max_side` pixels wide and high, if its bytes still have the hash that the id names.

    Raises:
        RaihaError: they have not, or it cannot be read.
    """
    try:
        with open_regular(path) as file:
            if hash_of(file)[:ID_LENGTH] != public_id:
                raise RaihaError(
                    f"the reference photo {path} has changed since it was indexed: run `raiha index build` again to update the index"
                )
            return load_picture(file, max_side, path)
    except OSError as error:
        raise RaihaError(
            f"the reference photo {path} cannot be loaded ({error.strerror or error}): run `raiha index build` again to update the index"
        ) from error
