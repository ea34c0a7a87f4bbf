"""What travels over the pack's own sockets, and the pictures that come over ComfyUI's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..raiha_core.errors import RaihaError
from ..raiha_core.image import Box, Mask, Picture
from ..raiha_core.inputs import as_picture
from ..raiha_core.models import Attention
from ..raiha_core.references import Reference, ReferenceIndex
from .masks import WHITE, Masks, fitted
from .models import Managed

_DIM = 0.95
"""A mask whose brightest value is below this is not merely white that was read a little dark."""


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
    """A batch of composites and its masks: a clip, as `raiha_core.video` takes it.

    Attributes:
        images: ComfyUI's `(B, H, W, C)`.
        masks: their masks.
    """

    images: Tensor
    masks: Masks
    _kept: dict[str, tuple[int, Picture]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.images)

    def picture(self, i: int) -> Picture:
        """One composite; the last one is kept, since several steps in a row ask for it."""
        kept = self._kept.get("last")
        if kept is None or kept[0] != i:
            kept = i, as_picture(self.images[i].permute(2, 0, 1), f"The image of frame {i}" if len(self) > 1 else "The image")
            self._kept["last"] = kept
        return kept[1]

    def mask(self, i: int) -> Mask:
        """The mask of one composite; the brightest value of all masks counts as white, so that objects may fade in and out."""
        return self.masks.mask(i)

    def mask_number(self, i: int) -> int:
        """Equal for frames that share a mask."""
        return self.masks.number(i)

    def notices(self) -> list[str]:
        """What the user should know of images and masks."""
        brightest = float(self.masks.given.max())
        dim = [f"The mask's brightest value is {brightest:.2f}; it was taken for white."] if brightest < _DIM else []
        return dim + self.masks.notices() + list(self.picture(0).notices)

    def empty(self, i: int) -> bool:
        """Whether a frame has no foreground."""
        return self.masks.empty(i)

    def first_seen(self) -> int:
        """The first frame that shows foreground and background.

        Raises:
            RaihaError: there is none.
        """
        for i in range(len(self)):
            if not self.empty(i) and self.mask(i).min() < 1:
                return i
        raise RaihaError("In no frame does the mask show an object and its background; is it inverted in some?")


@dataclass(frozen=True)
class AttentionSource:
    """`RAIHA_ATTENTION`: all it takes to look again. A clip's attention would fill gigabytes, so it is computed when shown.

    Attributes:
        model: that looked.
        frames: at which it looked.
        boxes: where in each frame.
        references: that it was given.
        own: how many of them, the last ones, belong to one frame each.
    """

    model: Managed
    frames: Frames
    boxes: tuple[Box | None, ...]
    references: tuple[NamedPicture, ...]
    own: int = 0

    def references_of(self, i: int) -> tuple[NamedPicture, ...]:
        """The references that frame `i` was given."""
        shared = len(self.references) - self.own
        return self.references if not self.own else (*self.references[:shared], self.references[shared + i])

    def of(self, i: int) -> Attention:
        """Where the foreground of frame `i` looked.

        Raises:
            RaihaError: the model has no attention.
        """
        harmonizer = self.model.ready()
        prepared = harmonizer.prepare_references([r.picture for r in self.references_of(i)])
        _, found = harmonizer.predict(self.frames.picture(i), self.frames.mask(i), prepared, box=self.boxes[i], attention=True)
        if found is None:
            raise RaihaError("This model does not say where it looked; use raiha-s or rhnet.")
        return found


def frames(image: Tensor, mask: Tensor, resize_mask: bool = False) -> Frames:
    """Check a batch and its masks.

    Raises:
        RaihaError: sizes or numbers do not fit, no foreground, no background.
    """
    if not len(image):
        raise RaihaError("The image batch is empty; connect at least one image.")
    masks = fitted(mask, len(image), (image.shape[1], image.shape[2]), resize_mask)
    if bool((masks.given.amin((1, 2)) >= WHITE * masks.given.max().clamp_max(1)).all()):
        raise RaihaError("The mask covers the whole image, so there is no background to match; is it inverted?")
    return Frames(image, masks)


def named_references(references: ReferenceSet | None, images: Tensor | None, every: bool = False) -> tuple[NamedPicture, ...]:
    """Retrieved references first, then plain images; `every`: also those that show nothing."""
    found = [NamedPicture(as_picture(r.load(), "The reference"), r.path.name) for r in (references.references if references else ())]
    plain = [(n, i.permute(2, 0, 1)[:3]) for n, i in enumerate(images if images is not None else (), 1)]
    # A picture of one colour shows no material to borrow from: Retrieve References gives one where no photo fits.
    shown = [(n, i) for n, i in plain if every or not torch.equal(i.amin((1, 2)), i.amax((1, 2)))]
    return tuple(found + [NamedPicture(as_picture(i, "The reference image"), f"image {n}") for n, i in shown])


def to_images(pictures: Sequence[Tensor], side: int) -> Tensor:
    """Core pictures `(1, 3, H, W)` of one size as ComfyUI's `(B, H, W, 3)`; where there are none, a grey one that any node can take."""
    return torch.cat([p.permute(0, 2, 3, 1) for p in pictures]) if pictures else torch.full((1, side, side, 3), 0.5)


__all__ = ["AttentionSource", "Frames", "IndexHandle", "NamedPicture", "ReferenceSet", "frames", "named_references", "to_images"]
