"""Retrieve References: photos that show such things in such light."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..raiha_core.errors import RaihaError
from ..raiha_core.references import Reference, References
from ..raiha_core.references.index import DEFAULT_COUNT, DEFAULT_LIGHT, DEFAULT_WEIGHT
from . import indexes, inputs
from .comfy import RaihaIndex, RaihaPicks, RaihaReferences, Steps, checked, io, schema
from .masks import RESIZE, SAME
from .picks import parse
from .sentences import in_comfyui
from .types import IndexHandle, ReferenceSet, frames, to_images

SIDE = 768
"""Of the square pictures at the `images` output."""


class RetrieveReferences(io.ComfyNode):
    """Sockets to core types and back."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What the node looks like."""
        return schema(
            node_id="RaihaRetrieveReferences",
            display_name="Retrieve References",
            description="Finds photos that show things like the object, under light like the scene's. Click a photo to pin it.",
            search_aliases=["raiha", "reference", "gallery", "similar images", "image search", "retrieval", "参考图", "以图搜图"],
            inputs=[
                RaihaIndex.Input("index", tooltip="From Load Reference Index."),
                io.Image.Input("image", tooltip="The composite. Of a batch, the first image that shows the object is taken."),
                io.Mask.Input("mask", tooltip="White where the object is."),
                io.Int.Input("top_k", default=DEFAULT_COUNT, min=1, max=16, tooltip="How many photos at most; pinned ones count."),
                inputs.share("weight", DEFAULT_WEIGHT, "0 looks for similar content only, 1 for similar light only."),
                inputs.share("minimum_score", 0.0, "Photos that fit worse than this are left out; pinned ones stay."),
                # No tooltip: it would lie over the photos, and the strip says itself what to do.
                RaihaPicks.Input("picks", default="{}", optional=True, socketless=True),
                inputs.mask_size(optional=True),
                inputs.share(
                    "minimum_light",
                    DEFAULT_LIGHT,
                    "Photos whose light is less like the scene's are left out; pinned ones stay.",
                    optional=True,
                ),
            ],
            outputs=[
                RaihaReferences.Output("references", display_name="references", tooltip="For Harmonize Composite."),
                io.Image.Output("images", display_name="images", tooltip="The photos, cut square around the part that matched."),
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, picks: str | None = None) -> bool | str:
        """Say what is wrong before anything runs."""
        try:
            parse(picks)
        except RaihaError as error:
            return str(error)
        return True

    @classmethod
    @checked()
    def execute(
        cls,
        index: IndexHandle,
        image: Tensor,
        mask: Tensor,
        top_k: int = DEFAULT_COUNT,
        weight: float = DEFAULT_WEIGHT,
        minimum_score: float = 0.0,
        picks: str = "{}",
        mask_size: str = SAME,
        minimum_light: float = DEFAULT_LIGHT,
    ) -> io.NodeOutput:
        """Search, and tell the widget what was found."""
        batch, chosen = frames(image, mask, mask_size == RESIZE), parse(picks)
        first = batch.first_seen()
        composite = batch.picture(first).rgb_tensor().clamp(0, 1)
        area = torch.from_numpy(batch.mask(first))[None, None]
        with indexes.installed():
            found = index.index.retrieve(
                composite, area, top_k, weight=weight, min_illumination=minimum_light, pinned=chosen.pinned, excluded=chosen.excluded
            )
        kept = [r for r in found if r.pinned or r.score >= minimum_score]
        steps = Steps(len(kept))
        squares = []
        for reference in kept:
            squares.append(square(reference))
            steps.step()
        return io.NodeOutput(ReferenceSet(tuple(kept)), to_images(squares, SIDE), ui=for_widget(kept, found, index.key))


def square(reference: Reference) -> Tensor:
    """A photo cut to `(1, 3, SIDE, SIDE)`, as much of it as a square can hold, with the matched region near the middle."""
    photo = reference.load()
    height, width = photo.shape[2:]
    side = min(height, width)
    x0, y0, x1, y1 = reference.region
    left = min(max(0, round((x0 + x1) / 2 * width - side / 2)), width - side)
    top = min(max(0, round((y0 + y1) / 2 * height - side / 2)), height - side)
    part = photo[:, :, top : top + side, left : left + side]
    return F.interpolate(part, size=(SIDE, SIDE), mode="bilinear", antialias=True).clamp(0, 1)


def for_widget(kept: list[Reference], found: References, key: str) -> dict[str, list[Any]]:
    """What `web/gallery.js` shows: stable addresses, scores, names, notices."""
    photos = [
        {
            "id": r.id,
            "index": key,
            "name": r.path.name,
            "content": round(r.content, 3),
            "illumination": round(r.illumination, 3),
            "width": r.size[0],
            "height": r.size[1],
        }
        for r in kept
    ]
    notices = [in_comfyui(notice) for notice in found.notices]
    if not kept:
        notices.append("No photo fits. Lower the minimum score or the minimum light, clear the picks, or add photos to the gallery.")
    return {"raiha_references": photos, "raiha_notices": notices}
