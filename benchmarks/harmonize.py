"""Time and peak memory of harmonising, beside what people use today; every figure comes from a process of its own.

python benchmarks/harmonize.py [--megapixels 1 4 12 24] [--repeats 3] [--markdown docs/benchmarks.md]

Where COMFYUI_DIR is a ComfyUI (COMFYUI_PYTHON: the Python that runs it), its node ColorTransfer is measured, too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tables import section

Image8 = NDArray[np.uint8]
COMFYUI = "ComfyUI ColorTransfer mkl_lab"
METHODS = (
    "raiha-s",
    "raiha-s, float32",
    "raiha-s, kept loaded",
    "raiha-s, kept loaded, one pass",
    "raiha-s, float32, kept loaded, one pass",
    "color-matcher mkl",
    "color-matcher reinhard",
    "OpenCV seamlessClone",
    "scikit-image match_histograms",
    COMFYUI,
)

HEAD = """The best of the repeats on {cores} core(s) ({machine}, Python {python}), 8-bit RGB, a foreground over a quarter of the picture;
every row is a process of its own, so peak memory includes the interpreter and the libraries. raiha-s includes loading the
model every time unless it is kept; its first call also includes importing torch's parts, and numba for one pass.

    python benchmarks/harmonize.py --markdown docs/benchmarks.md

"""


def scene(megapixels: float) -> tuple[Image8, NDArray[np.float32]]:
    """The astronaut enlarged to a 3:2 photo of that size, with an elliptic foreground over a quarter of it."""
    from PIL import Image
    from skimage import data

    height = round((megapixels * 1e6 / 1.5) ** 0.5)
    width = round(height * 1.5)
    photo = np.array(Image.fromarray(data.astronaut()).resize((width, height), Image.Resampling.BICUBIC))
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    mask = ((x / 0.55) ** 2 + (y / 0.58) ** 2 < 1).astype(np.float32)
    return photo, mask


def raiha(photo: NDArray[Any], mask: NDArray[np.float32], kept: bool) -> Callable[[], Any]:
    """The shipped model, loading included unless it is kept."""
    from raiha_core.harmonizer import Harmonizer

    harmonizer = Harmonizer() if kept else None

    def work() -> Any:
        return (harmonizer or Harmonizer()).harmonize(photo, mask).image

    return work


def color_matcher(photo: Image8, mask: NDArray[np.float32], method: str) -> Callable[[], Any]:
    """Match the foreground's bounding box to the rest, as ComfyUI nodes that wrap the library do with whole images."""
    from color_matcher import ColorMatcher

    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]

    def work() -> Any:
        moved = ColorMatcher().transfer(src=photo[box], ref=photo, method=method)
        out = photo.astype(np.float32)
        m = mask[box][:, :, None]
        out[box] += m * (np.clip(moved, 0, 255) - out[box])
        return out.round().astype(np.uint8)

    return work


def seamless_clone(photo: Image8, mask: NDArray[np.float32]) -> Callable[[], Any]:
    """Poisson blending of the foreground into the picture's mean colour around it."""
    import cv2

    def work() -> Any:
        height, width = mask.shape
        return cv2.seamlessClone(photo, photo, (mask * 255).astype(np.uint8), (width // 2, height // 2), cv2.NORMAL_CLONE)

    return work


def match_histograms(photo: Image8, mask: NDArray[np.float32]) -> Callable[[], Any]:
    """Match the foreground's histogram to the background's."""
    from skimage.exposure import match_histograms as match

    def work() -> Any:
        inside = mask > 0
        out = photo.copy()
        out[inside] = match(photo[inside][None], photo[~inside][None], channel_axis=-1)[0].round().astype(np.uint8)
        return out

    return work


def prepare(method: str, megapixels: float) -> Callable[[], Any]:
    """What is to be timed, with imports of the peers and the scene done."""
    photo, mask = scene(megapixels)
    if method.startswith("raiha-s"):
        import torch

        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
        from raiha_core import fused

        # As in a process that has gone on for a while, or as in one that never did.
        fused.PAYS = 0 if method.endswith("one pass") else sys.maxsize
        floats = "float32" in method
        return raiha((photo / 255).astype(np.float32) if floats else photo, mask, "kept loaded" in method)
    if method.startswith("color-matcher"):
        return color_matcher(photo, mask, method.split()[1])
    return seamless_clone(photo, mask) if method.startswith("OpenCV") else match_histograms(photo, mask)


def measure_here(method: str, megapixels: float, repeats: int) -> dict[str, float]:
    """Best time of some repeats in seconds (the first includes loading the model) and peak memory of the process in MB."""
    import resource

    work = prepare(method, megapixels)
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    unit = 1 if sys.platform == "darwin" else 1024
    return {"seconds": min(times), "first": times[0], "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6}


def measure(method: str, megapixels: float, repeats: int) -> dict[str, float] | None:
    """`measure_here` in a fresh process; None where the method fails."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--one", method, str(megapixels)]
        if method == COMFYUI:
            photo, mask = scene(megapixels)
            np.savez(Path(folder) / "scene.npz", photo=photo, mask=mask)
            python, beside = os.environ.get("COMFYUI_PYTHON", sys.executable), Path(__file__).with_name("color_transfer.py")
            command = [python, str(beside), os.environ["COMFYUI_DIR"], str(Path(folder) / "scene.npz")]
        done = subprocess.run([*command, "--repeats", str(repeats)], capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{method} at {megapixels} MP failed: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def methods_here() -> list[str]:
    """What can be measured on this machine."""
    return [m for m in METHODS if m != COMFYUI or os.environ.get("COMFYUI_DIR")]


def table(rows: dict[float, dict[str, dict[str, float] | None]]) -> str:
    """Markdown: seconds, ratio to raiha-s, growth beside the smallest size, and memory for every size and method."""
    lines = ["| megapixels | method | seconds | times raiha-s | times the first size | first call | peak MB |", "| --- " * 7 + "|"]
    smallest = rows[min(rows)]
    for megapixels, by_method in rows.items():
        base = by_method["raiha-s"]
        for method, r in by_method.items():
            small = smallest[method]
            if r is None or base is None or small is None:
                lines.append(f"| {megapixels:g} | {method} | failed | | | | |")
                continue
            ratios = [f"{r['seconds'] / other['seconds']:.2f}" for other in (base, small)]
            cells = [f"{megapixels:g}", method, f"{r['seconds']:.2f}", *ratios, f"{r['first']:.2f}", f"{r['megabytes']:.0f}"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1, 4, 12, 24])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--markdown", type=Path, help="also write the table to this file")
    parser.add_argument("--one", nargs=2, metavar=("METHOD", "MEGAPIXELS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure_here(arguments.one[0], float(arguments.one[1]), arguments.repeats)))
        return
    methods = methods_here()
    rows = {mp: {m: measure(m, mp, arguments.repeats) for m in methods} for mp in arguments.megapixels}
    text = table(rows)
    print(text)
    if arguments.markdown:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        head = HEAD.format(cores=cores, machine=platform.machine(), python=platform.python_version())
        section(arguments.markdown, "pictures", head + text)


if __name__ == "__main__":
    main()
