"""Clips to files, through PyAV: H.264 in segments that survive a kill, put together with the sound of the source."""

from __future__ import annotations

import contextlib
import heapq
import io
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import RaihaError
from .files import FrameFile, Kind

_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
_ENCODER = "libx264"
_PRESET = "medium"
QUALITY = 17
"""The usual constant rate factor of H.264 for what is to look like its source; 0 loses nothing."""
WORST = 51


class Segment(NamedTuple):
    """A piece of a clip, encoded on its own: its file, whose time starts at 0, and its start in the clip, in units of the time base."""

    path: Path
    start: int


def check_sound(source: FrameFile, output: Path) -> tuple[str, ...]:
    """Notices of what beside pictures and sound is left out.

    Raises:
        RaihaError: the output's kind of file cannot hold the source's sound, or PyAV was built without H.264.
    """
    av = source.av
    if _ENCODER not in av.codecs_available:
        raise RaihaError(
            "This PyAV was built without H.264, so no clip can be written; install it from PyPI: pip install --force-reinstall av"
        )
    kind = _FORMATS[output.suffix.lower()]
    with av.open(io.BytesIO(), "w", format=kind) as container:
        holds = container.supported_codecs
    left = []
    with source.opened() as container:
        for stream in container.streams:
            if stream.type == "audio" and _codec(stream) not in holds:
                raise RaihaError(f"{output} cannot hold the sound of {source.path.name} ({_codec(stream)}); write .mkv or .mov instead.")
            if stream.type not in ("audio", "video"):
                left.append(stream.type)
    few = ", ".join(sorted(set(left)))
    return (f"{source.path.name} holds more than pictures and sound ({few}), which the result does not.",) if left else ()


def _codec(stream: Any) -> str:
    codec = stream.codec_context
    # A decoder may bear another name than what it decodes, such as libopus.
    return str(getattr(codec.codec, "canonical_name", codec.name))


@contextlib.contextmanager
def _plainly(av: Any) -> Iterator[None]:
    """PyAV's errors as those of the system, which say what a user can do."""
    try:
        yield
    except av.FFmpegError as error:
        raise OSError(getattr(error, "errno", None), getattr(error, "strerror", None) or str(error)) from None


def encode(av: Any, part: Path, frames: Iterable[Any], kind: Kind, quality: int) -> None:
    """Encode frames on their own, the first one at time 0.

    Args:
        av: PyAV.
        part: a file to be filled, .mp4.
        frames: of PyAV, with rising times; at least one.
        kind: of the clip.
        quality: constant rate factor, 0 (nothing is lost) to 51.

    Raises:
        OSError: it cannot be written.
    """
    start: int | None = None
    last = -1
    with _plainly(av), av.open(str(part), "w") as container:
        stream = container.add_stream(_ENCODER, rate=kind.rate or 25)
        stream.height, stream.width = kind.size
        stream.pix_fmt = kind.samples
        # A factor of 0 is lossless at 8 bits only; this is at any depth.
        stream.options = {"preset": _PRESET, **({"qp": "0"} if quality == 0 else {"crf": str(quality)})}
        context = stream.codec_context
        context.time_base = kind.time_base
        context.color_range = kind.limits
        for name, value in kind.tags.items():
            setattr(context, name, value)
        if kind.aspect is not None:
            context.sample_aspect_ratio = kind.aspect
        for frame in frames:
            start = frame.pts if start is None else start
            # Broken files hold times that stand still.
            last = frame.pts = max(frame.pts - start, last + 1)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def assemble(source: FrameFile, segments: Sequence[Segment], part: Path) -> None:
    """Put segments and the sound of the source together.

    Args:
        source: the clip.
        segments: all of them, in order.
        part: a file to be filled, with a suffix of `CLIPS_WRITABLE`.

    Raises:
        OSError: it cannot be written.
    """
    av = source.av
    with _plainly(av):
        _assemble(av, source, segments, part)


def _assemble(av: Any, source: FrameFile, segments: Sequence[Segment], part: Path) -> None:
    options = {} if part.suffix.lower() == ".mkv" else {"movflags": "faststart"}
    with source.opened() as sounds, av.open(str(part), "w", format=_FORMATS[part.suffix.lower()], options=options) as container:
        container.metadata.update(
            {k: v for k, v in sounds.metadata.items() if k in ("title", "artist", "comment", "date", "creation_time")}
        )
        own = sounds.streams.video[0]
        with av.open(str(segments[0].path)) as first:
            video = container.add_stream_from_template(first.streams.video[0])
        # The rate is not in the template, and a Matroska file would play too fast or too slowly without.
        video.codec_context.framerate = source.kind.rate or Fraction(25)
        pairs = [(s, container.add_stream_from_template(s)) for s in sounds.streams.audio]
        for template, stream in ((own, video), *pairs):
            stream.metadata.update({k: v for k, v in template.metadata.items() if k in ("language", "title")})
        to = {template.index: stream for template, stream in pairs}
        packets = [_pictures(av, segments, video)]
        if to:
            packets.append((p, to[p.stream.index]) for p in sounds.demux([s for s, _ in pairs]) if p.dts is not None)
        for packet, stream in heapq.merge(*packets, key=lambda p: float(p[0].dts * p[0].time_base)):
            packet.stream = stream
            container.mux(packet)


def _pictures(av: Any, segments: Sequence[Segment], stream: Any) -> Iterator[tuple[Any, Any]]:
    """The packets of all segments, with the times of the whole clip."""
    last: int | None = None
    for segment in segments:
        with av.open(str(segment.path)) as container:
            own = container.streams.video[0]
            for packet in container.demux(own):
                if packet.dts is None:
                    continue
                packet.pts += segment.start
                packet.dts = min(packet.pts, packet.dts + segment.start if last is None else max(last + 1, packet.dts + segment.start))
                last = packet.dts
                yield packet, stream
