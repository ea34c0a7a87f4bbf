"""Small clips in files for tests: an orange box moves over a chequered scene."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

HEIGHT, WIDTH = 96, 128
RATE = Fraction(24000, 1001)


def place(i: int) -> tuple[slice, slice]:
    """Where the box is in a frame."""
    return slice(30, 60), slice(20 + i, 60 + i)


def write(
    path: Path,
    frames: list[np.ndarray],
    *,
    codec: str = "libx264",
    samples: str = "yuv420p",
    sound: str | None = None,
    rate: Fraction = RATE,
) -> Path:
    """A clip of RGB pictures; `sound` is the encoder of a tone."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = samples
        stream.options = {"crf": "12"} if codec == "libx264" else {}
        tone: Any = container.add_stream(sound, rate=48000) if sound else None
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
        if tone is not None:
            wave = np.sin(np.arange(int(48000 * len(frames) / rate)) * 0.05).astype(np.float32)[None]
            for at in range(0, wave.shape[1] - 1023, 1024):
                piece: Any = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave[:, at : at + 1024]), "fltp", "mono")
                piece.sample_rate, piece.pts = 48000, at
                container.mux(tone.encode(piece))
            container.mux(tone.encode(None))
    return path


def scene(count: int) -> list[np.ndarray]:
    """Frames of the clip."""
    tiles = np.random.default_rng(0).integers(40, 200, (HEIGHT // 16, WIDTH // 16, 3))
    ground = np.kron(tiles, np.ones((16, 16, 1))).astype(np.uint8)
    frames = []
    for i in range(count):
        frames.append(ground.copy())
        frames[-1][place(i)] = (230, 120, 60)
    return frames


def masks(count: int) -> list[np.ndarray]:
    """Its masks."""
    drawn = np.zeros((count, HEIGHT, WIDTH, 3), np.uint8)
    for i in range(count):
        drawn[i][place(i)] = 255
    return list(drawn)


def planes(path: Path) -> list[list[np.ndarray]]:
    """The samples of every frame, plane by plane."""
    with av.open(str(path)) as container:
        return [[whole(p) for p in frame.planes] for frame in container.decode(video=0)]


def whole(plane: Any) -> np.ndarray:
    """A plane's samples, 8 bits."""
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width].copy()


def times(path: Path) -> list[float]:
    """When every frame is shown, in seconds."""
    with av.open(str(path)) as container:
        return [float(frame.time) for frame in container.decode(video=0)]


def sound(path: Path) -> list[tuple[float, bytes]]:
    """The packets of sound, with their times."""
    with av.open(str(path)) as container:
        return [(float(p.pts * p.time_base), bytes(p)) for p in container.demux(container.streams.audio) if p.dts is not None]
