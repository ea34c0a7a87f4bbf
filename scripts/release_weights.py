"""Weights as they are committed with a release: in half precision, which halves what every clone and every download weighs.

python scripts/release_weights.py runs/raiha-s-stage4/model.safetensors raiha_core/weights/raiha-s.safetensors

Metadata stays; whole numbers stay what they are. Loading puts the values into float32 networks again. Weights enter the repository
once per release, since every version of them stays in its history for good.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file


def halve(source: Path, target: Path) -> tuple[int, int]:
    """Write `source` to `target` with its parameters in half precision, statistics as they are; returns both sizes in bytes.

    Raises:
        ValueError: a value is too large for half precision; nothing is written then.
    """
    with safe_open(source, "pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    for name, value in state.items():
        if value.is_floating_point() and not name.endswith(("running_mean", "running_var")):
            state[name] = value.half()
            if not torch.equal(value.isfinite(), state[name].isfinite()):
                raise ValueError(f"{name} has values up to {value.abs().max().item():g}, which half precision does not hold")
    before, part = source.stat().st_size, target.with_name(f"{target.name}.part")
    save_file(state, part, metadata=metadata)
    os.chmod(part, 0o644)  # safetensors makes it readable by its owner alone
    os.replace(part, target)
    return before, target.stat().st_size


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    given = parser.parse_args(argv)
    try:
        before, after = halve(given.source, given.target)
    except (OSError, SafetensorError, ValueError) as error:
        print(f"release_weights: {given.source}: {error}", file=sys.stderr)
        return 2
    print(f"wrote {given.target}: {before / 1e6:.1f} MB became {after / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
