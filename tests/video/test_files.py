"""Clips in files: samples, depth, orientation, masks."""

from __future__ import annotations

import importlib.util
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from raiha_core.errors import RaihaError
from raiha_core.harmonizer import PlacedTransform
from raiha_core.image import Box
from raiha_core.models.base import AffineMap
from raiha_core.models.guided import LocalColours
from raiha_core.video import ClipMasks, Masks, VideoClip, pixels
from raiha_core.video.files import FrameFile
from raiha_core.video.work import KeptTransforms, WorkFolder

_spec = importlib.util.spec_from_file_location("clips_for_tests", Path(__file__).parent / "clips.py")
assert _spec is not None and _spec.loader is not None
small: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(small)


@pytest.mark.parametrize("samples", ["yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuv420p10le", "yuv422p10le"])
def test_samples_outside_of_the_mask_are_the_files(samples: str, tmp_path: Path) -> None:
    clip = VideoClip(small.write(tmp_path / "c.mkv", small.scene(2), samples=samples), Masks(small.masks(1)[0]))
    deep = samples.endswith("10le")
    picture = clip.picture(1)
    assert picture.rgb.dtype == (np.uint16 if deep else np.uint8)
    red = picture.rgb[40, 50] / picture.scale * 255
    assert np.abs(red - (230, 120, 60)).max() < 6
    changed = picture.with_rgb(picture.rgb // 2)
    old, new = (pixels.planes(f, samples, clip.file.kind.limits) for f in (clip.frame(1), clip.encoded(1, changed)))
    for a, b in zip(old, new, strict=True):
        down, across = small.HEIGHT // a.shape[0], small.WIDTH // a.shape[1]
        inside = (clip.mask(1) > 0).reshape(a.shape[0], down, a.shape[1], across).any((1, 3))
        assert np.array_equal(a[~inside], b[~inside])
        assert not np.array_equal(a[inside], b[inside])
    same = pixels.planes(clip.encoded(1, picture), samples, clip.file.kind.limits)
    assert all(np.array_equal(a, b) for a, b in zip(old, same, strict=True)), "to RGB and back nothing drifts"
    brighter = picture.with_rgb((picture.rgb * 0.8).astype(picture.rgb.dtype))
    shown = pixels.colours(clip.encoded(1, brighter)).astype(float)[35:55, 25:55]
    assert np.abs(shown / brighter.scale - brighter.rgb[35:55, 25:55] / brighter.scale).max() < 2 / 255


def test_kinds_that_are_not_encoded_become_the_nearest(tmp_path: Path) -> None:
    def kind(samples: str, width: int = 64) -> str:
        return pixels.handed_on(av.VideoFrame(width, 48, samples))

    assert [kind(s) for s in ("nv12", "rgb24", "gray", "yuva420p", "yuva444p10le", "yuv440p", "yuv422p12le", "gbrp")] == [
        *("yuv420p", "yuv420p", "yuv420p", "yuv420p", "yuv444p10le", "yuv444p", "yuv444p10le", "yuv420p")
    ]
    assert kind("yuv420p", 63) == "yuv444p", "H.264 has no half columns of chroma"
    clip = FrameFile(small.write(tmp_path / "c.mkv", small.scene(1), codec="ffv1", samples="bgr0"))
    assert "holds RGB" in clip.kind.notices[0] and clip.kind.samples == "yuv420p" and clip.kind.limits == pixels.LIMITED
    with pytest.raises(RaihaError, match="There are 2 masks for 1 frames"):
        VideoClip(clip.path, Masks(small.masks(2)))


def test_a_turned_clip_is_upright(tmp_path: Path) -> None:
    source = small.write(tmp_path / "c.mp4", small.scene(2))
    turned = tmp_path / "turned.mp4"
    with av.open(str(source)) as container, av.open(str(turned), "w") as out:
        own = container.streams.video[0]
        stream = out.add_stream_from_template(own)
        if not hasattr(stream, "set_display_rotation"):
            pytest.skip("this PyAV cannot write rotations")
        stream.set_display_rotation(90)
        for packet in container.demux(own):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    upright = VideoClip(turned, Masks(np.ascontiguousarray(np.rot90(small.masks(1)[0], -1))))
    assert upright.file.kind.size == (small.WIDTH, small.HEIGHT)
    turns = pixels.turns(upright.frame(0))
    plain = FrameFile(source).frame(0)
    assert turns in (1, 3) and np.array_equal(upright.picture(0).rgb, np.rot90(pixels.colours(plain), turns))
    luma, *_ = pixels.planes(upright.encoded(0, None), "yuv420p", pixels.LIMITED)
    assert np.array_equal(luma, np.rot90(pixels.planes(plain, "yuv420p", pixels.LIMITED)[0], turns))


def test_masks_of_a_clip(tmp_path: Path) -> None:
    bright = small.masks(4)
    faint = [bright[0], bright[1] // 4, bright[2] * 0, bright[3]]
    masks = ClipMasks(small.write(tmp_path / "m.mp4", faint))
    masks.check(4)
    tops = [float(masks.mask(i).max()) for i in range(4)]
    assert tops[0] == tops[3] == 1 and tops[1] == pytest.approx(0.25, abs=0.03) and tops[2] == 0
    assert (masks.mask(0) == 1).sum() == pytest.approx(1200, abs=150) and masks.mask(0)[0, 0] == 0
    red = ClipMasks(small.write(tmp_path / "red.mp4", [m * np.array([1, 0, 0], np.uint8) for m in bright]))
    assert red.mask(0)[45, 40] == 1 and red.mask(0)[0, 0] == 0, "any colour"
    dim = ClipMasks(small.write(tmp_path / "dim.mp4", [m // 2 for m in bright]))
    assert dim.mask(0).max() == 1 and "brightest value of the masks is 0.50" in dim.notices[0]
    lossless = [bright[0] // 255 * 5 + m // 2 for m in bright]
    kept = ClipMasks(small.write(tmp_path / "m.mkv", lossless, codec="ffv1", samples="yuv444p"))
    assert 0 < kept.mask(3)[45, 21] < 0.06, "nothing is taken for noise that was stored without loss"


def test_frames_are_decoded_once_in_a_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = VideoClip(small.write(tmp_path / "c.mp4", small.scene(6)), Masks(small.masks(6)))
    opened: list[int] = []
    own = FrameFile._decoded
    monkeypatch.setattr(FrameFile, "_decoded", lambda self: opened.append(1) or own(self))
    for i in range(6):
        assert clip.picture(i) is clip.picture(i)
        clip.encoded(i, None)
    assert len(opened) == 1
    other = clip.twin()
    other.picture(5), clip.picture(5)
    assert len(opened) == 2, "a twin reads for itself"


def test_a_clip_that_was_cut_off_is_said_so(tmp_path: Path) -> None:
    whole = small.write(tmp_path / "c.mov", small.scene(40), codec="mjpeg", samples="yuvj420p")
    with av.open(str(whole)) as container, av.open(str(tmp_path / "fast.mov"), "w", options={"movflags": "faststart"}) as out:
        stream = out.add_stream_from_template(container.streams.video[0])
        for packet in container.demux(container.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    data = (tmp_path / "fast.mov").read_bytes()
    (tmp_path / "cut.mov").write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(RaihaError, match=r"cut\.mov is cut off: of 40 frames only \d+|cut\.mov cannot be decoded"):
        VideoClip(tmp_path / "cut.mov", Masks(small.masks(1)))


@pytest.mark.parametrize("kind", ["affine", "local"])
def test_transforms_are_kept_to_the_bit(kind: str, tmp_path: Path) -> None:
    box = Box(1, 2, 30, 40)
    generator = torch.Generator().manual_seed(0)
    shape = (12, 4, 4) if kind == "affine" else (12, 3, 4, 4)
    matrices = [torch.randn(shape, generator=generator) for _ in range(5)]
    make = AffineMap if kind == "affine" else lambda m: LocalColours(m, torch.ones(3, 2, 2))
    placed = [PlacedTransform(make(m), box) for m in matrices]
    KeptTransforms(tmp_path, box).keep(placed[:3], 0)
    with open(tmp_path / "transforms.f32", "ab") as file:
        file.write(b"cut")
    kept = KeptTransforms(tmp_path, box)
    assert len(kept) == 3
    kept.keep(placed[2:], 2)
    assert [bool(torch.equal(k.transform.matrix, m)) for k, m in zip(kept, matrices, strict=True)] == [True] * 5
    assert len(KeptTransforms(tmp_path, Box(0, 0, 5, 5))) == 0, "another box, other transforms"
    with pytest.raises(RaihaError, match="cannot be averaged"):
        kept.keep([PlacedTransform(AffineMap(torch.zeros(12, 2, 2)), box)], 5)


def test_two_processes_do_not_make_the_same_clip(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path / "out.mp4", "a")
    with pytest.raises(RaihaError, match="being made by another process"):
        WorkFolder(tmp_path / "out.mp4", "a")
    work.remove()
    assert not list(tmp_path.iterdir())


def test_times_that_stand_still_are_mended(tmp_path: Path) -> None:
    from raiha_core.video.encode import encode

    source = FrameFile(small.write(tmp_path / "c.mp4", small.scene(3)))

    def frames() -> Any:
        for pts in (100, 100, 3000):
            frame = pixels.to_frame(av, pixels.planes(source.frame(0), "yuv420p", pixels.LIMITED), "yuv420p")
            frame.pts, frame.time_base = pts, Fraction(1, 24000)
            yield frame

    encode(av, tmp_path / "out.mp4", frames(), source.kind, 17)
    assert small.times(tmp_path / "out.mp4") == pytest.approx([0, 1 / 24000, 2900 / 24000])
