"""Two versions of the code predict by turns, each in a process of its own: ratios that hold on busy machines, too.

python benchmarks/by_turns.py CHECKOUT OTHER_CHECKOUT [--repeats 40]

The shipped weights of each, on one core, on the same composite. Ratios are of processor seconds, OTHER_CHECKOUT to CHECKOUT: of the
least and of the medians.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

TASKS = {
    "alone": "a composite alone",
    "new": "with a new reference",
    "known": "with four references, met before",
    "bounds": "what bounds the answer",
}


def serve() -> None:
    """Do the tasks that are named on stdin, and print the seconds that each took."""
    import torch
    from prediction import ellipse, picture

    from raiha_core.bounds import bounded
    from raiha_core.models import load_model

    torch.set_num_threads(1)
    model, seeds = load_model("raiha-s"), itertools.count(1)
    size = model.input_size
    composite, mask = picture(size, 0), ellipse(size)
    answer = model.predict(composite, mask).transform
    known = [picture(size, 1000 + k) for k in range(4)]
    work: dict[str, Callable[[], object]] = {
        "alone": lambda: model.predict(composite, mask),
        "known": lambda: model.predict(composite, mask, known),
        "bounds": lambda: bounded(answer, composite, mask),
    }
    print("ready", flush=True)
    for line in sys.stdin:
        new = [picture(size, next(seeds))]
        task = work.get(line.strip(), lambda new=new: model.predict(composite, mask, new))
        began = time.process_time()
        with torch.inference_mode():
            task()
        print(time.process_time() - began, flush=True)


def started(checkout: Path) -> subprocess.Popen[str]:
    """A process that serves with a checkout's code."""
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve()), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--serve"]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert server.stdout is not None
    server.stdout.readline()
    return server


def asked(server: subprocess.Popen[str], task: str) -> float:
    """Seconds of one task."""
    assert server.stdin is not None and server.stdout is not None
    server.stdin.write(task + "\n")
    server.stdin.flush()
    return float(server.stdout.readline())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs="*", type=Path)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve()
        return
    if len(given.checkouts) != 2:
        parser.error("give two checkouts")
    servers = [started(checkout) for checkout in given.checkouts]
    print("| | least, ms | ratio of the least | ratio of the medians |\n| --- | --- | --- | --- |")
    for task, name in TASKS.items():
        found: list[list[float]] = [[], []]
        for i in range(given.repeats + 2):
            for k in (0, 1) if i % 2 else (1, 0):
                found[k].append(asked(servers[k], task) * 1000)
        old, new = (times[2:] for times in found)  # the first are not warm
        ratios = min(new) / min(old), statistics.median(new) / statistics.median(old)
        print(f"| {name} | {min(old):.0f}, {min(new):.0f} | {ratios[0]:.2f} | {ratios[1]:.2f} |", flush=True)
    for server in servers:
        assert server.stdin is not None
        server.stdin.close()


if __name__ == "__main__":
    main()
