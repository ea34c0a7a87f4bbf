"""Make the embedded content encoder from a MobileNetV2.

python scripts/make_encoder.py --data DIR --out FILE.safetensors [--minutes 20] [--hold-out 10]

DIR holds photos, and the teacher in teacher/mobilenet_v2.safetensors. With 0 minutes the teacher is only projected.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from raiha_core.errors import RaihaError
from raiha_core.training.distill import load_teacher
from raiha_core.training.encoder import ARCHITECTURE, adapt, from_teacher
from raiha_core.training.pack import build_pack
from raiha_core.training.timed import write


def make(data: Path, pack_folder: Path, out: Path, minutes: float, hold_out: int) -> None:
    """Project the teacher, then adapt it for so many minutes; every `hold_out`-th photo is left out, to measure on."""
    teacher = load_teacher(data / "teacher")
    pack = build_pack(data, pack_folder)
    rows = np.arange(len(pack.photos))
    if hold_out:
        rows = rows[rows % hold_out != 0]
    net = from_teacher(teacher, pack.photos[rows])
    if minutes:
        adapt(net, pack, rows, out, minutes)
    else:
        write(net, out, ARCHITECTURE)


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="photo folder with a teacher/ folder inside")
    parser.add_argument("--pack", type=Path, default=Path("runs/pack"), help="where the packed photos go")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--hold-out", type=int, default=0, metavar="N", help="leave every N-th photo out, to measure on")
    given = parser.parse_args(argv)
    torch.set_num_threads(given.threads)
    try:
        make(given.data, given.pack, given.out, given.minutes, given.hold_out)
    except RaihaError as error:
        print(f"make_encoder: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
