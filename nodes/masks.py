"""Masks as they come over ComfyUI's sockets: what has one meaning is taken, the rest is refused by frame and size."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..raiha_core.errors import RaihaError
from ..raiha_core.image import Mask
from ..raiha_core.inputs import as_mask

SAME, RESIZE = "must fit the image", "scale to the image"
WHITE = 0.996
"""Masks from here on are 1: Load Image (as Mask) reads the white of a greyscale PNG as 254 / 255 in some versions of ComfyUI."""

_PROPORTIONS = 0.06
"""By how much the proportions of a mask and of its picture differ where one was made from the other."""


@dataclass(frozen=True)
class Masks:
    """The masks of a batch of images, each made when it is used.

    Attributes:
        given: `(M, h, w)`; where there are fewer than images, the last serves for the rest.
        size: (height, width) that they are to have.
    """

    given: Tensor
    size: tuple[int, int]
    _kept: dict[str, tuple[int, Mask]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def number(self, i: int) -> int:
        """Which of the masks belongs to image `i`."""
        return min(i, len(self.given) - 1)

    def mask(self, i: int) -> Mask:
        """The mask of image `i`, in the images' size; the brightest value of all masks is white. Kept for the next call."""
        number = self.number(i)
        kept = self._kept.get("last")
        if kept is None or kept[0] != number:
            kept = self._kept["last"] = number, self._made(number)
        return kept[1]

    def _made(self, number: int) -> Mask:
        mask = self.given[number].float()
        if mask.shape != self.size:
            mask = F.interpolate(mask[None, None], size=self.size, mode="bilinear", antialias=True, align_corners=False)[0, 0]
        mask = torch.where(mask >= WHITE, 1.0, mask).clamp(0, 1)
        # A mask alone is brought to white by its own maximum; among others it keeps its share of theirs.
        share = float(mask.max()) / min(1.0, self._brightest)
        whole: Mask = as_mask(mask) * np.float32(share if share < WHITE else 1)
        return whole

    @functools.cached_property
    def _brightest(self) -> float:
        return float(self.given.max())

    def empty(self, i: int) -> bool:
        """Whether image `i` shows no foreground."""
        return not bool((self.given[self.number(i)] > 0).any())

    def notices(self) -> list[str]:
        """What the user should know of masks that look inverted: the object seldom fills the border and leaves the middle."""
        edges = (self.given[:, 0], self.given[:, -1], self.given[:, 1:-1, 0], self.given[:, 1:-1, -1])
        border, least = torch.cat(edges, 1).float().mean(1).tolist(), self.given.amin((1, 2)).tolist()
        seem = [i for i, white in enumerate(border) if white > 0.5 and least[i] <= 0]
        if not seem:
            return []
        which = f" of frame {seem[0]}" if len(self.given) > 1 else ""
        which += f" (and of {len(seem) - 1} more)" if len(seem) > 1 else ""
        return [
            f"The mask{which} is white along most of the picture's border and black inside, so all but that was harmonised; if what is "
            "black is the object, put Invert Mask in between."
        ]


def fitted(mask: Tensor, count: int, size: tuple[int, int], resize: bool = False) -> Masks:
    """Check masks against a batch.

    Args:
        mask: `(h, w)`, `(M, h, w)`, `(M, 1, h, w)` or `(M, h, w, 1)`.
        count: how many images there are.
        size: (height, width) of the images.
        resize: scale masks of another size instead of refusing them.

    Raises:
        RaihaError: they do not fit, are not numbers, or none shows anything.
    """
    masks = _planes(mask)
    height, width = size
    if len(masks) > count:
        raise RaihaError(f"There are {len(masks)} masks for {count} image{'s' * (count > 1)}; give one for all of them or one for each.")
    unset = masks.shape[1:] == (64, 64) and not masks.any()
    if masks.shape[1:] != size and (unset or not resize):
        hint = "scale one of them so that the sizes agree, or let the node scale the mask"
        if abs(height * masks.shape[2] / (width * masks.shape[1]) - 1) > _PROPORTIONS:
            hint = "it belongs to another picture, so connect the composite's own; for a pasted object, that of Paste Object"
        if unset:
            hint = "Load Image gives such an empty mask where a picture has no transparency, so paint a mask or connect another"
        elif all(0 <= m - s < 16 for m, s in zip(masks.shape[1:], size, strict=True)):
            hint = "VAE Encode cuts sizes down to multiples of 8, so scale the picture and its mask to such a size before it"
        raise RaihaError(f"The mask is {masks.shape[2]} x {masks.shape[1]} but the image is {width} x {height}; {hint}.")
    # NaN and infinity survive a sum; a map of them would be as large as the masks.
    bad = [i for i, total in enumerate(masks.sum((1, 2), dtype=torch.float32).tolist()) if not abs(total) < float("inf")]
    if bad:
        where = f" of frame {bad[0]}" if len(masks) > 1 else ""
        raise RaihaError(f"The mask{where} holds NaN or infinite values; repair it first, or make it anew.")
    if not bool((masks.amax((1, 2)) > 0).any()):
        raise RaihaError("The mask is empty (all black), so there is no foreground; paint the pasted object white.")
    return Masks(masks, size)


def _planes(mask: Tensor) -> Tensor:
    """Masks as `(M, h, w)`."""
    if mask.ndim == 2:
        return mask[None]
    if mask.ndim == 4 and mask.shape[1] == 1:
        return mask[:, 0]
    if mask.ndim == 4 and mask.shape[3] == 1:
        return mask[..., 0]
    if mask.ndim != 3 or not mask.numel():
        sides = " x ".join(map(str, mask.shape))
        raise RaihaError(f"The mask has the shape {sides}; connect a mask with a number, a height and a width.")
    return mask
