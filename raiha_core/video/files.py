"""Clips in files, read through PyAV, frame by frame.

PyAV is an extra (`pip install "raiha[video]"`); it is imported only when a clip is opened.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..errors import RaihaError
from ..image.limits import check_memory, check_pixels
from .pixels import colour_range, handed_on, matrix, turns

_LOSSLESS = ("ffv1", "png", "apng", "qtrle", "rawvideo", "huffyuv", "ffvhuff", "utvideo", "magicyuv", "gif", "v210", "v410")
_HDR = {16: "PQ", 18: "HLG"}
_BYTES = 60
"""For a pixel, of the frames that decoder and encoder hold."""


def pyav() -> Any:
    """PyAV.

    Raises:
        RaihaError: it is not installed.
    """
    try:
        import av
    except ImportError:
        raise RaihaError('Clips need PyAV, which is not installed; run: pip install "raiha[video]"') from None
    return av


@dataclass(frozen=True)
class Kind:
    """What a file says of its clip.

    Attributes:
        size: (height, width), upright.
        rate: frames per second; None where it is not said.
        time_base: the unit of time stamps, in seconds.
        samples: the kind of samples in which frames are handed on, one of `pixels.FORMATS`.
        limits: their range.
        matrix: as `pixels.matrix`.
        tags: what the file says of its colours, as attributes of a codec's context.
        aspect: width of a pixel over its height; None where they are square.
        lossy: what is nearly black need not be meant.
        notices: what the user should know.
    """

    size: tuple[int, int]
    rate: Fraction | None
    time_base: Fraction
    samples: str
    limits: int
    matrix: int
    tags: dict[str, int]
    aspect: Fraction | None
    lossy: bool
    notices: tuple[str, ...]


class FrameFile:
    """The frames of a file in order, each decoded once per pass; asking for an earlier one opens the file anew.

    Args:
        path: a file with a stream of video.

    Raises:
        RaihaError: no such file, no clip, no frames, or PyAV is not installed.
    """

    def __init__(self, path: Path):
        self.path, self.av = path, pyav()
        self._frames: Iterator[Any] | None = None
        self._at, self._frame = -1, None
        self._size: tuple[int, int] | None = None
        if not os.path.isfile(path):
            raise RaihaError(f"{path} does not exist or is not a file; check the path.")
        with self.opened() as container:
            stream = container.streams.video[0]
            several = sum(not _cover(s) for s in container.streams.video) > 1
            rate, codec, base = stream.average_rate or stream.guessed_rate, stream.codec_context.name, stream.time_base
            aspect = stream.sample_aspect_ratio
            check_pixels(path, stream.codec_context.height, stream.codec_context.width)
            check_memory(path, stream.codec_context.height * stream.codec_context.width * _BYTES)
        frame = self.frame(0)
        if frame is None:
            raise RaihaError(f"{path} holds no frames that can be read; it may be truncated or of another format.")
        turned = turns(frame) % 2
        self.has_alpha = any(c.is_alpha for c in frame.format.components)
        self.kind = Kind(
            size=(frame.width, frame.height) if turned else (frame.height, frame.width),
            rate=rate,
            time_base=base,
            samples=handed_on(frame),
            limits=1 if frame.format.is_rgb else colour_range(frame),
            matrix=matrix(frame),
            tags=_tags(frame),
            aspect=(1 / aspect if turned else aspect) if aspect and aspect != 1 else None,
            lossy=codec not in _LOSSLESS,
            notices=tuple(self._notices(frame, several)),
        )

    def _notices(self, frame: Any, several: bool) -> Iterator[str]:
        name, wanted = self.path.name, handed_on(frame)
        if several:
            yield f"{name} holds several streams of video; the first was taken."
        if self.has_alpha:
            yield f"{name} has an alpha channel, which the result has not."
        if frame.format.is_rgb and "420" in wanted:
            yield f"{name} holds RGB; the result has its colours at half the resolution (4:2:0), as players expect."
        if max(c.bits for c in frame.format.components) > 10:
            yield f"{name} has samples of more than 10 bits; the result has 10."
        if hdr := _HDR.get(int(frame.color_trc or 0)):
            yield f"{name} is HDR ({hdr}); the model sees it as if it were not, so look at the result."
        if frame.interlaced_frame:
            yield f"{name} is interlaced; the result is not, so deinterlace it first if lines show."

    @contextlib.contextmanager
    def opened(self) -> Iterator[Any]:
        """The file, opened on its own.

        Raises:
            RaihaError: it is no clip.
        """
        try:
            container = self.av.open(str(self.path))
        except (self.av.FFmpegError, OSError, ValueError):
            raise RaihaError(f"{self.path} cannot be read as a clip; it may be truncated or of another format.") from None
        with container:
            if not container.streams.video:
                raise RaihaError(f"{self.path} holds no video; give a clip.")
            yield container

    def _decoded(self) -> Iterator[Any]:
        with self.opened() as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            count, frames = 0, container.decode(stream)
            while True:
                try:
                    frame = next(frames)
                except StopIteration:
                    break
                except (self.av.FFmpegError, OSError, ValueError, MemoryError) as error:
                    reason = getattr(error, "strerror", None) or error
                    raise RaihaError(f"Frame {count} of {self.path} cannot be decoded ({reason}); the file is damaged.") from None
                yield frame
                count += 1
            said = int(stream.frames or 0)
        # A file that was cut off ends without an error, with fewer frames than its head says.
        if count < 0.9 * said:
            raise RaihaError(f"{self.path} is cut off: of {said} frames only {count} are there; copy or export it again.")

    def frame(self, i: int) -> Any:
        """A frame as PyAV gives it; None where there are fewer.

        Raises:
            RaihaError: it cannot be decoded, or has another size than the first.
        """
        if self._frames is None or i < self._at:
            self.close()
            self._frames = self._decoded()
        while self._at < i:
            self._frame = next(self._frames, None)
            if self._frame is None:
                self.close()
                return None
            self._at += 1
        frame: Any = self._frame
        size = frame.width, frame.height
        self._size = self._size or size
        if size != self._size:
            first = f"{self._size[0]} x {self._size[1]}"
            raise RaihaError(f"Frame {i} of {self.path} is {size[0]} x {size[1]} but the first is {first}; give frames of one size.")
        return frame

    def each(self, step: Callable[[], None] = lambda: None) -> Iterator[Any]:
        """All frames, the file opened anew."""
        self.close()
        i = 0
        while (frame := self.frame(i)) is not None:
            yield frame
            step()
            i += 1

    def close(self) -> None:
        """Close the file; the next frame opens it again."""
        if self._frames is not None:
            self._frames.close()  # type: ignore[attr-defined]
        self._frames, self._at, self._frame = None, -1, None


def _cover(stream: Any) -> bool:
    """Whether a stream of video is a picture on the cover."""
    return bool(stream.disposition.value & 0x400)


def _tags(frame: Any) -> dict[str, int]:
    names = {"colorspace": frame.colorspace, "color_trc": frame.color_trc, "color_primaries": frame.color_primaries}
    tags = {name: int(value) for name, value in names.items()}
    if frame.format.is_rgb:  # what it becomes
        tags["colorspace"] = 1 if matrix(frame) == 1 else 6
    return tags
