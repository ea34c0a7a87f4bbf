"""Harmonize Composite: the one node that a simple workflow needs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..raiha_core import video
from ..raiha_core.harmonizer import Harmonizer, PlacedTransform
from ..raiha_core.image import Box
from . import folders
from .comfy import RaihaAttention, RaihaReferences, Steps, io, model_management, schema
from .models import managed
from .types import AttentionSource, Frames, ReferenceSet, frames, named_references

EACH, ONE, SMOOTH = "each image on its own", "video: one transform", "video: smoothed over time"


class HarmonizeComposite(io.ComfyNode):
    """Sockets to core types and back."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What the node looks like."""
        return schema(
            node_id="RaihaHarmonizeComposite",
            display_name="Harmonize Composite",
            description="Gives a pasted or generated object the colour and tone of its scene. Only pixels under the mask change.",
            search_aliases=["raiha", "image harmonization", "color match", "relight", "blend composite", "match lighting", "paste"],
            inputs=[
                io.Image.Input("image", tooltip="The composite: a picture with something pasted or painted in, or the frames of a clip."),
                io.Mask.Input("mask", tooltip="White where the object is; soft edges blend. One mask for all images, or one for each."),
                io.Combo.Input(
                    "model",
                    options=folders.model_names(),
                    default="raiha-s",
                    tooltip="raiha-s ships with the pack. Other checkpoints go into models/raiha.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="0 leaves the image as it is, 1 is the full effect, above 1 goes on in the same direction.",
                ),
                io.Combo.Input(
                    "video_mode",
                    options=[EACH, ONE, SMOOTH],
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
                RaihaReferences.Input(
                    "references", optional=True, tooltip="Photos from Retrieve References that show such things in such light."
                ),
                io.Image.Input("reference_images", optional=True, tooltip="Or any photos of your own that the object may borrow from."),
                io.Float.Input(
                    "caution",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    optional=True,
                    tooltip="0 makes everything that the model proposes; up to 1 it makes less and less of what it doubts.",
                ),
            ],
            outputs=[
                io.Image.Output("harmonized", display_name="image", tooltip="The composite, its object harmonised."),
                RaihaAttention.Output("attention", display_name="attention", tooltip="Where the object looked; for Visualize Attention."),
            ],
        )

    @classmethod
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
    ) -> io.NodeOutput:
        """Harmonise frame by frame into one output; see the help page."""
        batch = frames(image, mask)
        pictures = named_references(references, reference_images)
        loaded = managed(model)
        harmonizer = loaded.ready()
        prepared = harmonizer.prepare_references([p.picture for p in pictures])
        seen = [i for i in range(len(batch)) if not batch.empty(i)]
        steps = Steps(2 * len(seen))
        box = None
        if video_mode != EACH:
            box = video.common_box([batch.mask(i) for i in seen], (image.shape[1], image.shape[2]), harmonizer.model.crops)
        placed = predict(harmonizer, batch, seen, prepared, box, steps, caution)
        if video_mode == ONE:
            placed = dict(zip(seen, video.average(list(placed.values())), strict=True))
        elif video_mode == SMOOTH:
            placed = dict(zip(seen, video.smooth(list(placed.values()), smoothing), strict=True))
        out = apply(harmonizer, batch, placed, strength, steps)
        boxes = tuple(placed[i].box if i in placed else None for i in range(len(batch)))
        return io.NodeOutput(out, AttentionSource(loaded, batch, boxes, pictures))


def predict(
    harmonizer: Harmonizer,
    batch: Frames,
    seen: Sequence[int],
    references: list[Tensor],
    box: Box | None,
    steps: Steps,
    caution: float | None = None,
) -> dict[int, PlacedTransform]:
    """A transform for every frame that shows some foreground."""
    placed = {}
    for i in seen:
        placed[i], _ = harmonizer.predict(batch.picture(i), batch.mask(i), references, box=box, caution=caution)
        steps.step()
    return placed


def apply(harmonizer: Harmonizer, batch: Frames, placed: dict[int, PlacedTransform], strength: float, steps: Steps) -> Tensor:
    """The harmonised frames; those without foreground are copied."""
    out = torch.empty_like(batch.images, device=model_management.intermediate_device())
    for i, frame in enumerate(batch.images):
        if i not in placed:
            out[i] = frame
            continue
        mask = batch.mask(i)
        result = harmonizer.apply(batch.picture(i), mask, placed[i], strength)
        changed = torch.from_numpy(result.native()).to(out)
        out[i] = torch.where(torch.from_numpy(mask > 0)[..., None].to(out.device), changed, frame.to(out.device))
        steps.step()
    return out
