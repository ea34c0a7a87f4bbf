"""What travels over the pack's own sockets, and the pictures that come over ComfyUI's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..raiha_core.errors import RaihaError
from ..raiha_core.image import Box, Mask, Picture
from ..raiha_core.inputs import as_mask, as_picture
from ..raiha_core.models import Attention
from ..raiha_core.references import Reference, ReferenceIndex
from .models import Managed

WHITE = 0.996
"""Masks from here on are 1: Load Image (as Mask) reads the white of a greyscale PNG as 254 / 255 in some versions of ComfyUI."""


@dataclass(frozen=True)
class IndexHandle:
    """`RAIHA_INDEX`: an open index and the key under which its thumbnails are served."""

    index: ReferenceIndex
    key: str


@dataclass(frozen=True)
class ReferenceSet:
    """`RAIHA_REFERENCES`: retrieved photos, read when they are used."""

    references: tuple[Reference, ...]


@dataclass(frozen=True)
class NamedPicture:
    """A picture that serves as a reference, and what to call it."""

    picture: Picture
    name: str


@dataclass(frozen=True)
class Frames:
    """A batch of composites and its masks.

    Attributes:
        images: ComfyUI's `(B, H, W, C)`.
        masks: `(1, H, W)` or `(B, H, W)`.
    """

    images: Tensor
    masks: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def picture(self, i: int) -> Picture:
        """One composite."""
        return as_picture(self.images[i].permute(2, 0, 1), "The image")

    def mask(self, i: int) -> Mask:
        """The mask of one composite."""
        mask = self.masks[min(i, len(self.masks) - 1)]
        return as_mask(torch.where(mask >= WHITE, torch.ones_like(mask), mask))

    def empty(self, i: int) -> bool:
        """Whether a frame has no foreground."""
        return not bool((self.masks[min(i, len(self.masks) - 1)] > 0).any())


@dataclass(frozen=True)
class AttentionSource:
    """`RAIHA_ATTENTION`: all it takes to look again. A clip's attention would fill gigabytes, so it is computed when shown."""

    model: Managed
    frames: Frames
    boxes: tuple[Box | None, ...]
    references: tuple[NamedPicture, ...]

    def of(self, i: int) -> Attention:
        """Where the foreground of frame `i` looked.

        Raises:
            RaihaError: the model has no attention.
        """
        harmonizer = self.model.ready()
        prepared = harmonizer.prepare_references([r.picture for r in self.references])
        _, found = harmonizer.predict(self.frames.picture(i), self.frames.mask(i), prepared, box=self.boxes[i], attention=True)
        if found is None:
            raise RaihaError("This model does not say where it looked; use raiha-s or rhnet.")
        return found


def frames(image: Tensor, mask: Tensor) -> Frames:
    """Check a batch and its masks.

    Raises:
        RaihaError: sizes or numbers do not fit, no foreground, no background.
    """
    if mask.ndim == 2:
        mask = mask[None]
    count, (height, width) = len(image), image.shape[1:3]
    if not count:
        raise RaihaError("The image batch is empty; connect at least one image.")
    if mask.shape[1:] != (height, width):
        hint = "scale one of them so that the sizes agree"
        if mask.shape[1:] == (64, 64) and not mask.any():
            hint = "Load Image gives such an empty mask where a picture has no transparency, so paint a mask or connect another"
        elif all(0 <= m - s < 16 for m, s in zip(mask.shape[1:], (height, width), strict=True)):
            hint = "VAE Encode cuts sizes down to multiples of 8, so scale the picture and its mask to such a size before it"
        raise RaihaError(f"The mask is {mask.shape[2]} x {mask.shape[1]} but the image is {width} x {height}; {hint}.")
    if len(mask) not in (1, count):
        raise RaihaError(f"There are {len(mask)} masks for {count} images; give one mask for all of them or one for each.")
    if not (mask > 0).any():
        raise RaihaError("The mask is empty (all black), so there is no foreground; paint the pasted object white.")
    if bool((mask.amin((1, 2)) >= WHITE).any()):
        raise RaihaError("The mask covers the whole image, so there is no background to match; is it inverted?")
    return Frames(image, mask)


def named_references(references: ReferenceSet | None, images: Tensor | None) -> tuple[NamedPicture, ...]:
    """Retrieved references first, then plain images."""
    found = [NamedPicture(as_picture(r.load(), "The reference"), r.path.name) for r in (references.references if references else ())]
    plain = [as_picture(i.permute(2, 0, 1)[:3], "The reference image") for i in (images if images is not None else ())]
    return tuple(found + [NamedPicture(p, f"image {n}") for n, p in enumerate(plain, 1)])


def to_images(pictures: Sequence[Tensor]) -> Tensor:
    """Core pictures `(1, 3, H, W)` of one size as ComfyUI's `(B, H, W, 3)`."""
    return torch.cat([p.permute(0, 2, 3, 1) for p in pictures]) if pictures else torch.zeros(0, 64, 64, 3)


__all__ = ["AttentionSource", "Frames", "IndexHandle", "NamedPicture", "ReferenceSet", "frames", "named_references", "to_images"]
