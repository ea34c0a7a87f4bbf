"""Clips of 1080p: time for a frame and peak memory as clips grow, in Python (8 bits), in ComfyUI (float32) and from file to file.

python benchmarks/clips.py [--frames 1 16 64 256] [--ways python comfyui command] [--markdown docs/benchmarks.md]

Every figure comes from a process of its own. Frames are made when they are asked for and results are dropped, so in Python the peak
shows what a clip's length costs; in ComfyUI, whose batches lie in memory whole, input and output are taken off. ComfyUI's side is the
node over the contract stub of the tests.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tables import section

HEIGHT, WIDTH = 1080, 1920
ROOT = Path(__file__).parents[1]
WAYS = ("python", "comfyui", "command")
MODES = ("one", "smooth")


def scene() -> NDArray[np.uint8]:
    """A photo of twice the width, of which frames are windows."""
    from PIL import Image
    from skimage import data

    return np.asarray(Image.fromarray(data.astronaut()).resize((2 * WIDTH, HEIGHT), Image.Resampling.BICUBIC))


def mask() -> NDArray[np.float32]:
    """An ellipse over a quarter of the frame."""
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j].astype(np.float32)
    inside: NDArray[np.float32] = ((x / 0.55) ** 2 + (y / 0.58) ** 2 < 1).astype(np.float32)
    return inside


def frame(photo: NDArray[np.uint8], i: int) -> NDArray[np.uint8]:
    """One frame: the scene passes by."""
    return np.ascontiguousarray(photo[:, (4 * i) % WIDTH :][:, :WIDTH])


def python(frames: int, mode: Any) -> Callable[[], None]:
    """`harmonize_clip` of frames that are made when they are asked for."""
    from raiha_core import video
    from raiha_core.harmonizer import Harmonizer
    from raiha_core.image import Mask, Picture

    class Made:
        photo, only, last = scene(), mask(), (-1, Picture(np.zeros((1, 1, 3), np.uint8)))

        def __len__(self) -> int:
            return frames

        def picture(self, i: int) -> Picture:
            if self.last[0] != i:
                self.last = i, Picture(frame(self.photo, i))
            return self.last[1]

        def mask(self, i: int) -> Mask:
            return self.only

        def mask_number(self, i: int) -> int:
            return 0

    harmonizer, clip = Harmonizer(), Made()

    def work() -> None:
        _, results = video.harmonize_clip(harmonizer, clip, way=video.Way(mode))
        for _ in results:
            pass

    return work


def loaded(name: str, file: Path, **more: Any) -> ModuleType:
    """A module from a file."""
    spec = importlib.util.spec_from_file_location(name, file, **more)
    assert spec and spec.loader
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def comfyui(frames: int, mode: str) -> Callable[[], None]:
    """The node, with a batch in memory."""
    import torch

    base = Path(tempfile.mkdtemp())
    for folder in ("models", "input"):
        (base / folder).mkdir()
    loaded("comfy_contract_stub", ROOT / "tests" / "nodes" / "comfy_contract_stub.py").install(base)
    pack = loaded("raiha_as_a_pack", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    extension = asyncio.run(pack.comfy_entrypoint())
    asyncio.run(extension.on_load())
    node = next(n for n in asyncio.run(extension.get_node_list()) if n.__name__ == "HarmonizeComposite")
    modes = importlib.import_module("raiha_as_a_pack.nodes.harmonize_composite").MODES
    named = next(text for text, value in modes.items() if value == mode)
    photo, batch = scene(), torch.empty(frames, HEIGHT, WIDTH, 3)
    for i in range(frames):
        batch[i] = torch.from_numpy(frame(photo, i)).float() / 255
    only = torch.from_numpy(mask())[None]
    return lambda: node.execute(batch, only, video_mode=named)


def command(frames: int, mode: str) -> Callable[[], None]:
    """`raiha harmonize` from file to file, decoding and encoding included."""
    import av
    from PIL import Image

    from raiha_core.cli import main

    folder = Path(tempfile.mkdtemp())
    photo = scene()
    with av.open(str(folder / "clip.mp4"), "w") as container:
        stream: Any = container.add_stream("libx264", rate=Fraction(24))
        stream.height, stream.width, stream.pix_fmt, stream.options = HEIGHT, WIDTH, "yuv420p", {"preset": "ultrafast"}
        for i in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame(photo, i), "rgb24")))
        container.mux(stream.encode(None))
    Image.fromarray((mask() * 255).astype(np.uint8)).save(folder / "mask.png")
    inputs = [str(folder / "clip.mp4"), str(folder / "mask.png")]

    def work() -> None:
        assert main(["harmonize", *inputs, "-o", str(folder / "out.mp4"), "--video-mode", mode]) == 0

    return work


def measure_here(way: str, frames: int, mode: str) -> dict[str, float]:
    """Milliseconds of wall and processor for a frame, and the peak in MB beyond a clip's input and output in memory."""
    work = {"python": python, "comfyui": comfyui, "command": command}[way](frames, mode)
    started, processor = time.perf_counter(), time.process_time()
    work()
    wall, processor = time.perf_counter() - started, time.process_time() - processor
    unit = 1 if sys.platform == "darwin" else 1024
    held = 2 * frames * HEIGHT * WIDTH * 3 * 4 if way == "comfyui" else 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {"wall": wall * 1000 / frames, "processor": processor * 1000 / frames, "peak": (peak - held) / 1e6}


def measure(way: str, frames: int, mode: str) -> dict[str, float]:
    """`measure_here` in a fresh process."""
    done = subprocess.run([sys.executable, __file__, "--one", way, str(frames), mode], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[1, 16, 64, 256])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--modes", nargs="+", default=list(MODES), choices=MODES)
    parser.add_argument("--markdown", type=Path, help="also write the table into this file, between its marks")
    parser.add_argument("--one", nargs=3, metavar=("WAY", "FRAMES", "MODE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        way, frames, mode = arguments.one
        print(json.dumps(measure_here(way, int(frames), mode)))
        return
    lines = ["| way | transforms | frames | wall, ms a frame | processor, ms a frame | peak, MB |", "| --- | --- | --- | --- | --- | --- |"]
    for way in arguments.ways:
        for mode in arguments.modes:
            for frames in arguments.frames:
                r = measure(way, frames, mode)
                lines.append(f"| {way} | {mode} | {frames} | {r['wall']:.0f} | {r['processor']:.0f} | {r['peak']:.0f} |")
                print(lines[-1], file=sys.stderr, flush=True)
    print("\n".join(lines))
    if arguments.markdown:
        section(arguments.markdown, "clips", "\n".join(lines))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))
    main()
