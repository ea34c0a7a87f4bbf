"""The content encoder that ships in the package: no download, no network, a few milliseconds.

An ImageNet MobileNetV2 and a projection to fewer dimensions, taught by `scripts/make_encoder.py` to say the same
of an object under any light and before any background.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..checkpoint import digest
from ..errors import RaihaError
from .base import Box, ContentEncoder, ContentFeatures
from .mobilenet import LAST, MobileNetV2

WEIGHTS = Path(__file__).resolve().parent.parent / "weights" / "embedded.safetensors"
DIM = 256
INPUT = 192
REGION_INPUT = 320
"""Side of the picture from whose dense map regions are pooled: a region of 0.55 of it is looked at nearly as closely as alone."""


_RESIZE: dict[str, Any] = {"mode": "bilinear", "antialias": True, "align_corners": False}


class EmbeddedNet(nn.Module):
    """Backbone and projection to the space that is searched."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = MobileNetV2()
        self.project = nn.Conv2d(LAST, DIM, 1)

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures `(B, 3, H, W)` in [0, 1] to the global vector `(B, 256)` (not normalised) and map `(B, 256, H/32, W/32)`."""
        dense = self.project(self.backbone(rgb))
        return dense.mean((2, 3)), dense


class EmbeddedEncoder(ContentEncoder):
    """`embedded`: 256-dimensional, 192 px input, dense map at 1/32 resolution (6 x 6)."""

    id = "embedded"
    dim = DIM
    region_side = REGION_INPUT

    def __init__(self, net: EmbeddedNet, weights_hash: str, device: torch.device | str = "cpu"):
        self.net = net.eval().to(device)
        self.weights_hash = weights_hash
        self.device = torch.device(device)

    @classmethod
    def load(cls, path: Path | None = None, device: torch.device | str = "cpu") -> EmbeddedEncoder:
        """Load the shipped weights, or those at `path`.

        Raises:
            RaihaError: the file is missing or is not an embedded encoder.
        """
        file = path or WEIGHTS
        net = EmbeddedNet()
        try:
            net.load_state_dict(load_file(file))
            weights_hash = digest(file)
        except (OSError, SafetensorError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise RaihaError(
                f"The content encoder's weights {file} cannot be loaded ({reason}); reinstall the package or give another file."
            ) from None
        return cls(net, weights_hash, device)

    @torch.inference_mode()
    def encode(self, images: Tensor) -> ContentFeatures:
        """See `ContentEncoder.encode`."""
        x = images.to(self.device, torch.float32).clamp(0, 1)
        x = nn.functional.interpolate(x, size=(INPUT, INPUT), **_RESIZE)
        vector, dense = self.net(x.contiguous(memory_format=torch.channels_last))
        return ContentFeatures(nn.functional.normalize(vector, dim=1), dense)

    @torch.inference_mode()
    def encode_regions(self, images: Sequence[Tensor], boxes: Sequence[Box]) -> Tensor:
        """See `ContentEncoder.encode_regions`: one look at each whole picture, of whose dense map the regions are means.

        The global vector is the mean of the dense map in any case; a pass for each region took three times as long.
        """
        squares = [nn.functional.interpolate(i.to(self.device, torch.float32), (REGION_INPUT,) * 2, **_RESIZE) for i in images]
        x = torch.cat(squares).clamp(0, 1).contiguous(memory_format=torch.channels_last)
        dense = self.net(x)[1]
        shares = torch.stack([_cover(box, dense.shape[-2], dense.shape[-1]) for box in boxes]).to(dense)
        return nn.functional.normalize(torch.einsum("bchw,rhw->brc", dense, shares), dim=2).cpu()


def _cover(box: Box, height: int, width: int) -> Tensor:
    """How much of each cell of a map a box covers, `(height, width)`."""
    x, y = torch.arange(width), torch.arange(height)
    columns = (torch.minimum(x + 1, torch.tensor(box[2] * width)) - torch.maximum(x, torch.tensor(box[0] * width))).clamp_min(0)
    rows = (torch.minimum(y + 1, torch.tensor(box[3] * height)) - torch.maximum(y, torch.tensor(box[1] * height))).clamp_min(0)
    return rows[:, None] * columns
