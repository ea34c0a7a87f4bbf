"""How many pictures a second raiha-s trains on, loaders included, and where a step's time goes.

python benchmarks/training.py CONFIG [--steps 40] [--size 128]
ACCELERATE_USE_CPU=true torchrun --nproc_per_node 2 benchmarks/training.py CONFIG      # a run of two processes, which share gradients

CONFIG is a training config; nothing of its run is read or written. Rates are printed, one line of JSON: `together`, what the run
gets with its loaders, in all processes, and what each side would reach alone in one of them: `loaders` (drawing, composing) and
`network` (forward, backward, update). Then the operators that take most of a step.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from raiha_core.training.config import read_config
from raiha_core.training.loop import Steps, Trainer
from raiha_core.training.sources import Triplets


def seconds(run: Any, times: int) -> float:
    """Mean seconds of `run(i)`; the first call does not count."""
    run(0)
    started = time.perf_counter()
    for i in range(1, times + 1):
        run(i)
    return (time.perf_counter() - started) / times


def main() -> None:
    """Measure one config."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--size", type=int, default=128)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sizes = ((0.0, options.size),)
        config = dataclasses.replace(read_config(options.config), out=folder, sizes=sizes, validation=None)
        trainer = Trainer(config)
        steps = Steps(config, trainer.mixture, trainer.accelerator.process_index, assembled=True)
        kept: list[Triplets] = []
        loading = seconds(lambda i: kept.append(steps[i]), min(options.steps, 20))  # type: ignore[arg-type]
        training = seconds(lambda i: trainer._train_step(kept[i % len(kept)]), min(options.steps, 20))
        loader = iter(torch.utils.data.DataLoader(steps, batch_size=None, sampler=range(options.steps + 1), num_workers=config.workers))
        together = seconds(lambda i: trainer._train_step(next(loader)), options.steps)
        with profile(activities=[ProfilerActivity.CPU]) as measured:
            for batch in kept[:4]:
                trainer._train_step(batch)
    if not trainer.accelerator.is_main_process:
        return
    processes = trainer.accelerator.num_processes
    rates = {"network": 1 / training, "loaders": 1 / loading, "together": processes / together}
    about = {"size": options.size, "batch": config.batch, "processes": processes, "workers": config.workers, "threads": config.threads}
    print(json.dumps({name: round(config.batch * value, 1) for name, value in rates.items()} | about))
    print(measured.key_averages().table(sort_by="self_cpu_time_total", row_limit=15, max_name_column_width=40))


if __name__ == "__main__":
    main()
