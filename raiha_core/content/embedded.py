"""The content encoder that ships in the package: no download, no network, a few milliseconds.

An ImageNet MobileNetV2 and a projection to fewer dimensions, taught by `scripts/make_encoder.py` to say the same
of an object under any light and before any background.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from ..checkpoint import digest
from ..errors import RaihaError
from .base import ContentEncoder, ContentFeatures, Region
from .mobilenet import LAST, MobileNetV2

WEIGHTS = Path(__file__).resolve().parent.parent / "weights" / "embedded.safetensors"
DIM = 256
INPUT = 192
LOOK = 320
"""Side in pixels at which `encode_regions` looks at a photo: a map of 10 x 10 cells."""
CHUNK = 3
"""Pictures that go through the network together: with more, what lies between its layers leaves the processor's cache."""


def grid(count: int, width: float) -> tuple[Region, ...]:
    """`count` times `count` boxes, `width` of each side wide, evenly spread."""
    starts = [i * (1 - width) / (count - 1) for i in range(count)]
    return tuple((x, y, x + width, y + width) for y in starts for x in starts)


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
    region_side = 448
    more_regions = grid(3, 0.4)

    def __init__(self, net: EmbeddedNet, weights_hash: str, device: torch.device | str = "cpu"):
        self.net = net.eval().to(device).to(memory_format=torch.channels_last)
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
        x = F.interpolate(x, size=(INPUT, INPUT), mode="bilinear", antialias=True, align_corners=False)
        vector, dense = self.net(x.contiguous(memory_format=torch.channels_last))
        return ContentFeatures(F.normalize(vector, dim=1), dense)

    @functools.cached_property
    def _rough(self) -> EmbeddedNet:
        """The network in bfloat16, in half the time, where the processor multiplies it; elsewhere that is emulated and slower."""
        return copy.deepcopy(self.net).to(torch.bfloat16) if self.device.type == "cpu" and multiplies_bfloat16() else self.net

    @torch.inference_mode()
    def encode_regions(self, images: Sequence[Tensor], boxes: Sequence[Region]) -> Tensor:
        """See `ContentEncoder.encode_regions`: means of the cells that a region covers in the map of one look at the whole picture.

        In bfloat16 where the processor has it. What both cost and find is in docs/retrieval.md.
        """
        weights = next(self._rough.parameters())
        looks = torch.cat([F.interpolate(image, (LOOK, LOOK), mode="bilinear", antialias=True, align_corners=False) for image in images])
        looks = looks.clamp(0, 1).to(weights).contiguous(memory_format=torch.channels_last)
        dense = torch.cat([self._rough(chunk)[1] for chunk in looks.split(CHUNK)]).float()
        shares = torch.stack([cover(box, dense.shape[-2], dense.shape[-1]) for box in boxes]).to(dense)
        return F.normalize(torch.einsum("bchw,rhw->brc", dense, shares), dim=2).cpu()


def cover(box: Region, height: int, width: int) -> Tensor:
    """How much of each cell of a map a box covers, `(height, width)` in [0, 1]."""
    overlaps = []
    for start, stop, cells in ((box[1], box[3], height), (box[0], box[2], width)):
        place = torch.arange(cells)
        overlaps.append((torch.clamp(place + 1, max=stop * cells) - torch.clamp(place, min=start * cells)).clamp_min(0))
    return overlaps[0][:, None] * overlaps[1]


def multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for products of bfloat16."""
    known: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # Not in older versions of torch.
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))
