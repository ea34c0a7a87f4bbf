"""Runs that last for so many minutes: what distilling the backbone and adapting the encoder have in common."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, TypeVar, cast

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from .average import Average

N = TypeVar("N", bound=nn.Module)


class TimedRun(Generic[N]):
    """AdamW under half a cosine of time, with averaged weights: iterate over its steps, `descend` once in each.

    Args:
        net: what is trained, as far as its parameters want a gradient.
        minutes: how long.
        rate: learning rate after `warmup` steps.
        weight_decay: AdamW's.
        clip: largest norm of the gradient.
        decay: of the averaged weights, `average`.
    """

    def __init__(self, net: N, minutes: float, *, rate: float, weight_decay: float, warmup: int, clip: float, decay: float):
        self.net, self._averaged = net, Average(net, decay)
        self.average = cast(N, self._averaged.module)
        self.minutes, self.rate, self.warmup, self.clip = minutes, rate, warmup, clip
        self.trained = [p for p in net.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(self.trained, rate, weight_decay=weight_decay)
        self.step, self.spent, self._loss = 0, 0.0, 0.0

    def __iter__(self) -> Iterator[int]:
        """Numbers of steps, until the time is over; each sets its learning rate."""
        started = time.monotonic()
        while (spent := (time.monotonic() - started) / 60) < self.minutes:
            self.spent = spent
            for group in self.optimiser.param_groups:
                group["lr"] = self.rate * min(1.0, (self.step + 1) / self.warmup) * 0.5 * (1 + math.cos(math.pi * spent / self.minutes))
            yield self.step

    def descend(self, loss: Tensor) -> None:
        """One step down; ends the step."""
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.trained, self.clip)
        self.optimiser.step()
        self._averaged.follow(self.net, self.step)
        self._loss = 0.98 * self._loss + 0.02 * loss.item()
        self.step += 1

    def report(self, batch: int) -> None:
        """Print how far it is."""
        loss = self._loss / (1 - 0.98**self.step)
        print(f"step {self.step} samples {self.step * batch} loss {loss:.4f} minutes {self.spent:.1f}", flush=True)


def write(net: nn.Module, out: Path, architecture: str) -> None:
    """Save a net's weights as safetensors, with the name of its architecture."""
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, out, metadata={"architecture": architecture})
