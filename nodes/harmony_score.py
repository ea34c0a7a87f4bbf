"""Harmony Score: how well objects fit their scenes, to sort candidates or to gate a graph."""

from __future__ import annotations

import torch
from torch import Tensor

from ..raiha_core.score import harmony
from . import inputs
from .comfy import Steps, checked, io, schema
from .masks import RESIZE, SAME
from .models import managed
from .types import ReferenceSet, frames, named_references


class HarmonyScore(io.ComfyNode):
    """Sockets to core types and back."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What the node looks like."""
        return schema(
            node_id="RaihaHarmonyScore",
            display_name="Harmony Score",
            description="How well an object fits its scene, as a number and in words: to sort a batch of candidates, or to gate a graph.",
            search_aliases=[
                "raiha",
                "rank",
                "rate",
                "quality",
                "best of batch",
                "pick best",
                "filter images",
                "realism score",
                "评分",
                "挑选最佳",
            ],
            inputs=[
                io.Image.Input("image", tooltip="One picture or a batch of candidates."),
                io.Mask.Input("mask", tooltip="White where the object is. One mask for all images, or one for each."),
                inputs.model("raiha-s ships with the pack, and the table in the docs is of it. Other checkpoints go into models/raiha."),
                inputs.mask_size(),
                inputs.references(),
            ],
            outputs=[
                io.Float.Output(
                    "scores",
                    display_name="scores",
                    is_output_list=True,
                    tooltip="One for each image: 100 fits as it is; every 7 steps of colour difference that the model would make halve it.",
                ),
                io.String.Output("text", display_name="text", tooltip="A line for each image: its score, and what would change."),
                io.Image.Output("ranked", display_name="ranked", tooltip="The images, the most harmonious first."),
                io.Mask.Output("masks", display_name="masks", tooltip="Their masks, in the same order."),
            ],
        )

    @classmethod
    @checked("model")
    def execute(
        cls, image: Tensor, mask: Tensor, model: str = "raiha-s", mask_size: str = SAME, references: ReferenceSet | None = None
    ) -> io.NodeOutput:
        """Score every image; one without an object, or without a background, counts as 0."""
        batch = frames(image, mask, mask_size == RESIZE)
        harmonizer = managed(model).ready()
        prepared = harmonizer.prepare_references([p.picture for p in named_references(references, None)])
        scores, lines, masks = [], [], []
        steps = Steps(len(batch))
        for i in range(len(batch)):
            weight = batch.mask(i)
            masks.append(torch.from_numpy(weight))
            if not weight.any() or weight.min() >= 1:
                scores.append(0.0)
                lines.append(
                    "harmony 0 of 100: the mask shows no object" if not weight.any() else "harmony 0 of 100: the mask covers everything"
                )
            else:
                found = harmony(harmonizer, batch.picture(i), weight, prepared)
                scores.append(found.score)
                lines.append(found.text())
            steps.step()
        order = sorted(range(len(batch)), key=lambda i: -scores[i])
        text = "\n".join(f"image {i}: {line}" for i, line in enumerate(lines)) if len(lines) > 1 else lines[0]
        return io.NodeOutput(scores, text, image[order], torch.stack([masks[i] for i in order]))
