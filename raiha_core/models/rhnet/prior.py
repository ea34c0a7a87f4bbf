"""What RHNet knows of content: an encoder's map on the network's token grid."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...content import load_encoder
from ...content.dinov2 import create_vit, vit_features
from ...content.hub import NotHereError
from ...errors import RaihaError
from .denoiser import Denoiser

DINOV2 = "dinov2:vit_base_patch14_reg4_dinov2.lvd142m"
"""The paper's prior."""


class ContentPrior(nn.Module):
    """A frozen content encoder, with the optional denoising block.

    Args:
        name: as `load_encoder` takes it; its weights are never downloaded from here.
        channels: C, what the network expects.
        denoise: whether a denoising block follows.
        carried: whether the encoder's weights belong to this module's state (for `dinov2:` only).
    """

    def __init__(self, name: str, channels: int, *, denoise: bool = False, carried: bool = False):
        super().__init__()
        self.name, self.channels = name, channels
        kind, _, model = name.partition(":")
        if carried and kind != "dinov2":
            raise RaihaError(f"The weights of the content encoder {name} cannot travel with a model; only those of dinov2 can.")
        self.vit = create_vit(model.partition("@")[0]) if carried else None
        self.denoiser = Denoiser(channels).requires_grad_(False).eval() if denoise else None

    def config(self) -> dict[str, Any]:
        """The arguments of `RHNet` that say which prior it is."""
        return {"prior": self.name, "denoise": self.denoiser is not None, "carries_prior": self.vit is not None}

    @torch.no_grad()
    def forward(self, images: Tensor, side: int) -> Tensor:
        """The map of pictures `(B, 3, H, W)` in [0, 1]: `(B, C, side, side)`.

        Raises:
            RaihaError: the encoder's weights are not on this machine, or its maps have another number of channels.
        """
        if self.vit is not None:
            dense = vit_features(self.vit, images).dense
        else:
            try:
                encoder = load_encoder(self.name, device=images.device, download=False)
            except NotHereError:
                raise RaihaError(
                    f"This rhnet needs the content encoder {self.name}, which is not on this machine; store it in the model with"
                    " `raiha convert --dinov2 FILE`, or with `--fetch-dinov2`, which downloads it."
                ) from None
            # A clone, since what an encoder gives in inference mode cannot take part in training.
            dense = encoder.encode(images).dense.clone()
        if dense.shape[1] != self.channels:
            raise RaihaError(
                f"This rhnet expects {self.channels} channels of content, {self.name} gives {dense.shape[1]};"
                f" convert it again with `--prior` and the encoder it was trained with."
            )
        if self.denoiser is not None:
            dense = self.denoiser(dense)
        dense = dense.float()  # under autocast it may be bfloat16, which the antialiased resize does not know on a CPU
        if dense.shape[-1] != side:
            dense = F.interpolate(dense, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
        return dense
