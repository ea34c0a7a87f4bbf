from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from raiha_core.training.average import Average
from raiha_core.training.timed import TimedRun


def test_the_average_follows_slowly_and_begins_young() -> None:
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    average, weight = Average(net, decay=0.9), net[0].weight
    values = []
    for step in range(300):
        with torch.no_grad():
            weight.fill_(float(step))
            net[1].running_mean.fill_(float(step))
        average.follow(net, step)
        values.append(average.module[0].weight.item())
    assert values[0] == 0.0 and values[1] == pytest.approx(1 - 2 / 11)  # decay (1 + 1) / (10 + 1)
    assert values[2] == pytest.approx(values[1] * 3 / 12 + 2 * 9 / 12)
    assert 299 - values[-1] == pytest.approx(0.9 / 0.1, rel=0.05), "in the long run it lags by decay / (1 - decay) steps"
    assert average.module[1].running_mean.item() == pytest.approx(values[-1]), "buffers are averaged too"


def test_a_timed_run_averages_likewise(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr("raiha_core.training.timed.time.monotonic", lambda: float(next(clock)))
    torch.manual_seed(0)
    net = nn.Linear(2, 1)
    run, twin = TimedRun(net, 10 / 60, rate=0.1, weight_decay=0.0, warmup=1, clip=1.0, decay=0.5), Average(copy.deepcopy(net), 0.5)
    steps = 0
    for step in run:
        run.descend(net(torch.ones(1, 2)).square().sum())
        twin.follow(net, step)
        steps += 1
    assert steps == 9 and run.step == 9
    assert all(torch.equal(a, b) for a, b in zip(run.average.parameters(), twin.module.parameters(), strict=True))
    assert not torch.equal(run.average.weight, net.weight)
