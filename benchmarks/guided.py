"""Bring a small network's picture to full resolution: guided upsampling beside plain resizing.

    python benchmarks/guided.py DATA [--side 256] [--network truth|edit] [--step 1]

DATA is a triplet folder (composite/, mask/, real/, with index.jsonl naming each triplet's kind). In place of a network
stands what a perfect one would draw at --side pixels: the real photo made small (`truth`), or a known edit of the
composite with a white balance, a tone curve and a light that varies over the picture (`edit`).

Per method: PSNR inside the mask, in all and by kind; sharpness = gradient energy inside the mask (its edge left out) over
that of the composite times the contrast change, which is the gradient energy of the network's picture over that of its
input; the share of triplets whose sharpness is within 3 %; gradient energy over the true picture's. Medians.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from raiha_core.models.guided import fit_local_colours

Upsampler = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def read(folder: Path, name: str, mode: str = "RGB") -> Tensor:
    """A picture `(1, C, H, W)` in [0, 1]."""
    path = next(folder.glob(f"{name}.*"))
    pixels = np.asarray(Image.open(path).convert(mode), dtype=np.float32) / 255
    return torch.from_numpy(np.atleast_3d(pixels).transpose(2, 0, 1).copy())[None]


def edit(rgb: Tensor) -> Tensor:
    """The known edit."""
    light = torch.linspace(0.6, 1.2, rgb.shape[3])[None] * torch.linspace(1.1, 0.8, rgb.shape[2])[:, None]
    linear = rgb.clamp(1e-4, 1) ** 2.2 * torch.tensor([1.25, 1.0, 0.75])[:, None, None] * light
    return (linear.clamp(0, 1) ** (1 / 2.2) * 0.8 + 0.1) ** 1.2


def naive(full: Tensor, source: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Resize the network's picture."""
    return F.interpolate(target, size=full.shape[-2:], mode="bicubic", align_corners=False)


def guided(full: Tensor, source: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """What `rhnet` does."""
    x, y = ((torch.arange(n) + 0.5) / n for n in (full.shape[3], full.shape[2]))
    return fit_local_colours(source, target, mask)(full, x, y)


def one_map(full: Tensor, source: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """A single affine map for the whole foreground."""
    chosen = mask.flatten() > 0
    a = torch.cat([source.flatten(2)[0].T, torch.ones(mask.numel(), 1)], 1)[chosen].double()
    solution = torch.linalg.lstsq(a, target.flatten(2)[0].T[chosen].double()).solution.float()
    return torch.einsum("bihw,ij->bjhw", torch.cat([full, torch.ones_like(full[:, :1])], 1), solution)


def energy(rgb: Tensor, where: Tensor) -> float:
    """Sum of squared differences of luminance to the right and below."""
    grey = (rgb * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    right, down = (grey.diff(dim=d)[..., : grey.shape[2] - 1, : grey.shape[3] - 1] for d in (3, 2))
    return float(((right.square() + down.square()) * where).sum())


def inner(mask: Tensor) -> Tensor:
    """The mask two pixels inside its edge."""
    return (1 - F.max_pool2d(1 - (mask > 0.5).float(), 5, 1, 2))[..., :-1, :-1]


def measure(data: Path, row: dict[str, str], side: int, network: str, methods: dict[str, Upsampler]) -> dict[str, tuple[float, ...]] | None:
    """PSNR, sharpness and gradient energy over the truth's, per method; None where the foreground is too small."""
    composite, mask = read(data / "composite", row["name"]), read(data / "mask", row["name"], "L")
    real = edit(composite) if network == "edit" else read(data / "real", row["name"])
    small_c, small_m, small_t = (F.interpolate(p, (side, side), mode="bilinear", antialias=True) for p in (composite, mask, real))
    inside, inside_small = inner(mask), inner(small_m)
    if inside.sum() < 200 or inside_small.sum() < 50:
        return None
    expected = energy(composite, inside) * energy(small_t, inside_small) / energy(small_c, inside_small)
    found: dict[str, tuple[float, ...]] = {}
    for name, upsample in {**methods, "truth": lambda *_: real}.items():
        moved = upsample(composite, small_c, small_t, (small_m > 0.5).float())
        result = composite + mask * (moved.clamp(0, 1) - composite)
        error = ((result - real).square() * (mask > 0)).sum() / (3 * (mask > 0).sum())
        sharp = energy(result, inside)
        found[name] = (-10 * float(torch.log10(error + 1e-7)), sharp / expected, sharp / energy(real, inside))
    return found


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--network", choices=["truth", "edit"], default="truth")
    parser.add_argument("--step", type=int, default=1, help="take every n-th triplet")
    options = parser.parse_args()
    rows = [json.loads(line) for line in (options.data / "index.jsonl").read_text().splitlines()][:: options.step]
    methods: dict[str, Upsampler] = {"resized": naive, "one affine map": one_map, "guided": guided}
    found = [(r["kind"], m) for r in rows if (m := measure(options.data, r, options.side, options.network, methods))]
    kinds = sorted({kind for kind, _ in found})
    print(f"{options.network} at {options.side} px, {len(found)} triplets\n")
    print(f"| method | PSNR | {' | '.join(kinds)} | sharpness | within 3 % | energy / truth |")
    print(f"| --- | {'--- | ' * (len(kinds) + 4)}")
    for name in (*methods, "truth"):
        table = np.array([m[name] for _, m in found])
        by_kind = [f"{np.mean([m[name][0] for k, m in found if k == kind]):.2f}" for kind in kinds]
        psnr, sharp, true = table.mean(0)[0], np.median(table[:, 1]), np.median(table[:, 2])
        close = np.mean(abs(table[:, 1] - 1) < 0.03)
        print(f"| {name} | {psnr:.2f} | {' | '.join(by_kind)} | {sharp:.3f} | {close:.0%} | {true:.3f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
