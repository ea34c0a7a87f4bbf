"""Distil the backbone that raiha-s starts from out of a teacher's features.

The teacher sees each photo as it is; the student sees crops, flips and strong colour changes of it and must say the
same, so that what it says depends on the content and not on the light. Relational knowledge is kept by matching the
teacher's features after PCA, dense and pooled.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from ..content.mobilenet import MobileNetV2
from ..errors import RaihaError
from ..models.raiha_s.backbone import WIDTHS, Backbone
from .layout import crop
from .pack import build_pack
from .sources import as_float, pictures_at
from .timed import TimedRun, write


def load_teacher(folder: Path) -> MobileNetV2:
    """The ImageNet MobileNetV2 in `folder/mobilenet_v2.safetensors`, for inference.

    The file holds `w0, b0, w1, b1, ...`, the convolutions in order with batch norm folded in; the classifier comes last and
    is left out. Only tensors are read; nothing of the folder is run.

    Raises:
        RaihaError: the file is missing or holds another network.
    """
    file, net = folder / "mobilenet_v2.safetensors", MobileNetV2()
    try:
        state = load_file(file)
        with torch.no_grad():
            for i, layer in enumerate(net.filters()):
                assert layer.bias is not None
                layer.weight.copy_(state[f"w{i}"])
                layer.bias.copy_(state[f"b{i}"])
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise RaihaError(
            f"The teacher {file} cannot be loaded ({str(error).splitlines()[0]}); give the folder of the MobileNetV2."
        ) from None
    return net.requires_grad_(False).eval()


class Student(nn.Module):
    """raiha-s's backbone and a projection to the teacher's space."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.project = nn.Conv2d(WIDTHS[2] + WIDTHS[1], DIM, 1)

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures `(B, 3, H, W)` in [0, 1] to their vectors `(B, DIM)` and maps `(B, DIM, H/16, W/16)`."""
        features = self.backbone(rgb)
        up = F.interpolate(features.last, size=features.sixteenth.shape[-2:], mode="bilinear", align_corners=False)
        dense = self.project(torch.cat([up, features.sixteenth], 1))
        return dense.mean((2, 3)), dense


DIM = 256


@torch.inference_mode()
def teacher_targets(photos: NDArray[np.uint8], teacher: MobileNetV2, cache: Path, size: int = 224, batch: int = 32) -> Tensor:
    """PCA-reduced, whitened-to-unit-variance teacher maps, `(N, DIM, h, w)` float16."""
    if cache.is_file():
        return torch.from_numpy(np.load(cache, mmap_mode="r"))
    maps: list[Tensor] = []
    for start in range(0, len(photos), batch):
        x = as_float(pictures_at(photos, np.arange(start, min(start + batch, len(photos)))))
        x = F.interpolate(x, size=(size, size), mode="bilinear", antialias=True)
        maps.append(teacher(x.contiguous(memory_format=torch.channels_last)).half())
    dense = torch.cat(maps)
    pooled = dense.float().mean((2, 3))
    mean = pooled.mean(0)
    sample = (
        dense[torch.randperm(len(dense), generator=torch.Generator().manual_seed(0))[:2000]].float().permute(0, 2, 3, 1).flatten(0, 2)
        - mean
    )
    # Directions in which both whole pictures and places differ; whitening evens out the few loud ones.
    joint = torch.cat([pooled - mean, sample[:: max(1, len(sample) // len(pooled))]])
    _, s, v = torch.linalg.svd(joint, full_matrices=False)
    basis = v[:DIM].T
    basis = basis / (s[:DIM] / len(joint) ** 0.5).clamp_min(1e-6) ** 0.5
    out = torch.cat([torch.einsum("bchw,cd->bdhw", d.float() - mean[:, None, None], basis).half() for d in dense.split(256)])
    out = out / out.float().std()
    np.save(cache, out.half().numpy())
    return out.half()


def random_colours(x: Tensor, generator: torch.Generator) -> Tensor:
    """A strong random change of light: gain per channel, gamma, channel mixing, and sometimes grey. `(B, 3, H, W)`."""
    b = len(x)

    def u(*shape: int, low: float, high: float) -> Tensor:
        return torch.rand(shape, generator=generator) * (high - low) + low

    gamma = torch.exp(u(b, 1, 1, 1, low=-0.6, high=0.6))
    gain = torch.exp(u(b, 1, 1, 1, low=-0.6, high=0.35) + u(b, 3, 1, 1, low=-0.3, high=0.3))
    grey = x.mean(1, keepdim=True)
    saturation = u(b, 1, 1, 1, low=0.0, high=1.6)
    x = (grey + (x - grey) * saturation).clamp(1e-4, 1)
    return (x**gamma * gain).clamp(0, 1)


def random_boxes(n: int, generator: torch.Generator, low: float = 0.35) -> Tensor:
    """Random crop boxes `(n, 4)` as x0, y0, x1, y1 in [0, 1], each side between `low` and 1."""
    size = low + (1 - low) * torch.rand(n, 2, generator=generator) ** 0.7
    origin = torch.rand(n, 2, generator=generator) * (1 - size)
    return torch.cat([origin, origin + size], 1)


def distill(
    pack: Path, data: Path, teacher: MobileNetV2, out: Path, minutes: float, batch: int = 48, size: int = 160, seed: int = 0
) -> None:
    """Train a student for so many minutes and write EMA weights to `out`."""
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed)
    photos = build_pack(data, pack).photos
    targets = teacher_targets(photos, teacher, pack / "teacher.npy")
    net = Student().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    run = TimedRun(net, minutes, rate=2e-3, weight_decay=0.02, warmup=200, clip=2.0, decay=0.998)
    for _ in run:
        index = torch.randint(len(photos), (batch,), generator=g)
        x = as_float(pictures_at(photos, index.numpy()))
        t = targets[index].float()
        boxes = random_boxes(batch, g)
        x, t = crop(x, boxes, size), crop(t, boxes, size // 16)
        if torch.rand(1, generator=g) < 0.5:
            x, t = x.flip(3), t.flip(3)
        x = random_colours(x, g).contiguous(memory_format=torch.channels_last)
        vector, dense = net(x)
        goal = t.mean((2, 3))
        loss = (
            F.smooth_l1_loss(dense, t)
            + (1 - F.cosine_similarity(dense, t, dim=1)).mean()
            + 2 * (1 - F.cosine_similarity(vector, goal, dim=1)).mean()
        )
        similar = F.normalize(vector) @ F.normalize(vector).T - F.normalize(goal) @ F.normalize(goal).T
        run.descend(loss + 5 * similar.square().mean())
        if run.step % 50 == 0:
            run.report(batch)
        if run.step % 500 == 0:
            write(run.average, out, "backbone")
    write(run.average, out, "backbone")
