"""From a clip to its transforms and its harmonised frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..errors import RaihaError
from ..harmonizer import Harmonizer, PlacedTransform, Shown
from ..image import Box, Mask, Picture, crop_box
from ..parts import Part
from .clip import Clip, Way
from .mixing import Smoothed, check_smoothing, mean

EACH = Way()
"""Each frame on its own."""
BATCH = 8
"""Frames that a model looks at together."""


def harmonize_clip(
    harmonizer: Harmonizer,
    clip: Clip,
    references: Sequence[Sequence[Tensor]] = ((),),
    way: Way = EACH,
    step: Callable[[], None] = lambda: None,
    into: Callable[[int], NDArray[Any] | None] = lambda _: None,
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
        into: see `rendered`.
        strength: see `harmonize`.
        caution: see `harmonize`.
        part_of_change: see `Harmonizer.apply`.

    Returns:
        the transforms, see `transforms`, and the frames, made one by one as they are taken.

    Raises:
        RaihaError: see `transforms`.
    """
    placed = transforms(harmonizer, clip, references, way, step, caution=caution)
    return placed, rendered(harmonizer, clip, placed, step, into, strength=strength, part_of_change=part_of_change)


def transforms(
    harmonizer: Harmonizer,
    clip: Clip,
    references: Sequence[Sequence[Tensor]] = ((),),
    way: Way = EACH,
    step: Callable[[], None] = lambda: None,
    *,
    caution: float | None = None,
) -> list[PlacedTransform | None]:
    """The transform of every frame of a clip; None where a frame shows no foreground.

    A frame whose foreground covers everything has no background to match; where transforms are averaged or held, it gets that of the
    others.

    Args:
        references: as `prepare_references` gives them: one sequence for all frames, or one for each.
        step: called after every frame that was looked at.
        caution: see `harmonize`.

    Raises:
        RaihaError: no foreground anywhere, no background where one is needed, an anchor that is none, transforms that cannot be averaged.
    """
    plan = look(harmonizer, clip, way)
    found = predictions(harmonizer, clip, plan, references, step, caution=caution)
    return list(Spread(plan, list(found)))


@dataclass(frozen=True)
class Plan:
    """What there is to do with a clip.

    Attributes:
        frames: how many there are.
        way: how they are harmonised.
        shown: the frames that show foreground.
        wanted: those that a model is to look at.
        box: where it is to look in all of them; None where each frame has its own.
    """

    frames: int
    way: Way
    shown: list[int]
    wanted: list[int]
    box: Box | None


def look(harmonizer: Harmonizer, clip: Clip, way: Way, step: Callable[[], None] = lambda: None) -> Plan:
    """Look at all masks of a clip.

    Args:
        step: called after every frame.

    Raises:
        RaihaError: as `transforms`, but for transforms that cannot be averaged.
    """
    shown, seen = [], []
    kinds: dict[int, tuple[bool, bool]] = {}
    union: Mask | None = None
    for i in range(len(clip)):
        number = clip.mask_number(i)
        if number not in kinds:
            mask = clip.mask(i)
            kinds[number] = bool(mask.max() > 0), bool(mask.min() < 1)
            if kinds[number][0] and way.mode != "each":
                union = mask.copy() if union is None else np.maximum(union, mask, out=union)
        foreground, background = kinds[number]
        shown += [i] if foreground else []
        seen += [i] if foreground and background else []
        step()
    _check(len(clip), shown, seen, way)
    box = None
    if union is not None:
        box = crop_box(union) if harmonizer.model.crops else Box(0, 0, *union.shape)
    return Plan(len(clip), way, shown, [way.anchor] if way.mode == "anchor" else seen, box)


def _check(frames: int, shown: list[int], seen: list[int], way: Way) -> None:
    if not shown:
        raise RaihaError("The mask is empty (all black), so there is no foreground; paint the object white.")
    if way.mode == "smooth":
        check_smoothing(way.smoothing)
    covered = sorted(set(shown) - set(seen))
    where = f" of frame {covered[0]}" if covered and frames > 1 else ""
    if covered and (way.mode == "each" or not seen):
        hint = "is it inverted?" if not seen else "choose a video mode, in which such a frame gets the change of the others."
        raise RaihaError(f"The mask{where} covers the whole image, so there is no background to match; {hint}")
    if way.mode == "anchor" and way.anchor not in seen:
        if not 0 <= way.anchor < frames:
            raise RaihaError(f"There is no frame {way.anchor} to hold; the clip has {frames}, counted from 0.")
        what = "covers everything" if way.anchor in shown else "is empty"
        raise RaihaError(f"The mask of frame {way.anchor} {what}, so its change cannot be held; choose another, for example {seen[0]}.")


def predictions(
    harmonizer: Harmonizer,
    clip: Clip,
    plan: Plan,
    references: Sequence[Sequence[Tensor]] = ((),),
    step: Callable[[], None] = lambda: None,
    *,
    caution: float | None = None,
    start: int = 0,
) -> Iterator[PlacedTransform]:
    """What a model says of the wanted frames, one after the other; `BATCH` of them are looked at together.

    Args:
        references: see `transforms`.
        step: called after every frame.
        caution: see `harmonize`.
        start: how many of the wanted frames to leave out; a multiple of `BATCH` gives the same as no start does.

    Raises:
        RaihaError: references for some frames only.
    """
    if len(references) not in (1, plan.frames):
        raise RaihaError(f"There are references for {len(references)} frames of {plan.frames}; give the same for all, or some for each.")
    last: tuple[int, Shown] | None = None
    size = BATCH if len(references) == 1 else 1
    for first in range(start, len(plan.wanted), size):
        frames = plan.wanted[first : first + size]
        seen: list[Shown] = []
        for i in frames:
            number = clip.mask_number(i)
            last = last if last is not None and last[0] == number else None
            shown = harmonizer.shown(clip.picture(i), clip.mask(i), plan.box, last[1] if last else None)
            seen, last = [*seen, shown], (number, shown)
        for placed in harmonizer.predict_shown(seen, references[frames[0] if len(references) > 1 else 0], caution=caution):
            yield placed
            step()


class Spread(Sequence[PlacedTransform | None]):
    """The transforms of all frames, from those of the frames that were looked at; each is made when it is asked for.

    Args:
        plan: what was to be done.
        found: the transforms of the wanted frames.

    Raises:
        RaihaError: transforms that cannot be averaged.
    """

    def __init__(self, plan: Plan, found: Sequence[PlacedTransform]):
        self._plan, self._found, self._shown = plan, found, set(plan.shown)
        self._own = {i: n for n, i in enumerate(plan.wanted)}
        self._one = mean(found) if plan.way.mode == "one" else found[0] if plan.way.mode == "anchor" else None
        self._smoothed = Smoothed(found, plan.way.smoothing, plan.wanted) if plan.way.mode == "smooth" else None

    def __len__(self) -> int:
        return self._plan.frames

    def __getitem__(self, i: Any) -> Any:
        """The transform of frame `i`, None where it shows no foreground."""
        if i >= len(self):
            raise IndexError(i)
        if i not in self._shown:
            return None
        if self._smoothed is not None:
            return self._smoothed.at(i)
        return self._found[self._own[i]] if self._one is None else self._one


def rendered(
    harmonizer: Harmonizer,
    clip: Clip,
    placed: Sequence[PlacedTransform | None],
    step: Callable[[], None] = lambda: None,
    into: Callable[[int], NDArray[Any] | None] = lambda _: None,
    **options: Any,
) -> Iterator[Picture]:
    """The harmonised frames, one after the other; those without foreground as they were.

    Args:
        placed: what `transforms` gave.
        step: called after every frame that was changed.
        into: gives, for a frame's number, an array of its shape and type to put the result into, or None.
        options: of `Harmonizer.apply`.
    """
    for i, transform in enumerate(placed):
        if transform is None:
            yield clip.picture(i)
        else:
            yield harmonizer.apply(clip.picture(i), clip.mask(i), transform, into=into(i), **options)
            step()
