"""From a composite and its mask to a harmonised picture, at any resolution.

The model sees a small square around the foreground and says how colours change; the change is applied to the original
pixels strip by strip. Pixels outside the mask are copied, never computed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from .apply import PlacedTransform as PlacedTransform
from .apply import apply_transform
from .bounds import bounded
from .errors import RaihaError
from .image import Box, Mask, NotedMask, Picture, crop_box, fit_noted_mask
from .image.view import view, view_mask
from .inputs import ImageLike, ReferenceLike, as_picture, like, noted_mask, noted_masks, reference_picture
from .models import Attention, HarmonizationModel, load_model
from .parts import Part
from .settings import checked_device, switch, within
from .unchanged import visibly_changed, why_unchanged


@dataclass(frozen=True)
class Result:
    """What `harmonize` gives back.

    Attributes:
        image: of the composite's kind: `Picture` for a path, else PIL image, array or tensor.
        attention: where the foreground looked, if asked for.
        transform: what was applied, one per picture of a batch.
        references: the references as the model saw them, `(1, 3, S, S)` each.
        changed: whether anything that can be seen was changed, one per picture of a batch.
        notices: sentences that the user should see, such as why nothing was changed; empty where all went as expected.
    """

    image: Any
    attention: tuple[Attention, ...]
    transform: tuple[PlacedTransform, ...]
    references: tuple[Tensor, ...] = ()
    changed: tuple[bool, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Done:
    picture: Picture
    placed: PlacedTransform
    attention: tuple[Attention, ...]
    changed: bool
    notices: tuple[str, ...]


class Shown(NamedTuple):
    """What a model is shown of a composite: `picture` `(1, 3, S, S)` and `mask` `(1, 1, S, S)`, squashed from the `box` of it."""

    picture: Tensor
    mask: Tensor
    box: Box


class Harmonizer:
    """A loaded model, ready for any number of composites.

    Args:
        model: a name or file as `load_model` takes it, or a model.
        device: where the model runs and strips are computed; None takes the model's own, or the CPU.
    """

    def __init__(self, model: str | Path | HarmonizationModel = "raiha-s", device: torch.device | str | None = None):
        chosen = None if device is None else checked_device(device)
        self.model = model if isinstance(model, HarmonizationModel) else load_model(_named(model), chosen)
        if chosen is not None:
            self.model.to(chosen)
        self.model.eval()

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(iter(self.model.parameters()), torch.empty(0)).device

    def prepare_references(self, references: Sequence[ReferenceLike] | None) -> list[Tensor]:
        """References as the model wants them, `(1, 3, S, S)` each; colours under full transparency do not count.

        Raises:
            RaihaError: one cannot be read, or they are no list.
        """
        if references is not None and not isinstance(references, list | tuple):
            raise RaihaError(f"The references are a {type(references).__name__}; give a list of pictures, also for one.")
        prepared = []
        for reference in references or ():
            picture = reference_picture(reference)
            box = Box(0, 0, *picture.size)
            prepared.append(view(picture, box, self.model.input_size).clamp(0, 1).to(self.device))
        return prepared

    def predict(
        self,
        composite: Picture,
        mask: Mask,
        references: Sequence[Tensor] = (),
        *,
        box: Box | None = None,
        attention: bool = False,
        caution: float | None = None,
    ) -> tuple[PlacedTransform, Attention | None]:
        """Predict the colour transform of a composite's foreground without applying it.

        Args:
            composite: the picture, any size.
            mask: `(H, W)` in [0, 1], fitted by `fit_mask`.
            references: as `prepare_references` gives them.
            box: where to look; None chooses. Give all frames of a clip the same box, so that transforms can be averaged.
            attention: also say where the foreground looked.
            caution: see `harmonize`.

        Raises:
            RaihaError: the caution is no number from 0 to 1, or the model's answer is not finite.
        """
        seen = self.shown(composite, mask, box)
        with torch.inference_mode():
            prediction = self.model.predict(seen.picture, seen.mask, list(references) or None, attention=attention, **_cautiously(caution))
            transform = bounded(prediction.transform, seen.picture, seen.mask)
        return PlacedTransform(transform, seen.box), prediction.attention

    def shown(self, composite: Picture, mask: Mask, box: Box | None = None, same_mask: Shown | None = None) -> Shown:
        """What the model is shown of a composite; arguments as for `predict`.

        Args:
            same_mask: what it was shown of another composite with this mask and box, so that both are not looked for again.
        """
        if same_mask is not None:
            return same_mask._replace(picture=view(composite, same_mask.box, self.model.input_size, mask).to(self.device))
        if box is None:
            box = crop_box(mask) if self.model.crops else Box(0, 0, *composite.size)
        size = self.model.input_size
        return Shown(view(composite, box, size, mask).to(self.device), view_mask(mask, box, size).to(self.device), box)

    def predict_shown(
        self, shown: Sequence[Shown], references: Sequence[Tensor] = (), *, caution: float | None = None
    ) -> list[PlacedTransform]:
        """As `predict`, for several composites together, such as frames of a clip; the references serve all of them.

        Args:
            shown: what `shown` gave; at least one.
            references: as `prepare_references` gives them.
            caution: see `harmonize`.

        Raises:
            RaihaError: as `predict`.
        """
        pictures, masks = torch.cat([s.picture for s in shown]), torch.cat([s.mask for s in shown])
        with torch.inference_mode():
            found = self.model.predict_batch(pictures, masks, list(references) or None, **_cautiously(caution))
            return [PlacedTransform(bounded(t, s.picture, s.mask), s.box) for t, s in zip(found, shown, strict=True)]

    def apply(
        self,
        composite: Picture,
        mask: Mask,
        placed: PlacedTransform,
        strength: float = 1.0,
        part_of_change: Part = "both",
        into: NDArray[Any] | None = None,
    ) -> Picture:
        """Apply a transform where the model is; see `apply_transform`."""
        return apply_transform(composite, mask, placed, strength, part_of_change, self.device, into)

    def harmonize(
        self,
        composite: ImageLike,
        mask: ImageLike | None = None,
        references: Sequence[ReferenceLike] | None = None,
        *,
        strength: float = 1.0,
        caution: float | None = None,
        attention: bool = False,
        resize_mask: bool = False,
    ) -> Result:
        """Harmonise one composite, or a batch given as a tensor. See `harmonize` for arguments and errors."""
        strength = within(strength, 2, "strength")
        attention, resize_mask = switch(attention, "attention"), switch(resize_mask, "resize_mask")
        prepared = self.prepare_references(references)
        if isinstance(composite, Tensor) and composite.ndim == 4:
            return self._harmonize_batch(composite, mask, prepared, strength, caution, attention, resize_mask)
        picture = as_picture(composite, "The composite")
        done = self._one(picture, noted_mask(mask, picture), prepared, strength, caution, attention, resize_mask)
        return Result(like(done.picture, composite), done.attention, (done.placed,), tuple(prepared), (done.changed,), done.notices)

    def _one(
        self,
        picture: Picture,
        mask: NotedMask,
        references: list[Tensor],
        strength: float,
        caution: float | None,
        attention: bool,
        resize_mask: bool,
        into: NDArray[Any] | None = None,
    ) -> _Done:
        fitted, notices = fit_noted_mask(mask, picture, resize_mask)
        placed, attended = self.predict(picture, fitted, references, attention=attention, caution=caution)
        result = self.apply(picture, fitted, placed, strength, into=into)
        changed = strength > 0 and visibly_changed(picture, result, fitted)
        if strength > 0 and not changed:
            notices += (why_unchanged(picture, fitted, placed.box, self.model.input_size, placed.transform, strength),)
        return _Done(result, placed, () if attended is None else (attended,), changed, picture.notices + notices)

    def _harmonize_batch(
        self,
        composite: Tensor,
        mask: ImageLike | None,
        references: list[Tensor],
        strength: float,
        caution: float | None,
        attention: bool,
        resize_mask: bool,
    ) -> Result:
        if not len(composite):
            raise RaihaError("The batch of composites is empty; give at least one.")
        masks = None if mask is None else noted_masks(mask, len(composite))
        out = torch.empty_like(composite)
        all_done = []
        for i, frame in enumerate(composite):
            picture = as_picture(frame, "The composite")
            own = noted_mask(None, picture) if masks is None else masks[min(i, len(masks) - 1)]
            room = _room(out[i])
            done = self._one(picture, own, references, strength, caution, attention, resize_mask, room)
            if room is None:
                out[i] = like(done.picture, frame)
            all_done.append(done)
        return Result(
            out,
            tuple(attended for done in all_done for attended in done.attention),
            tuple(done.placed for done in all_done),
            tuple(references),
            tuple(done.changed for done in all_done),
            tuple(dict.fromkeys(n for done in all_done for n in done.notices)),
        )


def _room(frame: Tensor) -> NDArray[Any] | None:
    """A frame `(C, H, W)` as an array that a result can be put into, where it holds the samples of a picture as they are."""
    fits = frame.device.type == "cpu" and frame.dtype == torch.float32 and frame.shape[0] == 3
    return frame.permute(1, 2, 0).numpy() if fits else None


def _named(model: Any) -> str | Path:
    """A model's name or path.

    Raises:
        RaihaError: it is something else.
    """
    if not isinstance(model, str | os.PathLike):
        raise RaihaError(f"The model is a {type(model).__name__}; give a name, the path of a checkpoint, or a loaded model.")
    return model if isinstance(model, str) else Path(model)


def _cautiously(caution: float | None) -> dict[str, float]:
    """Handed on only where it is given, so that models which know of no caution need not take it."""
    return {} if caution is None else {"caution": within(caution, 1, "caution")}


def harmonize(
    composite: ImageLike,
    mask: ImageLike | None = None,
    references: Sequence[ReferenceLike] | None = None,
    model: str | Path | HarmonizationModel = "raiha-s",
    strength: float = 1.0,
    device: torch.device | str | None = None,
    attention: bool = False,
    resize_mask: bool = False,
    caution: float | None = None,
) -> Result:
    """Make a composite's foreground look as if it had been photographed in its scene.

    Args:
        composite: path, `Picture`, PIL image, array `(H, W, 3 or 4)` (uint8, uint16, float), or tensor `(3, H, W)` or
            `(B, 3, H, W)`, sRGB, float white at 1.
        mask: path, PIL image, array or tensor `(H, W)`, white = foreground, soft edges blend; its brightest value counts as
            white. None takes the composite's alpha. For a batch one mask, or `(B, 1, H, W)`.
        references: photos that show how such things look in such light, any number: as `composite`, or results of
            `ReferenceIndex.retrieve`.
        model: name of a shipped model, path of a checkpoint, or a loaded model.
        strength: 0 (input) over 1 (full effect) to 2 (twice as far in the same direction, within what can be shown).
        device: where to compute.
        attention: also return where the foreground looked.
        resize_mask: scale a mask of another size instead of refusing it.
        caution: 0 makes everything that the model proposes, up to 1 less and less of what it doubts; None is what measured best
            for the model.

    Raises:
        RaihaError: with one sentence for every mistake named in the modules `image` and `models`.

    Source: Raiha (arXiv 2412.13916) for the task and the attention; transforms applied at full resolution as in
    DCCF and PCT-Net.
    """
    return Harmonizer(model, device).harmonize(
        composite, mask, references, strength=strength, caution=caution, attention=attention, resize_mask=resize_mask
    )
