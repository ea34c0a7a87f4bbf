"""What a harmony score means: the share of untouched and of recoloured objects that reach it, on triplets; a table.

python benchmarks/score.py FOLDER [--model raiha-s] [--limit 265] [--write docs/nodes.md]

FOLDER holds real/, composite/ and mask/ with files of the same names, as validation triplets do. The object of the real photo is
untouched, that of the composite recoloured. To be run again whenever the default model's weights change.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np

from raiha_core.evaluation.datasets import TripletFolder
from raiha_core.harmonizer import Harmonizer
from raiha_core.image import fit_mask, read_image, read_mask
from raiha_core.score import harmony

STEPS = (95, 90, 80, 70, 60, 50, 40, 30)


def measure(folder: Path, model: str, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the untouched and of the recoloured objects, pair by pair."""
    harmonizer, pairs = Harmonizer(model), []
    for item in TripletFolder(folder).limited(limit):
        pictures = [read_image(path) for path in (item.real, item.composite)]
        mask = fit_mask(read_mask(item.mask), pictures[0].size)
        pairs.append([harmony(harmonizer, picture, mask).score for picture in pictures])
    untouched, recoloured = np.array(pairs).T
    return untouched, recoloured


def table(untouched: np.ndarray, recoloured: np.ndarray) -> str:
    """Shares at each score, as Markdown."""
    lines = ["| score at least | untouched objects | recoloured objects |", "| --- | --- | --- |"]
    lines += [f"| {step} | {100 * (untouched >= step).mean():.0f} % | {100 * (recoloured >= step).mean():.0f} % |" for step in STEPS]
    right = (untouched > recoloured).mean() + 0.5 * (untouched == recoloured).mean()
    head = (
        f"{len(untouched)} photos, each with an untouched and a recoloured object; of the two the untouched scores higher in "
        f"{100 * right:.0f} %."
    )
    return head + "\n\n" + "\n".join(lines)


def main() -> None:
    """Measure and print; put the table between its marks in a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="raiha-s")
    parser.add_argument("--limit", type=int, default=265, help="so many, spread evenly")
    parser.add_argument("--write", type=Path, help="page with <!-- score --> marks")
    arguments = parser.parse_args()
    text = table(*measure(arguments.folder, arguments.model, arguments.limit))
    print(text)
    if arguments.write:
        new, count = re.subn(r"(?s)(<!-- score -->\n).*?(\n<!-- /score -->)", lambda m: m[1] + text + m[2], arguments.write.read_text())
        assert count == 1, f"{arguments.write} has no marks for the table"
        arguments.write.write_text(new)


if __name__ == "__main__":
    main()
