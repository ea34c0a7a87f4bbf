"""How near the original in another light comes to the truth, by ways of bringing a version's look to it: a table.

python benchmarks/transfer.py PHOTOS [--limit 24] [--side 1024] [--write docs/nodes.md]

PHOTOS is a folder of photos. Each is re-lit by a known smooth light (a gradient and a coloured lamp, in linear light): the truth. The
version is what a generator would give of it: half as large, through a simulated VAE (blur, blocks of 8 px drawn anew, a shift of
colour) and, in the harder cases, moved by some pixels, or with a part drawn that is not there.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from raiha_core.cli.pairing import pictures
from raiha_core.image import read_image
from raiha_core.image.colour import linear_to_srgb, srgb_to_lab, srgb_to_linear
from raiha_core.transfer import transfer_look

VERSION = 0.5
"""Of the original's size."""

CASES = ("softened", "moved", "invented")


def resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bicubic, antialiased."""
    return F.interpolate(x, size=size, mode="bicubic", antialias=True, align_corners=False)


def blurred(x: Tensor, sigma: float) -> Tensor:
    """Gaussian, borders repeated."""
    reach = max(1, round(3 * sigma))
    at = torch.arange(-reach, reach + 1, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (at / sigma).square())
    kernel = (kernel / kernel.sum())[None, None, None].expand(x.shape[1], 1, 1, -1)
    x = F.conv2d(F.pad(x, (reach, reach, 0, 0), "replicate"), kernel, groups=x.shape[1])
    return F.conv2d(F.pad(x, (0, 0, reach, reach), "replicate"), kernel.mT, groups=x.shape[1])


def relit(photo: Tensor, draw: torch.Generator) -> Tensor:
    """In another light: brighter to one side, a warm or cold lamp, in linear light."""
    height, width = photo.shape[2:]
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")

    def number(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand(1, generator=draw))

    angle, slope = number(0, 2 * np.pi), number(0.3, 1.0)
    gain = torch.exp(slope * (x * np.cos(angle) + y * np.sin(angle)) + number(-0.5, 0.3))
    lamp = torch.exp(-((x - number(-0.8, 0.8)) ** 2 + (y - number(-0.8, 0.8)) ** 2) / (2 * number(0.25, 0.6) ** 2))
    warm = torch.tensor([number(0.3, 1.2), number(0.2, 0.8), number(0.0, 1.2)])[:, None, None]
    return linear_to_srgb((srgb_to_linear(photo) * gain * (1 + warm * lamp)).clamp(0, 1)).clamp(0, 1)


def version_of(truth: Tensor, other: Tensor, case: str, draw: torch.Generator) -> Tensor:
    """What a generator would have given."""
    height, width = truth.shape[2:]
    size = round(height * VERSION), round(width * VERSION)
    small = resized(truth, size)
    if case == "moved":
        small = F.pad(small[:, :, 3:, 4:], (0, 4, 0, 3), "replicate")
    if case == "invented":
        side = min(size) // 3
        top, left = (int(torch.randint(0, s - side, (1,), generator=draw)) for s in size)
        small[:, :, top : top + side, left : left + side] = resized(other, (side, side))
    soft = blurred(small, 1.2)
    blocks = F.interpolate(torch.randn(1, 3, size[0] // 8 + 1, size[1] // 8 + 1, generator=draw) * 0.012, size=size, mode="bilinear")
    return (soft * 0.97 + 0.01 + blocks).clamp(0, 1)


def as_is(original: Tensor, version: Tensor) -> Tensor:
    """The version, enlarged."""
    return version


def frequency_separation(original: Tensor, version: Tensor) -> Tensor:
    """The version's low frequencies and the original's high ones, as retouchers do it."""
    sigma = max(original.shape[2:]) / 64
    return blurred(version, sigma) + original - blurred(original, sigma)


def guided_filter(original: Tensor, version: Tensor, radius: float = 1 / 64, eps: float = 1e-3) -> Tensor:
    """The version filtered with the original as its guide, channel by channel (He et al., 2010)."""
    sigma = max(original.shape[2:]) * radius

    def mean(x: Tensor) -> Tensor:
        return blurred(x, sigma)

    a = (mean(original * version) - mean(original) * mean(version)) / (mean(original**2) - mean(original) ** 2 + eps)
    b = mean(version) - a * mean(original)
    return mean(a) * original + mean(b)


def histogram_matching(original: Tensor, version: Tensor) -> Tensor:
    """The original with the version's histograms."""
    from skimage.exposure import match_histograms

    matched = match_histograms(original[0].permute(1, 2, 0).numpy(), version[0].permute(1, 2, 0).numpy(), channel_axis=2)
    return torch.from_numpy(matched).float().permute(2, 0, 1)[None]


def transferred(original: Tensor, version: Tensor) -> Tensor:
    """`transfer_look`."""
    return torch.as_tensor(transfer_look(original[0], version[0]))[None]


METHODS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "the version, enlarged": as_is,
    "histogram matching": histogram_matching,
    "frequency separation": frequency_separation,
    "guided filter": guided_filter,
    "`raiha transfer`": transferred,
}


def error(result: Tensor, truth: Tensor) -> float:
    """Mean colour difference (CIE 1976)."""
    return float((srgb_to_lab(result.clamp(0, 1)) - srgb_to_lab(truth)).square().sum(1).sqrt().mean())


def detail_error(result: Tensor, truth: Tensor) -> float:
    """Mean difference of the fine detail's brightness, in 8-bit steps: what is blurred, haloed or drawn anew."""
    fine = [x.mean(1, keepdim=True) - blurred(x.mean(1, keepdim=True), 2.0) for x in (result, truth)]
    return float((fine[0] - fine[1]).abs().mean() * 255)


def reduced(photo: Tensor, side: int) -> Tensor:
    """A photo whose longest side is at most `side`; small ones stay as they are."""
    scale = min(1.0, side / max(photo.shape[2:]))
    return resized(photo, (round(photo.shape[2] * scale), round(photo.shape[3] * scale))).clamp(0, 1)


def measure(photos: list[Tensor]) -> dict[str, dict[str, list[float]]]:
    """For every method and case: the errors, and under "seconds" the times."""
    found: dict[str, dict[str, list[float]]] = {name: {key: [] for key in (*CASES, "detail", "seconds")} for name in METHODS}
    for n, original in enumerate(photos):
        for case in CASES:
            draw = torch.Generator().manual_seed(n)
            truth = relit(original, draw)
            version = version_of(truth, photos[n - 1], case, draw)
            enlarged = resized(version, (original.shape[2], original.shape[3])).clamp(0, 1)
            for name, method in METHODS.items():
                began = time.perf_counter()
                result = method(original, version if method is transferred else enlarged)
                found[name]["seconds"].append(time.perf_counter() - began)
                found[name][case].append(error(result, truth))
                if case == "softened":
                    found[name]["detail"].append(detail_error(result, truth))
    return found


def table(found: dict[str, dict[str, list[float]]]) -> str:
    """Means, as Markdown."""
    lines = [
        "| way | ΔE, softened | ΔE, moved | ΔE, partly invented | error of fine detail | seconds |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, values in found.items():
        means = [float(np.mean(values[key])) for key in (*CASES, "detail", "seconds")]
        lines.append(f"| {name} | " + " | ".join(f"{m:.2f}" for m in means) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print; put the table between its marks in a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--limit", type=int, default=24, help="so many, spread evenly")
    parser.add_argument("--side", type=int, default=1024, help="longest side of an original")
    parser.add_argument("--write", type=Path, help="page with <!-- transfer --> marks")
    arguments = parser.parse_args()
    files = pictures(str(arguments.photos))[0]
    chosen = [files[i] for i in np.linspace(0, len(files) - 1, min(arguments.limit, len(files))).round().astype(int)]
    photos = [reduced(read_image(file).rgb_tensor(), arguments.side) for file in chosen]
    longest = max(max(photo.shape[2:]) for photo in photos)
    lines = f"{len(photos)} photos, the largest {longest} px long:\n\n{table(measure(photos))}"
    print(lines)
    if arguments.write:
        page = arguments.write.read_text()
        new, count = re.subn(r"(?s)(<!-- transfer -->\n).*?(\n<!-- /transfer -->)", lambda m: m[1] + lines + m[2], page)
        assert count == 1, f"{arguments.write} has no marks for the table"
        arguments.write.write_text(new)


if __name__ == "__main__":
    main()
