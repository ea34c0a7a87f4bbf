"""A clip in a file with its masks in another, or in pictures: a `Clip` that holds one frame at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import RaihaError
from ..image import Mask, Picture
from ..image.masks import JPEG_NOISE, WHITE, resized
from .clip import Masks
from .files import FrameFile
from .pixels import Planes, alpha, brightness, changed, colours, planes, to_frame


class _FrameMasks(Protocol):
    """Masks of frames, as `Masks` and `ClipMasks` give them."""

    def check(self, frames: int) -> None: ...
    def twin(self) -> Any: ...
    def number(self, i: int) -> int: ...
    def mask(self, i: int) -> Mask: ...


class ClipMasks:
    """Masks in a clip, white where the object is; a clip with transparency is one of cut-outs, whose alpha is the mask.

    The brightest value of all frames counts as white. What is nearly black or white becomes so where frames were stored with losses.

    Args:
        path: a file with a stream of video.
        step: called after every frame of the first pass.

    Raises:
        RaihaError: as `FrameFile`.
    """

    def __init__(self, path: Path, step: Callable[[], None] = lambda: None):
        self._file, self._count, self._white = FrameFile(path), 0, 0.0
        self._cut_out, brightest, opaque = False, 0.0, 1.0
        for frame in self._file.each(step):
            self._count += 1
            cover = alpha(frame) if self._file.has_alpha else None
            if cover is not None:
                opaque = min(opaque, float(cover.min()))
                self._white = max(self._white, float(cover.max()))
            brightest = max(brightest, float(brightness(frame).max()))
        self._cut_out = opaque < 1
        self._white = self._white if self._cut_out else brightest
        if self._file.kind.lossy and self._white < JPEG_NOISE:
            self._white = 0.0
        shown = f"{self._white:.2f} of 1"
        dim = 0 < self._white < WHITE
        self.notices = (f"The brightest value of the masks is {shown}; it was taken for white.",) if dim else ()
        self._last: tuple[int, Mask] | None = None

    def twin(self) -> ClipMasks:
        """See `Masks.twin`."""
        other = copy.copy(self)
        other._file, other._last = FrameFile(self._file.path), None
        return other

    def check(self, frames: int) -> None:
        """See `Masks.check`."""
        if self._count not in (1, frames):
            raise RaihaError(f"There are {self._count} masks for {frames} frames; give one mask for all frames or one per frame.")

    def number(self, i: int) -> int:
        """See `Masks.number`."""
        return min(i, self._count - 1)

    def mask(self, i: int) -> Mask:
        """See `Masks.mask`."""
        number = self.number(i)
        if self._last is None or self._last[0] != number:
            frame = self._file.frame(number)
            mask = alpha(frame) if self._cut_out else brightness(frame)
            assert mask is not None, "a clip of cut-outs has alpha"
            np.minimum(mask / np.float32(self._white or 1), 1, out=mask)
            if self._file.kind.lossy:
                mask[mask < JPEG_NOISE] = 0
                mask[mask > 1 - JPEG_NOISE] = 1
            self._last = number, mask
        return self._last[1]


class VideoClip:
    """A clip in a file, and its masks. See `Clip`.

    Args:
        path: the clip.
        masks: a clip of masks, a picture for all frames, or pictures, one for each frame.
        resize_masks: scale masks of another size instead of refusing them.
        step: called after every frame that is counted.

    Raises:
        RaihaError: a file that cannot be read, another number of masks than of frames, PyAV is not installed.
    """

    def __init__(
        self, path: Path, masks: ClipMasks | Masks | Sequence[Path], resize_masks: bool = False, step: Callable[[], None] = lambda: None
    ):
        self.file = FrameFile(path)
        self._masks: _FrameMasks = masks if isinstance(masks, ClipMasks | Masks) else Masks(list(masks))
        self._count = sum(1 for _ in self.file.each(step))
        self._masks.check(self._count)
        self._resize = resize_masks
        self._last: tuple[int, Picture] | None = None
        self._fitted: tuple[int, Mask] | None = None

    def twin(self) -> VideoClip:
        """The same clip, to be read by somebody else, who is at another frame."""
        other = copy.copy(self)
        other.file, other._masks, other._last, other._fitted = FrameFile(self.file.path), self._masks.twin(), None, None
        return other

    def __len__(self) -> int:
        return self._count

    def frame(self, i: int) -> Any:
        """A frame as PyAV gives it.

        Raises:
            RaihaError: it cannot be decoded.
        """
        found = self.file.frame(i)
        if found is None:
            raise RaihaError(f"{self.file.path} has no frame {i} any more; it changed while it was read, so start again.")
        return found

    def picture(self, i: int) -> Picture:
        """See `Clip`; uint8, or uint16 where the clip has more than 8 bits."""
        if self._last is None or self._last[0] != i:
            self._last = i, Picture(colours(self.frame(i)))
        return self._last[1]

    def mask(self, i: int) -> Mask:
        """See `Clip`."""
        number = self._masks.number(i)
        if self._fitted is None or self._fitted[0] != number:
            mask, size = self._masks.mask(i), self.file.kind.size
            if mask.shape != size:
                if not self._resize:
                    raise RaihaError(
                        f"The masks are {mask.shape[1]} x {mask.shape[0]} but the clip is {size[1]} x {size[0]}; "
                        "give masks of the same size, or allow scaling them (--resize-mask)."
                    )
                mask = resized(mask, size)
            self._fitted = number, mask
        return self._fitted[1]

    def mask_number(self, i: int) -> int:
        """See `Clip`."""
        return self._masks.number(i)

    def encoded(self, i: int, result: Picture | None) -> Any:
        """The frame to be encoded, with its time: its own samples, and those of a result where the mask is."""
        frame, kind = self.frame(i), self.file.kind
        samples: Planes = planes(frame, kind.samples, kind.limits)
        if result is not None:
            before = self.picture(i).rgb
            samples = changed(self.file.av, samples, kind.samples, kind.limits, kind.matrix, before, result.rgb, self.mask(i))
        made = to_frame(self.file.av, samples, kind.samples)
        made.time_base = frame.time_base or kind.time_base
        made.pts = round(i / (kind.rate or 25) / made.time_base) if frame.pts is None else frame.pts
        return made
