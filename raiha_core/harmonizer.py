"""From a composite and its mask to a harmonised picture, at any resolution.

The model sees a small square around the foreground and says how colours change; the change is applied to the original
pixels strip by strip. Pixels outside the mask are copied, never computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .errors import RaihaError
from .image import Box, Mask, Picture, alpha_mask, crop_box, fit_mask, full_scale, shrink
from .image.reduced import flattened
from .inputs import ImageLike, ReferenceLike, as_mask, as_picture, like, reference_picture
from .models import Attention, ColorTransform, HarmonizationModel, load_model

STRIP = 2**17
"""Pixels that are transformed at a time; small enough for the cache, large enough to keep the overhead low."""

_LUMA = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709


@dataclass(frozen=True)
class PlacedTransform:
    """A colour transform and the box of the composite that it belongs to."""

    transform: ColorTransform
    box: Box


@dataclass(frozen=True)
class Result:
    """What `harmonize` gives back.

    Attributes:
        image: of the composite's kind: `Picture` for a path, else PIL image, array or tensor.
        attention: where the foreground looked, if asked for.
        transform: what was applied, one per picture of a batch.
        references: the references as the model saw them, `(1, 3, S, S)` each.
    """

    image: Any
    attention: tuple[Attention, ...]
    transform: tuple[PlacedTransform, ...]
    references: tuple[Tensor, ...] = ()


class Harmonizer:
    """A loaded model, ready for any number of composites.

    Args:
        model: a name or file as `load_model` takes it, or a model.
        device: where the model runs and strips are computed; None takes the model's own, or the CPU.
    """

    def __init__(self, model: str | Path | HarmonizationModel = "raiha-s", device: torch.device | str | None = None):
        self.model = model if isinstance(model, HarmonizationModel) else load_model(model, device)
        if device is not None:
            self.model.to(_checked_device(device))
        self.model.eval()

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(iter(self.model.parameters()), torch.empty(0)).device

    def prepare_references(self, references: Sequence[ReferenceLike] | None) -> list[Tensor]:
        """References as the model wants them, `(1, 3, S, S)` each; what is transparent in one shows mid grey, as in the index.

        Raises:
            RaihaError: one cannot be read.
        """
        prepared = []
        for reference in references or ():
            picture = flattened(reference_picture(reference))
            box = Box(0, 0, *picture.size)
            prepared.append(shrink(picture.rgb, box, self.model.input_size).clamp(0, 1).to(self.device))
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
            RaihaError: the caution is no number from 0 to 1.
        """
        # Handed on only where it is given, so that models which know of no caution need not take it.
        more = {} if caution is None else {"caution": _within(caution, 1, "caution")}
        if box is None:
            box = crop_box(mask) if self.model.crops else Box(0, 0, *composite.size)
        size = self.model.input_size
        small = shrink(composite.rgb, box, size).to(self.device)
        small_mask = shrink(mask, box, size).clamp(0, 1).to(self.device)
        if float(small_mask.max()) < 0.05:
            # A foreground thinner than a pixel of the small picture: make it as strong as it can be seen.
            small_mask = small_mask / small_mask.max()
        with torch.inference_mode():
            prediction = self.model.predict(small, small_mask, list(references) or None, attention=attention, **more)
        return PlacedTransform(prediction.transform, box), prediction.attention

    def apply(self, composite: Picture, mask: Mask, placed: PlacedTransform, strength: float = 1.0) -> Picture:
        """Apply a transform to the foreground; everything outside the mask is copied bit for bit.

        Args:
            strength: 0 gives the input back, 1 the full effect, up to 2 more of the same; in proportion, within what can be shown.

        Returns:
            a new picture of the same depth; float pictures keep values above 1.
        """
        out = composite.rgb.copy()
        if strength > 0:
            rows, columns = np.flatnonzero(mask.max(1) > 0), np.flatnonzero(mask.max(0) > 0)
            left, right = int(columns[0]), int(columns[-1]) + 1
            step = max(1, STRIP // (right - left))
            for top in range(int(rows[0]), int(rows[-1]) + 1, step):
                part = slice(top, min(top + step, int(rows[-1]) + 1)), slice(left, right)
                weight = mask[part]
                if weight.any():
                    out[part] = self._apply_part(composite, part, weight, placed, strength)
        return composite.with_rgb(out)

    def _apply_part(
        self, composite: Picture, part: tuple[slice, slice], weight: NDArray[np.float32], placed: PlacedTransform, strength: float
    ) -> NDArray[Any]:
        pixels, box, device = composite.rgb[part], placed.box, self.device
        scale, top, left = full_scale(pixels), part[0].start, part[1].start
        h, w = weight.shape
        # Pixel centres in the box's unit square.
        y = (torch.arange(top, top + h, dtype=torch.float32, device=device) + 0.5 - box.top) / box.height
        x = (torch.arange(left, left + w, dtype=torch.float32, device=device) + 0.5 - box.left) / box.width
        # Planes first, then floats: transposing bytes is cheap.
        planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
        rgb = torch.from_numpy(planes).to(device).float()[None] / scale
        m = torch.from_numpy(np.ascontiguousarray(weight)).to(device)
        cover = None
        if composite.premultiplied and composite.alpha is not None:
            cover = torch.from_numpy(np.ascontiguousarray(composite.alpha[part], np.float32)).to(device).div_(scale)
        straight = rgb if cover is None else rgb / cover.clamp_min(1e-4)
        moved = placed.transform(straight, x, y)
        if composite.grey:
            moved = torch.einsum("c,bchw->bhw", moved.new_tensor(_LUMA), moved)[:, None].expand_as(moved)
        if strength > 1:
            moved, strength = straight + strength * (moved - straight), 1.0
        # Within what can be shown, unless the picture itself goes beyond.
        moved = torch.maximum(torch.minimum(moved, straight.clamp_min(1)), straight.clamp_max(0))
        moved = moved if cover is None else moved * cover
        mixed = torch.lerp(rgb, moved, strength * m)
        new = (mixed * scale)[0].cpu()
        if scale > 1:
            new = new.round_().clamp_(0, scale)
        # Soft weights of 0 must copy, whatever rounding would do.
        chosen = np.where(weight > 0, new.numpy().astype(pixels.dtype), planes)
        return np.ascontiguousarray(chosen.transpose(1, 2, 0))

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
        strength = _within(strength, 2, "strength")
        prepared = self.prepare_references(references)
        if isinstance(composite, Tensor) and composite.ndim == 4:
            return self._harmonize_batch(composite, mask, prepared, strength, caution, attention, resize_mask)
        picture = as_picture(composite, "The composite")
        fitted = fit_mask(alpha_mask(picture) if mask is None else as_mask(mask), picture.size, resize_mask)
        placed, look = self.predict(picture, fitted, prepared, attention=attention, caution=caution)
        result = self.apply(picture, fitted, placed, strength)
        return Result(like(result, composite), (look,) if look is not None else (), (placed,), tuple(prepared))

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
        masks = None if mask is None else _mask_batch(mask, len(composite))
        out = torch.empty_like(composite)
        looks, transforms = [], []
        for i, frame in enumerate(composite):
            picture = as_picture(frame, "The composite")
            fitted = fit_mask(alpha_mask(picture) if masks is None else masks[min(i, len(masks) - 1)], picture.size, resize_mask)
            placed, look = self.predict(picture, fitted, references, attention=attention, caution=caution)
            result = self.apply(picture, fitted, placed, strength)
            out[i] = like(result, frame)
            transforms.append(placed)
            if look is not None:
                looks.append(look)
        return Result(out, tuple(looks), tuple(transforms), tuple(references))


def _within(value: float, most: float, name: str) -> float:
    """A setting, checked.

    Raises:
        RaihaError: it is no number from 0 to `most`.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if isinstance(value, str) or not 0 <= number <= most:
        raise RaihaError(f"The {name} is {value!r}; give a number from 0 to {most:g}.")
    return number


def _checked_device(device: torch.device | str) -> torch.device:
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise RaihaError(f"The device {str(device)!r} is not to be had here; use cpu, or install a torch that supports it.") from None
    return chosen


def _mask_batch(mask: ImageLike, frames: int) -> list[Mask]:
    if not isinstance(mask, Tensor) or mask.ndim < 3 or mask.shape[0] == 1:
        return [as_mask(mask)]
    if len(mask) != frames:
        raise RaihaError(f"There are {len(mask)} masks for {frames} frames; give one mask for all frames or one per frame.")
    return [as_mask(m) for m in mask]


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
        mask: path, PIL image, array or tensor `(H, W)`, white = foreground, soft edges blend; None takes the composite's
            alpha. For a batch one mask, or `(B, 1, H, W)`.
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
