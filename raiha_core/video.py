"""Clips that do not flicker: one colour transform for all frames, that of one frame held, or transforms smoothed over time.

A transform that jumps from frame to frame is seen as flicker even where each frame looks right on its own. Affine maps of
the same box can be averaged, since the picture is linear in them. What rhnet draws beside its affine maps (the residual of
`LocalColours`) belongs to one frame's pixels, so it is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from .errors import RaihaError
from .harmonizer import Harmonizer, PlacedTransform
from .image import Box, Mask, Picture, crop_box
from .inputs import ImageLike, as_mask, as_picture
from .models.base import AffineMap, ColorTransform
from .models.guided import LocalColours
from .parts import Part

_POSITIONS = 16
"""Rows and columns at which `flicker` looks at a transform."""


Mode = Literal["each", "one", "anchor", "smooth"]
"""Each frame on its own; the mean of all; one frame's for all; smoothed over time."""


class Clip(Protocol):
    """Frames and their masks, read when they are used, since a clip may be larger than memory."""

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


class Pictures:
    """A clip of pictures and masks in any form that `harmonize` takes, for example paths, which are read when they are used.

    Args:
        frames: the frames; all have one size.
        masks: one for all, or one for each.

    Raises:
        RaihaError: no frames, or masks that are neither one nor as many.
    """

    def __init__(self, frames: Sequence[ImageLike], masks: ImageLike | Sequence[ImageLike]):
        self._frames = frames
        self._masks: Sequence[ImageLike] = masks if isinstance(masks, list | tuple) else [masks]  # type: ignore[list-item]
        if not frames:
            raise RaihaError("The clip has no frames; give at least one.")
        if len(self._masks) not in (1, len(frames)):
            raise RaihaError(f"There are {len(self._masks)} masks for {len(frames)} frames; give one mask for all frames or one per frame.")

    def __len__(self) -> int:
        return len(self._frames)

    def picture(self, i: int) -> Picture:
        """See `Clip`."""
        return as_picture(self._frames[i], f"Frame {i}")

    def mask(self, i: int) -> Mask:
        """See `Clip`."""
        mask, size = as_mask(self._masks[self.mask_number(i)]), self.picture(i).size
        if mask.shape != size:
            raise RaihaError(f"The mask of frame {i} is {mask.shape[1]} x {mask.shape[0]} but the frame is {size[1]} x {size[0]}.")
        return mask

    def mask_number(self, i: int) -> int:
        """See `Clip`."""
        return min(i, len(self._masks) - 1)


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


def harmonize_clip(
    harmonizer: Harmonizer,
    clip: Clip,
    references: Sequence[Sequence[Tensor]] = ((),),
    way: Way = Way(),
    step: Callable[[], None] = lambda: None,
    *,
    strength: float = 1.0,
    caution: float | None = None,
    part_of_change: Part = "both",
) -> tuple[list[PlacedTransform | None], Iterator[Picture]]:
    """Harmonise a whole clip.

    Args:
        clip: frames and masks, for example `Pictures`.
        references: see `transforms`.
        way: each frame on its own, or how the clip is kept from flickering.
        step: called after every frame that was looked at, and after every frame that was changed.
        strength: see `harmonize`.
        caution: see `harmonize`.
        part_of_change: see `Harmonizer.apply`.

    Returns:
        the transforms, see `transforms`, and the frames, made one by one as they are taken.

    Raises:
        RaihaError: see `transforms`.
    """
    placed = transforms(harmonizer, clip, references, way, step, caution=caution)
    return placed, rendered(harmonizer, clip, placed, step, strength=strength, part_of_change=part_of_change)


def transforms(
    harmonizer: Harmonizer,
    clip: Clip,
    references: Sequence[Sequence[Tensor]] = ((),),
    way: Way = Way(),
    step: Callable[[], None] = lambda: None,
    **options: Any,
) -> list[PlacedTransform | None]:
    """The transform of every frame of a clip; None where a frame shows no foreground.

    A frame whose foreground covers everything has no background to match; where transforms are averaged or held, it gets that of the
    others.

    Args:
        references: as `prepare_references` gives them: one sequence for all frames, or one for each.
        step: called after every frame that was looked at.
        options: of `Harmonizer.predict`.

    Raises:
        RaihaError: no foreground anywhere, no background where one is needed, an anchor that is none, transforms that cannot be averaged.
    """
    shown, seen = _kinds(clip)
    wanted = [way.anchor] if way.mode == "anchor" else seen
    _check(clip, shown, seen, way)
    if len(references) not in (1, len(clip)):
        raise RaihaError(f"There are references for {len(references)} frames of {len(clip)}; give the same for all, or some for each.")
    box = None
    if way.mode != "each":
        first = {clip.mask_number(i): i for i in shown}
        box = common_box((clip.mask(i) for i in first.values()), clip.picture(shown[0]).size, harmonizer.model.crops)
    placed = []
    for i in wanted:
        found, _ = harmonizer.predict(clip.picture(i), clip.mask(i), references[i if len(references) > 1 else 0], box=box, **options)
        placed.append(found)
        step()
    spread = placed
    if way.mode == "one":
        spread = average(placed)[:1] * len(shown)
    elif way.mode == "anchor":
        spread = placed * len(shown)
    elif way.mode == "smooth":
        spread = smooth(placed, way.smoothing, wanted, shown)
    by_frame = dict(zip(shown, spread, strict=True))
    return [by_frame.get(i) for i in range(len(clip))]


def _kinds(clip: Clip) -> tuple[list[int], list[int]]:
    """The frames that show some foreground, and those of them that show some background, too."""
    shown, seen = [], []
    kinds: dict[int, tuple[bool, bool]] = {}
    for i in range(len(clip)):
        number = clip.mask_number(i)
        if number not in kinds:
            mask = clip.mask(i)
            kinds[number] = bool(mask.max() > 0), bool(mask.min() < 1)
        foreground, background = kinds[number]
        shown += [i] if foreground else []
        seen += [i] if foreground and background else []
    return shown, seen


def _check(clip: Clip, shown: list[int], seen: list[int], way: Way) -> None:
    if not shown:
        raise RaihaError("The mask is empty (all black), so there is no foreground; paint the object white.")
    covered = sorted(set(shown) - set(seen))
    where = f" of frame {covered[0]}" if covered and len(clip) > 1 else ""
    if covered and (way.mode == "each" or not seen):
        hint = "is it inverted?" if not seen else "choose a video mode, in which such a frame gets the change of the others."
        raise RaihaError(f"The mask{where} covers the whole image, so there is no background to match; {hint}")
    if way.mode == "anchor" and way.anchor not in seen:
        if not 0 <= way.anchor < len(clip):
            raise RaihaError(f"There is no frame {way.anchor} to hold; the clip has {len(clip)}, counted from 0.")
        what = "covers everything" if way.anchor in shown else "is empty"
        raise RaihaError(f"The mask of frame {way.anchor} {what}, so its change cannot be held; choose another, for example {seen[0]}.")


def rendered(
    harmonizer: Harmonizer,
    clip: Clip,
    placed: Sequence[PlacedTransform | None],
    step: Callable[[], None] = lambda: None,
    **options: Any,
) -> Iterator[Picture]:
    """The harmonised frames, one after the other; those without foreground as they were.

    Args:
        placed: what `transforms` gave.
        step: called after every frame that was changed.
        options: of `Harmonizer.apply`.
    """
    for i, transform in enumerate(placed):
        if transform is None:
            yield clip.picture(i)
        else:
            yield harmonizer.apply(clip.picture(i), clip.mask(i), transform, **options)
            step()


def common_box(masks: Iterable[Mask], size: tuple[int, int], crops: bool) -> Box:
    """One box for a whole clip, around everywhere the foreground ever is.

    Args:
        masks: `(H, W)` each; at least one, and one not empty.
        size: (height, width) of the frames.
        crops: as the model's attribute says.
    """
    if not crops:
        return Box(0, 0, *size)
    union: Mask | None = None
    for mask in masks:
        union = mask.copy() if union is None else np.maximum(union, mask, out=union)
    assert union is not None, "a clip without masks"
    return crop_box(union)


def average(transforms: Sequence[PlacedTransform]) -> list[PlacedTransform]:
    """The mean transform for every frame.

    Raises:
        RaihaError: the model gives transforms that cannot be averaged.
    """
    count = len(transforms)
    [mean] = _mixed(transforms, torch.full((1, count), 1 / max(1, count)))
    return [replace(t, transform=mean) for t in transforms]


def smooth(
    transforms: Sequence[PlacedTransform], frames: float, at: Sequence[int] | None = None, to: Sequence[int] | None = None
) -> list[PlacedTransform]:
    """Transforms averaged over time with Gaussian weights, renormalised at both ends of the clip.

    Args:
        frames: standard deviation of the weights, in frames, > 0.
        at: the frames that the transforms belong to; None: one after the other.
        to: the frames to give transforms to; None: the same.

    Raises:
        RaihaError: the model gives transforms that cannot be averaged, or `frames` is not positive.
    """
    if not (math.isfinite(frames) and frames > 0):
        raise RaihaError(f"The smoothing is {frames} frames; give a positive number.")
    now = torch.as_tensor(range(len(transforms)) if at is None else at, dtype=torch.float32)
    then = now if to is None else torch.as_tensor(to, dtype=torch.float32)
    smoothed = _mixed(transforms, torch.softmax(-((then[:, None] - now) ** 2) / (2 * frames * frames), 1))
    return [replace(transforms[0], transform=m) for m in smoothed]


def flicker(transforms: Sequence[PlacedTransform]) -> float:
    """How much a transform changes from frame to frame: 255 times the mean change of a colour that it is applied to.

    Averaged over places and the 27 colours with channels of 0, 0.5 or 1; in steps of 8-bit values, 0 for one frame.

    Raises:
        RaihaError: the transforms are not all of one box.
    """
    if len({t.box for t in transforms}) > 1:
        raise RaihaError("The transforms are of different boxes, so they cannot be compared; predict them with one common box.")
    moved = [_moved(t) for t in transforms]
    changes = [(after - before).abs().mean() for before, after in pairwise(moved)]
    return float(torch.stack(changes).mean() * 255) if changes else 0.0


def _moved(placed: PlacedTransform) -> Tensor:
    """What becomes of the colours that `flicker` looks at, `(27, 1, 3, 16, 16)`."""
    at = (torch.arange(_POSITIONS) + 0.5) / _POSITIONS
    level = torch.tensor([0.0, 0.5, 1.0])
    transform = placed.transform.to("cpu")
    colours = torch.cartesian_prod(level, level, level)
    return torch.stack([transform(c[None, :, None, None].expand(1, 3, _POSITIONS, _POSITIONS), at, at) for c in colours])


def _mixed(transforms: Sequence[PlacedTransform], weights: Tensor) -> list[ColorTransform]:
    """Weighted sums of transforms, one for each row of `weights`."""
    maps = [t.transform for t in transforms]
    affine = [m for m in maps if isinstance(m, AffineMap)]
    local = [m for m in maps if isinstance(m, LocalColours)]
    stacked = [m.matrix for m in affine or local]
    same = len({m.shape for m in stacked}) == 1 and len({t.box for t in transforms}) == 1
    if not (same and len(stacked) == len(maps)):
        raise RaihaError("The transforms of this model cannot be averaged over time; harmonise each frame on its own.")
    sums = torch.einsum("tu,u...->t...", weights.to(stacked[0]), torch.stack(stacked))
    if affine:
        return [AffineMap(m) for m in sums]
    return [LocalColours(m, torch.zeros(3, 1, 1, device=m.device)) for m in sums]
