"""Transforms of a clip, averaged: those of raiha-s (affine maps) and of rhnet (local colours)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from raiha_core import video
from raiha_core.errors import RaihaError
from raiha_core.harmonizer import Harmonizer, PlacedTransform, Shown
from raiha_core.image import Box, Picture, from_array
from raiha_core.inputs import as_picture
from raiha_core.models import load_model
from raiha_core.models.base import AffineMap, ColorTransform
from raiha_core.models.guided import fit_local_colours

BOX = Box(0, 0, 64, 64)


def affine(gain: float) -> ColorTransform:
    return AffineMap((torch.eye(3, 4) * gain).reshape(12, 1, 1).repeat(1, 4, 4))


def local(gain: float) -> ColorTransform:
    """What rhnet gives for a network that multiplies by `gain` and draws a chequered pattern on top of it."""
    photo = F.interpolate(torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(0)), 64, mode="bicubic").clamp(0, 1)
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 8:56, 8:56] = 1
    chequers = 0.05 * torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(32, 32)
    return fit_local_colours(photo, photo * gain + chequers, mask)


def clip(kind: object, gains: tuple[float, ...]) -> list[PlacedTransform]:
    return [PlacedTransform(kind(g), BOX) for g in gains]  # type: ignore[operator]


def grey(placed: PlacedTransform) -> Tensor:
    at = torch.tensor([0.4, 0.6])
    return placed.transform(torch.full((1, 3, 2, 2), 0.5), at, at)


@pytest.mark.parametrize("kind", [affine, local])
def test_one_transform_is_the_mean(kind: object) -> None:
    one = video.average(clip(kind, (0.6, 0.8, 1.0)))
    assert video.flicker(one) == 0
    assert torch.allclose(grey(one[0]), torch.tensor(0.4), atol=0.01), "0.5 times the mean gain, without one frame's pattern"


@pytest.mark.parametrize("kind", [affine, local])
def test_smoothing_takes_most_of_the_flicker(kind: object) -> None:
    jumping = clip(kind, (0.7, 1.0) * 6)
    assert video.flicker(video.smooth(jumping, 2.0)) < 0.2 * video.flicker(jumping)
    steady = clip(kind, (0.8,) * 5)
    assert torch.allclose(grey(video.smooth(steady, 2.0)[0]), torch.tensor(0.4), atol=0.01)


def test_flicker_is_in_steps_of_8_bit_values() -> None:
    # Half of the mean of the colours 0, 0.5 and 1, times 255.
    assert video.flicker(clip(affine, (1.0, 0.5))) == pytest.approx(0.5 * 0.5 * 255)
    assert video.flicker(clip(affine, (1.0,))) == 0


def test_what_cannot_be_averaged_is_refused() -> None:
    with pytest.raises(RaihaError, match="each frame on its own"):
        video.average([*clip(affine, (1.0,)), *clip(local, (1.0,))])
    first, second = clip(affine, (1.0, 0.9))
    apart = [first, replace(second, box=Box(1, 0, 64, 64))]
    with pytest.raises(RaihaError, match="each frame on its own"):
        video.smooth(apart, 1.0)
    with pytest.raises(RaihaError, match="one common box"):
        video.flicker(apart)
    for frames in (0.0, float("nan")):
        with pytest.raises(RaihaError, match="positive"):
            video.smooth([first, second], frames)


class Frames:
    """A clip of noise over a scene, and masks; `numbers` says which frames share one."""

    def __init__(self, masks: list[np.ndarray], numbers: list[int]):
        self.masks, self.numbers = masks, numbers
        generator = np.random.default_rng(0)
        scene = generator.random((48, 64, 3), np.float32)
        self.pictures = [from_array(np.clip(scene * (0.5 + i / 10), 0, 1).astype(np.float32)) for i in range(len(numbers))]
        self.made = 0

    def __len__(self) -> int:
        return len(self.numbers)

    def picture(self, i: int) -> Picture:
        return self.pictures[i]

    def mask(self, i: int) -> np.ndarray:
        self.made += 1
        return self.masks[self.numbers[i]]

    def mask_number(self, i: int) -> int:
        return self.numbers[i]


class Dims(Harmonizer):
    """A harmoniser whose model makes everything as bright as the mean of what it sees; remembers where it looked."""

    def __init__(self) -> None:
        super().__init__(load_model("raiha-s"))
        self.boxes: list[Box | None] = []
        self.references: list[int] = []

    def shown(self, composite, mask, box=None, same_mask=None):  # type: ignore[no-untyped-def]
        self.boxes.append(box)
        gain = torch.full((1, 3, 1, 1), float(composite.rgb.mean()))
        return Shown(gain, torch.from_numpy(mask), box or Box(0, 0, *composite.size))

    def predict_shown(self, shown, references=(), *, caution=None):  # type: ignore[no-untyped-def]
        self.references += [len(references)] * len(shown)
        return [PlacedTransform(affine(float(s.picture.mean())), s.box) for s in shown]


def disc(row: int, column: int, size: int = 10) -> np.ndarray:
    mask = np.zeros((48, 64), np.float32)
    mask[row : row + size, column : column + size] = 1
    return mask


EMPTY, FULL = np.zeros((48, 64), np.float32), np.ones((48, 64), np.float32)


def gains(placed: list[PlacedTransform | None]) -> list[float | None]:
    return [None if p is None else round(float(grey(p).mean()) * 2, 4) for p in placed]


def test_a_clip_in_one_call() -> None:
    frames = Frames([disc(5, 5), disc(20, 30), EMPTY], [0, 1, 2, 0])
    means = [float(p.rgb.mean()) for p in frames.pictures]
    harmonizer = Dims()
    each = gains(video.transforms(harmonizer, frames))
    assert each == [pytest.approx(means[0], abs=1e-3), pytest.approx(means[1], abs=1e-3), None, pytest.approx(means[3], abs=1e-3)]
    assert harmonizer.boxes == [None] * 3
    steps: list[int] = []
    one = gains(video.transforms(harmonizer, frames, way=video.Way("one"), step=lambda: steps.append(1)))
    assert (
        one[0] == pytest.approx((means[0] + means[1] + means[3]) / 3, abs=1e-3) and one[0] == one[3] and one[2] is None and len(steps) == 3
    )
    common = set(harmonizer.boxes[3:])
    assert len(common) == 1 and None not in common, "one box for the whole clip"
    held = gains(video.transforms(harmonizer, frames, way=video.Way("anchor", anchor=1)))
    assert held[0] == held[1] == held[3] == pytest.approx(means[1], abs=1e-3) and held[2] is None


def test_frames_that_the_object_fills_get_the_others_change() -> None:
    frames = Frames([disc(5, 5), FULL], [0, 1, 0])
    means = [float(p.rgb.mean()) for p in frames.pictures]
    smooth = gains(video.transforms(Dims(), frames, way=video.Way("smooth", 0.1)))
    assert smooth[0] == pytest.approx(means[0], abs=1e-3) and smooth[1] == pytest.approx((means[0] + means[2]) / 2, abs=1e-3)
    with pytest.raises(RaihaError, match=r"mask of frame 1 covers the whole image.*choose a video mode"):
        video.transforms(Dims(), frames)
    with pytest.raises(RaihaError, match=r"covers the whole image.*is it inverted"):
        video.transforms(Dims(), Frames([FULL], [0, 0]), way=video.Way("one"))


@pytest.mark.parametrize(
    ("way", "says"),
    [
        (video.Way("anchor", anchor=5), "no frame 5 to hold; the clip has 3"),
        (video.Way("anchor", anchor=1), "mask of frame 1 is empty.*for example 0"),
        (video.Way("smooth", -1.0), "positive"),
    ],
)
def test_ways_that_cannot_be(way: video.Way, says: str) -> None:
    with pytest.raises(RaihaError, match=says):
        video.transforms(Dims(), Frames([disc(5, 5), EMPTY], [0, 1, 0]), way=way)
    with pytest.raises(RaihaError, match="mask is empty"):
        video.transforms(Dims(), Frames([EMPTY], [0, 0]), way=way)


def test_references_for_all_frames_or_for_each() -> None:
    frames, harmonizer = Frames([disc(5, 5)], [0, 0]), Dims()
    photo = torch.rand(1, 3, 8, 8)
    video.transforms(harmonizer, frames, [[photo, photo]])
    video.transforms(harmonizer, frames, [[photo], []])
    assert harmonizer.references == [2, 2, 1, 0]
    with pytest.raises(RaihaError, match="references for 3 frames of 2"):
        video.transforms(harmonizer, frames, [[], [], []])


def test_rendered_frames_are_those_the_transforms_say() -> None:
    frames, harmonizer = Frames([disc(5, 5), EMPTY], [0, 1]), Dims()
    placed = video.transforms(harmonizer, frames)
    first, second = video.rendered(harmonizer, frames, placed, strength=0.5)
    assert np.array_equal(first.rgb, harmonizer.apply(frames.picture(0), frames.mask(0), placed[0], 0.5).rgb)
    assert second is frames.picture(1)


def test_a_shared_mask_is_made_once_for_the_box() -> None:
    frames = Frames([disc(5, 5)], [0] * 20)
    video.transforms(Dims(), frames, way=video.Way("anchor"))
    assert frames.made <= 4, "once to look at it, once for the box, once for the anchor"


def test_a_clip_of_paths_and_arrays(tmp_path: Path) -> None:
    files = []
    for i, picture in enumerate(Frames([disc(5, 5)], [0, 0]).pictures):
        files.append(tmp_path / f"{i}.png")
        Image.fromarray((picture.rgb * 255).astype(np.uint8)).save(files[-1])
    clip = video.Pictures(files, disc(5, 5))
    placed, frames = video.harmonize_clip(Dims(), clip, way=video.Way("one"), strength=0.5)
    results = list(frames)
    assert len(results) == len(placed) == 2 and video.flicker([p for p in placed if p]) == 0
    before = clip.picture(1).rgb
    outside = disc(5, 5) == 0
    assert np.array_equal(results[1].rgb[outside], before[outside]) and not np.array_equal(results[1].rgb, before)
    each = video.Pictures(files, [disc(5, 5), disc(20, 20)])
    assert each.mask_number(1) == 1 and each.mask(1)[25, 25] == 1
    with pytest.raises(RaihaError, match="3 masks for 2 frames"):
        video.Pictures(files, [disc(5, 5)] * 3)
    with pytest.raises(RaihaError, match="no frames"):
        video.Pictures([], disc(5, 5))
    with pytest.raises(RaihaError, match="mask of frame 1 is 64 x 40 but the frame is 64 x 48"):
        video.Pictures(files, [disc(5, 5), disc(5, 5)[:40]]).mask(1)


def test_frames_share_a_batch_and_its_references() -> None:
    generator = torch.Generator().manual_seed(0)
    frames = [
        F.interpolate(torch.rand(1, 3, 6, 6, generator=generator), 64, mode="bicubic").clamp(0, 1)[0] for _ in range(video.run.BATCH + 2)
    ]
    mask = np.zeros((64, 64), np.float32)
    mask[20:44, 24:40] = 1
    harmonizer = Harmonizer()
    references = harmonizer.prepare_references([frames[0], frames[1]])
    for shared in ([], references):
        together = video.transforms(harmonizer, video.Pictures(frames, mask), [shared])
        for frame, placed in zip(frames[-3:], together[-3:], strict=True):
            alone, _ = harmonizer.predict(as_picture(frame), mask, shared)
            assert placed is not None and placed.box == alone.box
            assert torch.allclose(placed.transform.matrix, alone.transform.matrix, atol=1e-4)


def test_smoothing_looks_no_further_than_it_must() -> None:
    class Counted(list):  # type: ignore[type-arg]
        asked = 0

        def __getitem__(self, i):  # type: ignore[no-untyped-def]
            self.asked += 1
            return super().__getitem__(i)

    many = Counted(clip(affine, tuple(0.5 + 0.4 * (i % 7) / 7 for i in range(400))))
    at = [i for i in range(500) if not 200 <= i < 300]
    smoothed = video.mixing.Smoothed(many, 2.0, at)
    for frame in (0, 100, 250, 499):
        many.asked = 0
        found = smoothed.at(frame)
        assert many.asked < 120
        weights = torch.softmax(-((torch.tensor(at) - frame) ** 2).double() / 8, 0).float()
        whole = torch.einsum("u,u...->...", weights, torch.stack([t.transform.matrix for t in many]))
        assert torch.allclose(found.transform.matrix, whole, atol=1e-6)


def test_a_faint_frame_stays_faint(tmp_path: Path) -> None:
    pictures = [np.full((48, 64, 3), 90, np.uint8)] * 3
    masks = [(disc(5, 5) * value).astype(np.uint8) for value in (255, 51, 0)]
    files = [tmp_path / f"{i}.png" for i in range(3)]
    for file, mask in zip(files, masks, strict=True):
        Image.fromarray(mask).save(file)
    for given in (masks, files, [Image.fromarray(m) for m in masks], [torch.from_numpy(m) for m in masks]):
        clip = video.Pictures(pictures, given)
        assert [round(float(clip.mask(i).max()), 3) for i in range(3)] == [1, 0.2, 0]
    counted = [m.astype(np.float32) for m in masks]
    assert float(video.Pictures(pictures, counted).mask(1).max()) == pytest.approx(0.2)
    dim = video.Pictures(pictures, [m // 2 for m in masks])
    assert [round(float(dim.mask(i).max()), 1) for i in range(2)] == [1, 0.2], "the brightest of all is white"
    noise = tmp_path / "noise.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 4, (48, 64), np.uint8)).save(noise)
    assert video.Pictures(pictures[:2], [files[0], noise]).mask(1).max() == 0, "what a JPEG adds to black is no object"


def test_frames_of_different_sizes_are_refused() -> None:
    clip = video.Pictures([np.zeros((48, 64, 3), np.uint8), np.zeros((48, 60, 3), np.uint8)], disc(5, 5))
    with pytest.raises(RaihaError, match="Frame 1 is 60 x 48 but others are 64 x 48"):
        video.transforms(Dims(), clip, way=video.Way("one"))
