"""Visualize Attention: where the object looked."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..raiha_core.attention import attention_panels, render_attention
from ..raiha_core.errors import RaihaError
from .comfy import RaihaAttention, checked, io, schema
from .types import AttentionSource

WHOLE, POINT = "whole object", "one point"


class VisualizeAttention(io.ComfyNode):
    """Sockets to core types and back."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What the node looks like."""
        return schema(
            node_id="RaihaVisualizeAttention",
            display_name="Visualize Attention",
            description="Shows where the object looked to find its colours: in the scene, and in every reference.",
            search_aliases=["raiha", "attention map", "heatmap", "explain", "saliency", "注意力图", "热力图"],
            inputs=[
                RaihaAttention.Input("attention", tooltip="From Harmonize Composite."),
                io.Combo.Input(
                    "style",
                    options=[WHOLE, POINT],
                    default=WHOLE,
                    tooltip="The attention of the whole object added up, or of the single point (x, y) of it.",
                ),
                io.Float.Input(
                    "x", default=0.5, min=0.0, max=1.0, step=0.01, tooltip="For 'one point': 0 is the image's left edge, 1 its right."
                ),
                io.Float.Input(
                    "y",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="For 'one point': 0 is the top, 1 the bottom. The nearest point of the object is taken.",
                ),
                io.Int.Input("frame", default=0, min=0, max=100000, tooltip="Which image of a batch, counted from 0."),
                io.Int.Input("size", default=512, min=128, max=2048, step=64, tooltip="Long side of a panel in pixels."),
            ],
            outputs=[
                io.Image.Output("sheet", display_name="sheet", tooltip="All panels as one picture, with captions and a colour scale."),
                io.Image.Output(
                    "panels", display_name="panels", is_output_list=True, tooltip="The composite's panel and then one for every reference."
                ),
            ],
        )

    @classmethod
    @checked()
    def execute(
        cls, attention: AttentionSource, style: str = WHOLE, x: float = 0.5, y: float = 0.5, frame: int = 0, size: int = 512
    ) -> io.NodeOutput:
        """Look again at one frame and draw it."""
        batch = attention.frames
        if frame >= len(batch):
            raise RaihaError(f"There is no frame {frame}; the batch has {len(batch)}, counted from 0.")
        if batch.empty(frame):
            raise RaihaError(f"The mask of frame {frame} is empty, so nothing looked anywhere; choose another frame.")
        if not batch.mask(frame).min() < 1:
            raise RaihaError(f"The mask of frame {frame} covers everything, so there is nothing to look at; choose another frame.")
        found = attention.of(frame)
        picture, mask, box = batch.picture(frame), batch.mask(frame), attention.boxes[frame]
        named = attention.references_of(frame)
        references = [r.picture for r in named]
        query = (x, y) if style == POINT else None
        labels = [r.name for r in named]
        sheet = render_attention(found, picture, mask, references, box=box, query=query, labels=labels, side=size)
        panels = attention_panels(found, picture, mask, references, box=box, query=query, side=size)
        drawn: Tensor = torch.from_numpy(np.asarray(sheet, np.float32) / np.float32(255))[None]
        return io.NodeOutput(drawn, [torch.from_numpy(p)[None] for p in panels])
