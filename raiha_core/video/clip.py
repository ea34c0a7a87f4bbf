"""What a clip is: frames and their masks, read when they are used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

from ..errors import RaihaError
from ..image import Mask, Picture
from ..image.masks import WHITE, NotedMask, among
from ..inputs import ImageLike, as_noted_mask, as_picture

Mode = Literal["each", "one", "anchor", "smooth"]
"""Each frame on its own; the mean of all; one frame's for all; smoothed over time."""


@dataclass(frozen=True)
class Way:
    """How a clip is harmonised.

    Attributes:
        mode: see `Mode`.
        smoothing: for "smooth", the deviation of the weights in frames.
        anchor: for "anchor", the frame whose transform holds.
    """

    mode: Mode = "each"
    smoothing: float = 4.0
    anchor: int = 0


class Clip(Protocol):
    """Frames and their masks, read when they are used, since a clip may be larger than memory.

    They are asked for in order: a pass over all masks, one over the frames and masks that a model looks at, one over all.
    """

    def __len__(self) -> int: ...

    def picture(self, i: int) -> Picture:
        """A frame; all have one size."""
        ...

    def mask(self, i: int) -> Mask:
        """Its mask, of the frame's size."""
        ...

    def mask_number(self, i: int) -> int:
        """Equal for frames that share a mask."""
        ...


class Masks:
    """Masks in any form that `harmonize` takes, one for all frames of a clip or one for each.

    The brightest value of all of them counts as white, so that an object may fade in and out.
    """

    def __init__(self, masks: ImageLike | Sequence[ImageLike]):
        self._masks: Sequence[ImageLike] = masks if isinstance(masks, list | tuple) else [masks]  # type: ignore[list-item]
        self._last: tuple[int, Mask] | None = None

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know."""
        dim = 0 < self._brightest < WHITE
        return (f"The brightest value of the masks is {self._brightest:.2f} of 1; it was taken for white.",) if dim else ()

    def twin(self) -> Masks:
        """The same masks, to be read by somebody else."""
        return Masks(self._masks)

    def __len__(self) -> int:
        return len(self._masks)

    def check(self, frames: int) -> None:
        """Refuse another number of masks than one or one for each frame.

        Raises:
            RaihaError: says both numbers.
        """
        if len(self) not in (1, frames):
            raise RaihaError(f"There are {len(self)} masks for {frames} frames; give one mask for all frames or one per frame.")

    def number(self, i: int) -> int:
        """Which of the masks belongs to frame `i`."""
        return min(i, len(self._masks) - 1)

    def mask(self, i: int) -> Mask:
        """The mask of frame `i`; not to be changed, since it is kept for the next call."""
        number = self.number(i)
        if self._last is None or self._last[0] != number:
            self._last = number, among(self._read(number), self._brightest)
        return self._last[1]

    def _read(self, number: int) -> NotedMask:
        return as_noted_mask(self._masks[number])

    @cached_property
    def _brightest(self) -> float:
        return max((self._read(n).peak for n in range(len(self))), default=1.0) if len(self) > 1 else self._read(0).peak


class Pictures:
    """A clip of pictures and masks in any form that `harmonize` takes, for example paths, which are read when they are used.

    Args:
        frames: the frames; all have one size.
        masks: one for all, or one for each; the brightest value of all of them counts as white.

    Raises:
        RaihaError: no frames, or masks that are neither one nor as many.
    """

    def __init__(self, frames: Sequence[ImageLike], masks: ImageLike | Sequence[ImageLike]):
        if not frames:
            raise RaihaError("The clip has no frames; give at least one.")
        self._frames, self._masks = frames, Masks(masks)
        self._masks.check(len(frames))
        self._last: tuple[int, Picture] | None = None
        self._size: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self._frames)

    def picture(self, i: int) -> Picture:
        """See `Clip`."""
        if self._last is None or self._last[0] != i:
            self._last = i, as_picture(self._frames[i], f"Frame {i}")
        size, first = self._last[1].size, self._size or self._last[1].size
        if size != first:
            raise RaihaError(f"Frame {i} is {size[1]} x {size[0]} but others are {first[1]} x {first[0]}; give frames of one size.")
        self._size = size
        return self._last[1]

    def mask(self, i: int) -> Mask:
        """See `Clip`."""
        mask, size = self._masks.mask(i), self._size or self.picture(i).size
        if mask.shape != size:
            raise RaihaError(f"The mask of frame {i} is {mask.shape[1]} x {mask.shape[0]} but the frame is {size[1]} x {size[0]}.")
        return mask

    def mask_number(self, i: int) -> int:
        """See `Clip`."""
        return self._masks.number(i)
