"""Averaged weights, which are what is kept of a run: torch's, with a decay that begins low."""

from __future__ import annotations

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class Average(AveragedModel):
    """An exponential moving average of a network's parameters and buffers; `module` is the averaged network.

    Args:
        net: what is trained.
        decay: how much of the average stays with each step, in the long run.
    """

    def __init__(self, net: nn.Module, decay: float):
        super().__init__(net, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
        self.decay = decay

    def follow(self, net: nn.Module, step: int) -> None:
        """Move towards the net after a step (0 is the first); averages begin young, so that early ones are usable."""
        self.multi_avg_fn = get_ema_multi_avg_fn(min(self.decay, (1 + step) / (10 + step)))
        self.update_parameters(net)
