"""What a prediction takes on one core, and how it grows with the references: as ratios to a composite alone.

python benchmarks/prediction.py [--references 1 2 4 8 16 32] [--repeats 20]

References that were met before are remembered; "new" ones are not. To compare two versions of the code, run it in both by turns.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from raiha_core.models import load_model


def picture(size: int, seed: int) -> Tensor:
    """Smooth noise, `(1, 3, size, size)`."""
    small = torch.rand(1, 3, size // 8, size // 8, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(small, size=(size, size), mode="bicubic").clamp(0, 1)


def ellipse(size: int) -> Tensor:
    """A mask over a fifth of the picture, `(1, 1, size, size)`."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    return ((x / 0.5) ** 2 + (y / 0.55) ** 2 < 1).float()[None, None]


def least(work: Callable[[], object], repeats: int) -> float:
    """The least processor seconds of some repeats, after one that is not counted."""
    work()
    found = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found)


def table(counts: list[int], repeats: int) -> str:
    """Markdown."""
    model, seeds = load_model("raiha-s"), itertools.count(1)
    size = model.input_size
    composite, mask = picture(size, 0), ellipse(size)
    many = [picture(size, next(seeds)) for _ in range(max([0, *counts]))]
    alone = least(lambda: model.predict(composite, mask), repeats)

    def new(count: int) -> float:
        """Each time other references; making them is not counted."""
        times = []
        for _ in range(max(3, repeats // 4)):
            references = [picture(size, next(seeds)) for _ in range(count)]
            began = time.process_time()
            model.predict(composite, mask, references)
            times.append(time.process_time() - began)
        return min(times)

    lines = ["| references | new, times the composite alone | remembered | each new one |", "| --- | --- | --- | --- |"]
    lines.append(f"| 0 | 1.00 ({alone * 1000:.0f} ms at {size} px) | | |")
    for count in counts:
        fresh, known = new(count), least(lambda: model.predict(composite, mask, many[:count]), max(3, repeats // 4))  # noqa: B023
        lines.append(f"| {count} | {fresh / alone:.2f} | {known / alone:.2f} | {(fresh - alone) / count / alone:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--references", type=int, nargs="*", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--repeats", type=int, default=20)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(table(given.references, given.repeats))


if __name__ == "__main__":
    main()
