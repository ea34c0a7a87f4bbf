"""The content encoder that ships in the package: no download, no network, a few milliseconds.

Distilled by `raiha_core.training.distill` from an ImageNet MobileNetV2 so that what it says depends on what a
picture shows and not on its light or colours.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import RaihaError
from .backbone import WIDTHS, Backbone
from .base import ContentEncoder, ContentFeatures

WEIGHTS = Path(__file__).resolve().parent.parent / "weights" / "embedded.safetensors"
DIM = 256
INPUT = 192


class EmbeddedNet(nn.Module):
    """Backbone and projection to the distilled space."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.project = nn.Conv2d(WIDTHS[2] + WIDTHS[1], DIM, 1)

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures `(B, 3, H, W)` in [0, 1] to the global vector `(B, 256)` (not normalised) and map `(B, 256, H/16, W/16)`."""
        features = self.backbone(rgb)
        up = nn.functional.interpolate(features.last, size=features.sixteenth.shape[-2:], mode="bilinear", align_corners=False)
        dense = self.project(torch.cat([up, features.sixteenth], 1))
        return dense.mean((2, 3)), dense


class EmbeddedEncoder(ContentEncoder):
    """`embedded`: 256-dimensional, 192 px input, dense map at 1/16 resolution (12 x 12)."""

    id = "embedded"
    dim = DIM

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
            digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        except (OSError, SafetensorError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise RaihaError(
                f"The content encoder's weights {file} cannot be loaded ({reason}); reinstall the package or give another file."
            ) from None
        return cls(net, digest, device)

    @torch.inference_mode()
    def encode(self, images: Tensor) -> ContentFeatures:
        """See `ContentEncoder.encode`."""
        x = images.to(self.device, torch.float32).clamp(0, 1)
        x = nn.functional.interpolate(x, size=(INPUT, INPUT), mode="bilinear", antialias=True, align_corners=False)
        vector, dense = self.net(x)
        return ContentFeatures(nn.functional.normalize(vector, dim=1), dense)
