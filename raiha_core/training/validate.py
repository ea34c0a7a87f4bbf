"""Validation during training: mean fMSE per kind on a triplet folder, at the model's own size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..evaluation import TripletFolder
from .losses import foreground_mse
from .squares import mask_square, picture_square

Render = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""(model, composite, mask) to the harmonised batch."""


def _read(path: Path, mode: str, size: int) -> Tensor:
    array = mask_square(path, size)[None] if mode == "L" else picture_square(path, size).transpose(2, 0, 1)
    return torch.from_numpy(array.astype(np.float32) / 255)[None]


class Validation:
    """Triplets held in memory as uint8-sized tensors; `index.jsonl` with `name` and `kind` splits the report."""

    def __init__(self, root: Path, size: int, batch: int = 16):
        items = tuple(TripletFolder(root))
        self.batch = batch
        self.composite = torch.cat([_read(item.composite, "RGB", size) for item in items])
        self.mask = torch.cat([_read(item.mask, "L", size) for item in items])
        self.real = torch.cat([_read(item.real, "RGB", size) for item in items])
        self.kinds = np.array([item.group or "all" for item in items])

    @torch.no_grad()
    def measure(self, model: nn.Module, render: Render) -> dict[str, float]:
        """Mean and median fMSE (0..255 scale) over all and per kind, and the mean on untouched photos.

        Args:
            model: is put into evaluation mode for the while.
            render: harmonises a batch with it, as `Objective.render` does.
        """
        was_training = model.training
        model.eval()
        device = next(model.parameters()).device
        errors: list[Tensor] = []
        untouched: list[Tensor] = []
        for i in range(0, len(self.composite), self.batch):
            composite, mask, real = (x[i : i + self.batch].to(device) for x in (self.composite, self.mask, self.real))
            for source, into in ((composite, errors), (real, untouched)):
                result = render(model, source, mask).clamp(0, 1)
                into.append(foreground_mse(result, real, mask).cpu() * 255**2)
        model.train(was_training)
        e = torch.cat(errors).numpy()
        report = {"mean": float(e.mean()), "median": float(np.median(e)), "untouched": float(torch.cat(untouched).mean())}
        return report | {str(k): float(e[self.kinds == k].mean()) for k in np.unique(self.kinds)}
