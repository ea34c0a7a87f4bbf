"""Harmonize Composite: the one node that a simple workflow needs."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..raiha_core import video
from ..raiha_core.drift import undo_drift
from ..raiha_core.errors import RaihaError
from ..raiha_core.harmonizer import PlacedTransform
from ..raiha_core.image import Picture
from ..raiha_core.inputs import as_picture
from ..raiha_core.parts import Part
from ..raiha_core.unchanged import visibly_changed, why_unchanged
from . import inputs
from .comfy import RaihaAttention, Steps, checked, io, model_management, schema
from .masks import RESIZE, SAME
from .models import managed
from .types import AttentionSource, Frames, ReferenceSet, frames, named_references

EACH, ONE, SMOOTH = "each image on its own", "video: one transform", "video: smoothed over time"
HOLD = "video: one frame's transform"
MODES: dict[str, video.Mode] = {EACH: "each", ONE: "one", HOLD: "anchor", SMOOTH: "smooth"}
BOTH = "both"
PARTS: dict[str, Part] = {BOTH: "both", "brightness": "brightness", "colour": "colour"}
ALL, OWN = "all of them for every image", "one for each image"


def _over_time() -> tuple[io.Combo.Input, io.Float.Input]:
    """How the frames of a clip are kept from flickering."""
    return (
        io.Combo.Input(
            "video_mode",
            options=[EACH, ONE, HOLD, SMOOTH],
            default=EACH,
            tooltip="For the frames of a clip choose one of the video modes, or the object's colours flicker.",
        ),
        io.Float.Input(
            "smoothing",
            default=4.0,
            min=0.5,
            max=100.0,
            step=0.5,
            tooltip="Only for 'video: smoothed over time': over how many frames to each side the change is averaged.",
        ),
    )


def _anchor() -> io.Int.Input:
    """Which frame the others follow."""
    return io.Int.Input(
        "anchor",
        default=0,
        min=0,
        max=100000,
        optional=True,
        tooltip="Only for 'video: one frame's transform': which frame, counted from 0.",
    )


class HarmonizeComposite(io.ComfyNode):
    """Sockets to core types and back."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What the node looks like."""
        return schema(
            node_id="RaihaHarmonizeComposite",
            display_name="Harmonize Composite",
            description="Gives a pasted or generated object the colour and tone of its scene. Only pixels under the mask change.",
            search_aliases=[
                "raiha",
                "image harmonization",
                "color match",
                "relight",
                "blend composite",
                "match lighting",
                "paste",
                "图像协调",
                "图像和谐化",
                "颜色匹配",
                "融合",
            ],
            inputs=[
                io.Image.Input("image", tooltip="The composite: a picture with something pasted or painted in, or the frames of a clip."),
                io.Mask.Input("mask", tooltip="White where the object is; soft edges blend. One mask for all images, or one for each."),
                inputs.model(),
                inputs.share(
                    "strength", 1.0, "0 leaves the image as it is, 1 is the full effect, above 1 goes on in the same direction.", most=2.0
                ),
                *_over_time(),
                inputs.references(),
                io.Image.Input("reference_images", optional=True, tooltip="Or any photos of your own that the object may borrow from."),
                inputs.share(
                    "caution", 0.0, "0 makes everything that the model proposes; up to 1 it makes less and less of what it doubts.", True
                ),
                io.Image.Input(
                    "original",
                    optional=True,
                    tooltip="After inpainting: the picture as it was before. Where nothing was painted it tells how the VAE shifted "
                    "the colours; the shift is taken back, and outside the mask the result is the original.",
                ),
                io.Combo.Input(
                    "what",
                    options=list(PARTS),
                    default=BOTH,
                    optional=True,
                    tooltip="Change brightness and colour, or only one of them.",
                ),
                _anchor(),
                io.Combo.Input(
                    "reference_use",
                    options=[ALL, OWN],
                    default=ALL,
                    optional=True,
                    tooltip="Of reference_images: all serve every image of the batch, or the first serves the first image and so on.",
                ),
                inputs.mask_size(optional=True),
            ],
            outputs=[
                io.Image.Output("harmonized", display_name="image", tooltip="The composite, its object harmonised."),
                RaihaAttention.Output("attention", display_name="attention", tooltip="Where the object looked; for Visualize Attention."),
            ],
        )

    @classmethod
    @checked("model")
    def execute(
        cls,
        image: Tensor,
        mask: Tensor,
        model: str = "raiha-s",
        strength: float = 1.0,
        video_mode: str = EACH,
        smoothing: float = 4.0,
        references: ReferenceSet | None = None,
        reference_images: Tensor | None = None,
        caution: float = 0.0,
        original: Tensor | None = None,
        what: str = BOTH,
        anchor: int = 0,
        reference_use: str = ALL,
        mask_size: str = SAME,
    ) -> io.NodeOutput:
        """Harmonise frame by frame into one output; see the help page."""
        batch = frames(image, mask, mask_size == RESIZE)
        if original is not None:
            batch = stitched(batch, original)
        pictures = named_references(references, reference_images, reference_use == OWN)
        shared, own = pictures, 0
        if reference_use == OWN:
            own = 0 if reference_images is None else len(reference_images)
            if own != len(batch):
                raise RaihaError(
                    f"There are {own} reference images for {len(batch)} images; give one for each, or use all for every image."
                )
            shared = pictures[: len(pictures) - own]
        loaded = managed(model)
        harmonizer = loaded.ready()
        prepared = harmonizer.prepare_references([p.picture for p in pictures])
        common = prepared[: len(shared)]
        each = [[*common, r] for r in prepared[len(shared) :]] or [common]
        way = video.Way(MODES[video_mode], smoothing, anchor)
        shown = sum(not batch.empty(i) for i in range(len(batch)))
        steps = Steps(shown + (1 if way.mode == "anchor" else shown))
        out = torch.empty_like(batch.images, device=model_management.intermediate_device())
        placed, pieces = video.harmonize_clip(
            harmonizer,
            batch,
            each,
            way,
            steps.step,
            lambda i: place_in(out, i),
            strength=strength,
            caution=caution,
            part_of_change=PARTS[what],
        )
        notices = collect(out, batch, placed, pieces, strength, harmonizer.model.input_size)
        notices = [*batch.notices(), *notices]
        for notice in notices:
            logging.getLogger("raiha").warning("Harmonize Composite: %s", notice)
        boxes = tuple(p.box if p else None for p in placed)
        return io.NodeOutput(out, AttentionSource(loaded, batch, boxes, pictures, own), ui={"text": notices})


def stitched(batch: Frames, original: Tensor) -> Frames:
    """The batch without what a VAE did to its colours: outside the masks it is the original.

    Raises:
        RaihaError: the originals do not fit.
    """
    count = len(batch)
    if len(original) not in (1, count):
        raise RaihaError(f"There are {len(original)} originals for {count} images; give one for each, or one for all.")
    out = torch.empty_like(batch.images)
    for i in range(count):
        before = _with_channels_of(batch.images[i], original[min(i, len(original) - 1)].to(batch.images))
        picture = as_picture(before.permute(2, 0, 1), "The original")
        if batch.empty(i):
            out[i] = before
            continue
        mask = batch.mask(i)
        mended = torch.from_numpy(undo_drift(batch.picture(i), picture, mask).native()).to(out)
        out[i] = torch.where(torch.from_numpy(mask > 0)[..., None].to(out.device), mended, before)
    return Frames(out, batch.masks)


def _with_channels_of(frame: Tensor, before: Tensor) -> Tensor:
    """The original `(H, W, C)` with as many channels as the frame has; the alpha that it lacks is the frame's."""
    if before.shape[-1] >= frame.shape[-1] or before.shape[:2] != frame.shape[:2]:
        return before[..., : frame.shape[-1]]
    return torch.cat([before, frame[..., before.shape[-1] :]], -1)


def place_in(out: Tensor, i: int) -> NDArray[np.float32] | None:
    """Where frame `i` can be written to as it is; None where its type, its channels or its place are others than the core's."""
    plain = out.dtype == torch.float32 and out.device.type == "cpu" and out.shape[-1] == 3
    return out[i].numpy() if plain else None


def collect(
    out: Tensor, batch: Frames, placed: Sequence[PlacedTransform | None], pictures: Iterable[Picture], strength: float, seen_at: int
) -> list[str]:
    """Fill `out` with the harmonised frames in ComfyUI's form; says why nothing was changed where that is so.

    What lies outside the masks is taken from the input, in its precision. `seen_at` is the side of the picture that the model saw.
    """
    reasons: dict[str, int] = {}
    for i, picture in enumerate(pictures):
        place, there = placed[i], place_in(out, i)
        if place is None:
            out[i] = batch.images[i].to(out.device)
            continue
        before, mask = batch.picture(i), batch.mask(i)
        if strength > 0 and not visibly_changed(before, picture, mask):
            why = why_unchanged(before, mask, place.box, seen_at, place.transform, strength)
            reasons[why] = reasons.get(why, 0) + 1
        if there is not None and np.may_share_memory(there, picture.rgb):
            continue
        changed = torch.from_numpy(picture.native()).to(out)
        out[i] = torch.where(torch.from_numpy(mask > 0)[..., None].to(out.device), changed, batch.images[i].to(out.device))
    return [why if len(batch) == 1 else f"{why} ({count} of {len(batch)} images)" for why, count in reasons.items()]
