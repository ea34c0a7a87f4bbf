"""What the shipped weights make of four pictures, and how to write it down anew: python tests/golden/cases.py

Run it after new weights, or after a change that is meant to change pictures, and look at what changed before committing it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import raiha_core as raiha
from raiha_core.image import read_image, read_mask

GOLDEN = Path(__file__).with_name("shipped.npz")
SIDE = 24
_DATA = Path(raiha.__file__).parent / "demo_data"


def cells(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Means over a coarse grid, `(SIDE, SIDE, 3)`, 0..255: a change of one level shows, one machine's rounding does not."""
    x = torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None].float()
    return torch.nn.functional.adaptive_avg_pool2d(x, SIDE)[0].permute(1, 2, 0).numpy()


def made() -> dict[str, NDArray[np.float32]]:
    """The results, by case."""
    harmonizer = raiha.Harmonizer("raiha-s")
    out = {}
    for name in ("astronaut", "cup"):
        composite, mask = read_image(_DATA / f"{name}_composite.jpg"), read_mask(_DATA / f"{name}_mask.png")
        references = {
            "alone": None,
            "fitting": [_DATA / "gallery" / {"astronaut": "grace_hopper.jpg", "cup": "coffee.jpg"}[name]],
            "misleading": [_DATA / "gallery" / "hubble_deep_field.jpg"],
        }
        for what, files in references.items():
            out[f"{name}, {what}"] = cells(harmonizer.harmonize(composite, mask, files).image.rgb)
        out[f"{name}, cautious"] = cells(harmonizer.harmonize(composite, mask, caution=1.0).image.rgb)
        wide = (torch.nn.functional.max_pool2d(torch.from_numpy(mask)[None], 7, 1, 3)[0].numpy()).astype(np.float32)
        out[f"{name}, mask grown by 3 px"] = cells(harmonizer.harmonize(composite, wide).image.rgb)
    photo = read_image(_DATA / "gallery" / "chelsea.jpg")
    mask = np.zeros(photo.size, np.float32)
    mask[photo.size[0] // 4 : photo.size[0] * 3 // 4, photo.size[1] // 3 : photo.size[1] * 2 // 3] = 1
    out["untouched"] = cells(harmonizer.harmonize(photo, mask).image.rgb)
    return out


if __name__ == "__main__":
    torch.set_num_threads(1)
    np.savez_compressed(GOLDEN, **made())  # type: ignore[arg-type]
    print(f"wrote {GOLDEN}")
