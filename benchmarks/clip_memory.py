"""Peak memory of Harmonize Composite over a clip, beyond the images that go in and come out, by mode and by masks.

    python benchmarks/clip_memory.py [--frames 24] [--height 1080] [--width 1920]

Every way runs in a process of its own over the contract stub of the tests; the figures are those of docs/nodes.md.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]
MODES = ("each image on its own", "video: one transform", "video: one frame's transform", "video: smoothed over time")


def once(mode: str, masks: str, frames: int, height: int, width: int) -> float:
    """Megabytes at the peak, less what was taken when the clip lay ready, and less the result."""
    import asyncio
    import importlib.util
    import tempfile

    import torch

    def load(name: str, file: Path, folders: list[str] | None = None) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=folders)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    stub = load("comfy_contract_stub", ROOT / "tests" / "nodes" / "comfy_contract_stub.py")
    base = Path(tempfile.mkdtemp())
    (base / "models").mkdir()
    (base / "input").mkdir()
    stub.install(base)
    pack = load("pack", ROOT / "__init__.py", [str(ROOT)])
    extension = asyncio.run(pack.comfy_entrypoint())
    asyncio.run(extension.on_load())
    [node] = [n for n in asyncio.run(extension.get_node_list()) if n.__name__ == "HarmonizeComposite"]
    torch.set_num_threads(1)
    small = torch.rand(1, 64, 64, 3)
    spot = torch.zeros(1, 64, 64)
    spot[:, 20:40, 20:40] = 1
    node.execute(small, spot)  # the model and torch's own rooms
    images = torch.rand(frames, height, width, 3)
    mask = torch.zeros(frames if masks == "own" else 1, height, width)
    mask[:, height // 3 : height // 2, width // 3 : width // 2] = 1
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = node.execute(images, mask, video_mode=mode).args[0]
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (after - before) / 1024 - float(result.numel() * 4 / 2**20)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--height", type=int, default=1080)
    parser.add_argument("--width", type=int, default=1920)
    parser.add_argument("--once", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        mode, masks = options.once
        print(once(mode, masks, options.frames, options.height, options.width))
        return
    size = [f"--{name}={getattr(options, name)}" for name in ("frames", "height", "width")]
    print("| mode | one mask for all, MB | a mask for each, MB |\n| --- | --- | --- |")
    for mode in MODES:
        cells = []
        for masks in ("shared", "own"):
            command = [sys.executable, __file__, *size, "--once", mode, masks]
            cells.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        print(f"| {mode} | {cells[0]:.0f} | {cells[1]:.0f} |", flush=True)


if __name__ == "__main__":
    main()
