"""Train a config for a wall budget: the schedule's length follows from the clock, so that unlike models race for equal time.

python benchmarks/race.py CONFIG --minutes 58 [--validations 5] [--out DIR] [--set KEY=VALUE]
python benchmarks/race.py --plot docs/images/race.png RUN RUN ...        # curves of finished runs

Validation does not count: the clock stands still meanwhile. `log.jsonl` in the run's folder gets, beside the loss, samples seen,
wall and processor seconds; `model.safetensors` holds the averaged weights at the end.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from raiha_core.training.config import TrainConfig, read_config
from raiha_core.training.loop import Steps, Trainer
from raiha_core.training.sources import Triplets


class Racer(Trainer):
    """A trainer whose run ends with the clock instead of a step; it does not resume."""

    def race(self, seconds: float, validations: int) -> Path:
        """Train for `seconds` of wall time; returns the path of the averaged weights."""
        batches = Steps(self.config, self.mixture, 0, assembled=True)
        wall = processor = 0.0
        due, window = 1, []
        while wall < seconds:
            began, used = time.monotonic(), time.process_time()
            # A step's share of the schedule is the clock's share of the budget.
            length = round(self.step * seconds / wall) if wall else 10**9
            self.config = dataclasses.replace(self.config, steps=max(self.step + 1, length))
            batch = batches[self.step]
            assert isinstance(batch, Triplets)  # assembled, as asked for above
            window.append(self._train_step(batch))
            self.step += 1
            wall, processor = wall + time.monotonic() - began, processor + time.process_time() - used
            ended = wall >= seconds
            if self.step % 10 == 0 or ended:
                row = {"step": self.step, "samples": self.step * self.config.batch, "loss": float(np.mean(window[-50:]))}
                self._log(row | {"wall": wall, "processor": processor})
            if ended or wall >= due * seconds / validations:
                due += 1
                self.objective.save(self.ema.module, self.out / "model.safetensors", self.step)
                self._validate()
        return self.out / "model.safetensors"


def _config(path: Path, settings: list[str], out: Path | None) -> TrainConfig:
    overrides: dict[str, Any] = {k: json.loads(v) for k, v in (s.split("=", 1) for s in settings)}
    return read_config(path, overrides | ({"out": str(out)} if out else {}))


def plot(runs: list[Path], target: Path) -> None:
    """Draw validation over processor time and over samples, a line per run's folder."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 3.6), sharey=True)
    for run in runs:
        rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        spent = {r["step"]: r for r in rows if "processor" in r}
        # A validation's step need not be a logged one: what was spent up to the last logged one before it.
        at = [(spent[max(s for s in spent if s <= r["step"])], r["validation"]["mean"]) for r in rows if "validation" in r]
        for axis, key, scale in ((axes[0], "processor", 60), (axes[1], "samples", 1000)):
            axis.plot([row[key] / scale for row, _ in at], [mean for _, mean in at], marker="o", label=run.name)
    axes[0].set(xlabel="processor minutes", ylabel="mean fMSE on validation")
    axes[1].set(xlabel="thousand samples")
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(target, dpi=100)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, nargs="+", help="a config; with --plot, folders of finished runs")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--validations", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    if given.plot:
        plot(given.config, given.plot)
        return
    for config in given.config:
        print(Racer(_config(config, given.settings, given.out)).race(given.minutes * 60, given.validations))


if __name__ == "__main__":
    main()
