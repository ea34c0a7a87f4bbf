"""Distil the backbone that raiha-s starts from out of a MobileNetV2's features.

python scripts/distill_backbone.py --data DIR --out FILE.safetensors [--minutes 25]

DIR holds photos, and the teacher in teacher/mobilenet_v2.safetensors. A config's `backbone:` takes what this writes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from raiha_core.errors import RaihaError
from raiha_core.training.distill import distill, load_teacher


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="photo folder with a teacher/ folder inside")
    parser.add_argument("--pack", type=Path, default=Path("runs/pack"), help="where the packed photos go")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(argv)
    torch.set_num_threads(given.threads)
    try:
        distill(given.pack, given.data, load_teacher(given.data / "teacher"), given.out, given.minutes)
    except RaihaError as error:
        print(f"distill_backbone: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
