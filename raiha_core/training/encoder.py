"""Make the embedded content encoder: from a teacher, taught to see pasted objects as it sees them where they belong.

1. The teacher's pooled features are projected to their principal components, partly whitened.
2. The last blocks are trained on. The teacher looks at an object in its own photo, as it is; the student at the same
   object under another light, mirrored, in its photo and pasted into another one, and must say the same of it.
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..content.embedded import DIM, INPUT, EmbeddedNet
from ..content.mobilenet import MobileNetV2
from ..references.query import CONTEXT
from .distill import random_boxes, random_colours
from .layout import crop
from .pack import Pack
from .sources import as_float, mask_boxes, masks_at, pictures_at
from .timed import TimedRun, write

WHITENING = 0.25
"""Exponent: 0 leaves the components as loud as they are, 1 makes all equally loud."""

ARCHITECTURE = "embedded"

FROZEN = 14
"""Blocks that stay the teacher's: all above 1/32 resolution."""


@torch.no_grad()
def from_teacher(teacher: MobileNetV2, photos: NDArray[np.uint8], seed: int = 0, batch: int = 32) -> EmbeddedNet:
    """The teacher followed by the principal components of what it says of whole photos and of parts of them.

    Args:
        photos: `(N, P, P, 3)`, N at least `DIM`.
    """
    g = torch.Generator().manual_seed(seed)
    vectors: list[Tensor] = []
    for start in range(0, len(photos), batch):
        x = as_float(pictures_at(photos, np.arange(start, min(start + batch, len(photos)))))
        whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(len(x), 4)
        for boxes in (whole, random_boxes(len(x), g)):
            vectors.append(teacher(crop(x, boxes, INPUT).contiguous(memory_format=torch.channels_last)).mean((2, 3)))
    table = torch.cat(vectors)
    mean = table.mean(0)
    _, size, directions = torch.linalg.svd(table - mean, full_matrices=False)
    basis = directions[:DIM] / (size[:DIM, None] / len(table) ** 0.5).clamp_min(1e-6) ** WHITENING
    net = EmbeddedNet()
    net.backbone.load_state_dict(teacher.state_dict())
    net.project.weight.copy_(basis[:, :, None, None])
    assert net.project.bias is not None
    net.project.bias.copy_(-basis @ mean)
    return net


def query_boxes(boxes: NDArray[np.float32], context: float = CONTEXT) -> NDArray[np.float32]:
    """What retrieval looks at: the objects' boxes `(B, 4)` with a share of their longer side around."""
    margin = (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True) * context
    return np.concatenate([boxes[:, :2] - margin, boxes[:, 2:] + margin], 1).clip(0, 1).astype(np.float32)


def pooled(dense: Tensor, mask: Tensor) -> Tensor:
    """Unit vectors `(B, D)`: maps `(B, D, h, w)` averaged over masks `(B, 1, S, S)`."""
    weight = F.adaptive_avg_pool2d(mask, (dense.shape[-2], dense.shape[-1]))
    return F.normalize((dense * weight).sum((2, 3)) / weight.sum((2, 3)).clamp_min(1e-4), dim=1)


def adapt(net: EmbeddedNet, pack: Pack, photos: NDArray[np.int64], out: Path, minutes: float, batch: int = 32, seed: int = 0) -> None:
    """Train the last blocks for so many minutes and write the averaged weights.

    Args:
        net: what `from_teacher` made; its frozen copy is the teacher.
        photos: rows of the pack's photos that may be used.
    """
    boxes, areas = mask_boxes(pack.masks)
    usable = np.flatnonzero((areas > 0.01) & (areas < 0.6) & np.isin(pack.mask_photo, photos) & ~pack.mask_region)
    rng, g = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    teacher = copy.deepcopy(net).requires_grad_(False)
    net.backbone.blocks[:FROZEN].requires_grad_(False)
    run = TimedRun(net, minutes, rate=3e-4, weight_decay=0.01, warmup=50, clip=1.0, decay=0.995)
    for _ in run:
        rows = rng.choice(usable, batch)
        box = torch.from_numpy(query_boxes(boxes[rows]))
        clean = crop(as_float(pictures_at(pack.photos, pack.mask_photo[rows])), box, INPUT)
        mask = crop(as_float(masks_at(pack.masks, rows)), box, INPUT)
        scene = crop(as_float(pictures_at(pack.photos, rng.choice(photos, batch))), random_boxes(batch, g), INPUT)
        with torch.no_grad():
            goal_vector, goal = teacher(clean.contiguous(memory_format=torch.channels_last))
        relit = random_colours(clean, g)
        pasted = torch.lerp(scene, random_colours(clean, g), mask).flip(3)
        seen_vector, seen = net(torch.cat([relit, pasted]).contiguous(memory_format=torch.channels_last))
        here, there = seen[:batch], seen[batch:].flip(3)
        wanted = pooled(goal, mask)
        found = pooled(there, mask)
        whole, goal_whole = F.normalize(seen_vector[:batch], dim=1), F.normalize(goal_vector, dim=1)
        alike = (found @ whole.T - wanted @ goal_whole.T).square().mean()
        loss = (
            (1 - F.cosine_similarity(here, goal, dim=1)).mean()
            + (1 - (whole * goal_whole).sum(1)).mean()
            + 2 * (1 - (found * wanted).sum(1)).mean()
            + 5 * alike
        )
        run.descend(loss)
        if run.step % 25 == 0:
            run.report(batch)
            write(run.average, out, ARCHITECTURE)
    write(run.average, out, ARCHITECTURE)
