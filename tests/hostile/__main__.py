"""`make hostile`: many hostile cases in children with limits of memory and time; prints how they ended, and what was wrong.

python -m tests.hostile --cases 10000 [--kinds picture,mask] [--seed 0] [--memory 4] [--seconds 20]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from collections import Counter
from multiprocessing.connection import Connection
from typing import Any

BATCH = 200
"""Cases that one child sees."""


def child(kind: str, seeds: list[int], memory: float, pipe: Connection) -> None:
    """Try cases one by one, saying each time what is about to be tried and how it ended."""
    try:
        import resource

        limit = int(memory * 1e9)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    except (ImportError, ValueError, OSError):
        pass  # no such limits here
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what decoders print
    import torch

    from .judge import judge

    torch.set_num_threads(1)
    for seed in seeds:
        pipe.send(("begins", seed))
        try:
            pipe.send(("ended", judge(kind, seed)))
        except Exception as error:
            pipe.send(("ended", f"fault: {type(error).__name__}: {str(error).partition(chr(10))[0][:160]}"))
    pipe.send(("done", None))


def run(kind: str, seeds: list[int], memory: float, seconds: float) -> list[tuple[int, str]]:
    """How the cases of one child ended; after a crash or a hang another child goes on behind the case."""
    found: list[tuple[int, str]] = []
    context = multiprocessing.get_context("spawn")
    while seeds:
        ours, theirs = context.Pipe()
        process = context.Process(target=child, args=(kind, seeds, memory, theirs))
        process.start()
        theirs.close()
        current: Any = None
        try:
            while ours.poll(seconds if current is not None else 600):
                what, value = ours.recv()
                if what == "done":
                    seeds = []
                    break
                if what == "begins":
                    current = value
                else:
                    found.append((current, value))
                    seeds = seeds[1:]
            else:
                found.append((current, "fault: took too long"))
                seeds = seeds[1:]
        except EOFError:
            process.join()
            found.append((current, f"fault: the process died ({process.exitcode})"))
            seeds = seeds[1:]
        process.kill()
        process.join()
    return found


def main() -> int:
    """Returns 1 if any case was a fault."""
    from .judge import KINDS

    parser = argparse.ArgumentParser(description="Hostile input: every outcome must be a result or one sentence.")
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--seed", type=int, default=0, help="of the first case")
    parser.add_argument("--memory", type=float, default=4.0, help="gigabytes of address space of a child")
    parser.add_argument("--seconds", type=float, default=20.0, help="for one case")
    options = parser.parse_args()
    kinds = options.kinds.split(",")
    each = -(-options.cases // len(kinds))
    faults, table = [], {}
    for kind in kinds:
        ends: list[tuple[int, str]] = []
        for start in range(options.seed, options.seed + each, BATCH):
            ends += run(kind, list(range(start, min(start + BATCH, options.seed + each))), options.memory, options.seconds)
        table[kind] = dict(Counter(end.partition(":")[0] for _, end in ends))
        faults += [f"{kind} {seed}: {end}" for seed, end in ends if end.startswith("fault")]
        print(json.dumps({kind: table[kind]}), flush=True)
    for line in faults:
        print(line)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
