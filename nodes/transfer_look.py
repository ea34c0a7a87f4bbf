"""Transfer Look: the light and colour of an edited version, at the original's size and in its detail."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..raiha_core.errors import RaihaError
from ..raiha_core.inputs import as_picture
from ..raiha_core.transfer import apply_look, fit_look
from . import inputs
from .comfy import Steps, checked, io, model_management, schema
from .masks import RESIZE, SAME, fitted


class TransferLook(io.ComfyNode):
    """Sockets to core types and back."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What the node looks like."""
        return schema(
            node_id="RaihaTransferLook",
            display_name="Transfer Look",
            description="Gives an original the light and colour of an edited version of it, at full resolution, with its own detail.",
            search_aliases=[
                "raiha",
                "relight",
                "detail transfer",
                "frequency separation",
                "restore details",
                "color match",
                "ic-light",
                "grade",
                "重打光",
                "保留细节",
                "色彩迁移",
            ],
            inputs=[
                io.Image.Input("original", tooltip="The picture whose detail is kept, at full resolution; or a clip's frames."),
                io.Image.Input(
                    "version",
                    tooltip="The same picture with the wanted light: relit, edited, graded, or through a VAE. Of any size. One for each "
                    "original, or one for all.",
                ),
                inputs.share("strength", 1.0, "0 leaves the original, 1 is the full change."),
                inputs.mask_size("original"),
                io.Mask.Input("mask", optional=True, tooltip="White where the look is to be transferred; without one, everywhere."),
            ],
            outputs=[
                io.Image.Output("image", display_name="image", tooltip="The original in the version's light."),
                io.Mask.Output(
                    "confidence",
                    display_name="confidence",
                    tooltip="White where both show the same, so that the change was followed closely; dark where something moved or was "
                    "drawn anew, so that only its smooth part was.",
                ),
            ],
        )

    @classmethod
    @checked()
    def execute(
        cls, original: Tensor, version: Tensor, strength: float = 1.0, mask_size: str = SAME, mask: Tensor | None = None
    ) -> io.NodeOutput:
        """Fit and apply frame by frame."""
        count, (height, width) = len(original), original.shape[1:3]
        if not count or not len(version):
            raise RaihaError("A batch is empty; connect at least one image to original and to version.")
        if len(version) not in (1, count):
            raise RaihaError(f"There are {len(version)} versions for {count} originals; give one for each, or one for all.")
        masks = None if mask is None else fitted(mask, count, (height, width), mask_size == RESIZE)
        device = model_management.intermediate_device()
        out = torch.empty_like(original, device=device)
        confidence = torch.empty(count, height, width, device=device)
        steps = Steps(count)
        for i, frame in enumerate(original):
            picture = as_picture(frame.permute(2, 0, 1), "The original")
            edited = as_picture(version[min(i, len(version) - 1)].permute(2, 0, 1), "The version")
            weight = np.ones((height, width), np.float32) if masks is None else masks.mask(i)
            if not weight.any():
                out[i], confidence[i] = frame, 0
                continue
            look = fit_look(picture, edited, None if masks is None else weight, model_management.get_torch_device())
            changed = torch.from_numpy(apply_look(picture, look, weight, strength).native()).to(out)
            out[i] = torch.where(torch.from_numpy(weight > 0)[..., None].to(device), changed, frame.to(device))
            shown = F.interpolate(look.confidence[None, None], size=(height, width), mode="bilinear", antialias=True, align_corners=False)
            confidence[i] = shown[0, 0].clamp(0, 1).to(device)
            steps.step()
        return io.NodeOutput(out, confidence)
