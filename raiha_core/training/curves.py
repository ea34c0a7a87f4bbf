"""Curves from a run's log."""

from __future__ import annotations

import json
from pathlib import Path


def plot_log(log: Path) -> Path:
    """Draw loss and validation over the steps of `log.jsonl`; returns the picture's path, beside the log.

    A run that was resumed may have logged a step twice; the later line counts.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [json.loads(line) for line in log.read_text().splitlines() if line.strip()] if log.is_file() else []
    loss = {r["step"]: r["loss"] for r in rows if "loss" in r}
    validation = {r["step"]: r["validation"] for r in rows if "validation" in r}
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4))
    axes[0].plot(sorted(loss), [loss[s] for s in sorted(loss)], linewidth=0.8)
    axes[0].set(xlabel="step", ylabel="training loss")
    steps = sorted(validation)
    for name in validation[steps[-1]] if steps else ():
        axes[1].plot(steps, [validation[s].get(name) for s in steps], label=name, marker=".")
    axes[1].set(xlabel="step", ylabel="fMSE on validation", yscale="log")
    if steps:
        axes[1].legend(fontsize=8)
    figure.tight_layout()
    target = log.with_name("curves.png")
    figure.savefig(target, dpi=110)
    pyplot.close(figure)
    return target
