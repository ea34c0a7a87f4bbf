"""ComfyUI's ColorTransfer node, timed as it is in a ComfyUI; `harmonize.py` runs this with that ComfyUI's Python.

COMFYUI_PYTHON color_transfer.py COMFYUI_DIR SCENE.npz --repeats 3

The foreground's bounding box is matched to the whole picture (method mkl_lab) and blended in by the mask, in ComfyUI's float32. Prints
JSON as `harmonize.measure_here` returns it.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch


def prepared(comfyui: Path) -> Any:
    """The node's class."""
    sys.path.insert(0, str(comfyui))
    sys.argv = sys.argv[:1]  # ComfyUI has arguments of its own
    from comfy.cli_args import args

    args.cpu = not torch.cuda.is_available()
    from comfy_extras.nodes_post_processing import ColorTransfer

    return ColorTransfer


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comfyui", type=Path)
    parser.add_argument("scene", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    node = prepared(given.comfyui)
    with np.load(given.scene) as arrays:
        photo, mask = torch.from_numpy(arrays["photo"]).float()[None] / 255, torch.from_numpy(arrays["mask"])
    rows, columns = (mask.amax(dim).nonzero()[:, 0] for dim in (1, 0))
    box = np.s_[:, int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]
    times = []
    for _ in range(given.repeats):
        started = time.perf_counter()
        with torch.inference_mode():
            moved = node.execute(photo[box], photo, "mkl_lab", {"source_stats": "per_frame"}).args[0]
            out = photo.clone()
            out[box] = torch.lerp(out[box], moved, mask[box[1:]][None, :, :, None])
        times.append(time.perf_counter() - started)
    unit = 1 if sys.platform == "darwin" else 1024
    print(
        json.dumps({"seconds": min(times), "first": times[0], "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6})
    )


if __name__ == "__main__":
    main()
