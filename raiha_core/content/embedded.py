"""The content encoder that ships in the package: no download, no network, a few milliseconds.

An ImageNet MobileNetV2 and a projection to fewer dimensions, taught by `scripts/make_encoder.py` to say the same
of an object under any light and before any background.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..checkpoint import digest
from ..errors import RaihaError
from .base import ContentEncoder, ContentFeatures, Region, cut_to
from .mobilenet import LAST, MobileNetV2

WEIGHTS = Path(__file__).resolve().parent.parent / "weights" / "embedded.safetensors"
DIM = 256
INPUT = 192
CHUNK = 6
"""Pictures that go through the network together: with more, what lies between its layers leaves the processor's cache."""


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

    def __init__(self, net: EmbeddedNet, weights_hash: str, device: torch.device | str = "cpu"):
        self.net = net.eval().to(device).to(memory_format=torch.channels_last)
        self.weights_hash = weights_hash
        self.device = torch.device(device)
        # Of half the size, and half the time, where the processor multiplies bfloat16; emulated elsewhere, and slower.
        self._rough = copy.deepcopy(self.net).to(torch.bfloat16) if self.device.type == "cpu" and multiplies_bfloat16() else self.net

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
        x = nn.functional.interpolate(x, size=(INPUT, INPUT), mode="bilinear", antialias=True, align_corners=False)
        vector, dense = self.net(x.contiguous(memory_format=torch.channels_last))
        return ContentFeatures(nn.functional.normalize(vector, dim=1), dense)

    @torch.inference_mode()
    def encode_regions(self, images: Sequence[Tensor], boxes: Sequence[Region]) -> Tensor:
        """See `ContentEncoder.encode_regions`; in bfloat16 where the processor has it, which costs no recall (docs/retrieval.md)."""
        weights = next(self._rough.parameters())
        parts = torch.cat([cut_to(image, boxes, INPUT) for image in images]).to(weights).contiguous(memory_format=torch.channels_last)
        vectors = torch.cat([self._rough(chunk)[0] for chunk in parts.split(CHUNK)]).float().cpu()
        return nn.functional.normalize(vectors, dim=1).reshape(len(images), len(boxes), -1)


def multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for products of bfloat16."""
    known: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # Not in older versions of torch.
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))
