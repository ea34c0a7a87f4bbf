from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve small photos, one mask each, two aligned pairs: the layout that `raiha train` reads."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(3)
    rows, pairs = [], []
    (root / "photos").mkdir()
    (root / "masks").mkdir()
    (root / "pairs").mkdir()
    y, x = np.mgrid[0:72, 0:96]
    for i in range(12):
        base = rng.uniform(40, 200, 3) + rng.uniform(-0.8, 0.8, 3) * x[..., None] + rng.uniform(-0.8, 0.8, 3) * y[..., None]
        mask = ((x - 30 - i * 3) / (12 + i)) ** 2 + ((y - 36) / 18) ** 2 < 1
        base[mask] = rng.uniform(20, 230, 3) + rng.normal(0, 12, (int(mask.sum()), 3))
        Image.fromarray((base + rng.normal(0, 5, base.shape)).clip(0, 255).astype(np.uint8)).save(root / "photos" / f"{i}.png")
        Image.fromarray((mask * 255).astype(np.uint8)).save(root / "masks" / f"{i}.png")
        rows.append({"photo": f"photos/{i}.png", "mask": f"masks/{i}.png", "label": ["cat", "dog"][i % 2]})
    for i in range(2):
        for side, gain in (("a", 0.6), ("b", 1.0)):
            Image.open(root / "photos" / f"{i}.png").point(lambda v, g=gain: v * g).save(root / "pairs" / f"{i}{side}.png")
        pairs.append({"a": f"pairs/{i}a.png", "b": f"pairs/{i}b.png"})
    (root / "masks.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (root / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    return root


@pytest.fixture(scope="session")
def triplet_folder(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four triplets whose composites have a darker foreground."""
    root = tmp_path_factory.mktemp("triplets")
    for part in ("composite", "mask", "real"):
        (root / part).mkdir()
    for i in range(4):
        real = np.asarray(Image.open(photo_folder / "photos" / f"{i}.png"), np.float32)
        mask = np.asarray(Image.open(photo_folder / "masks" / f"{i}.png"))
        composite = np.where(mask[..., None] > 0, real * 0.6, real)
        Image.fromarray(real.astype(np.uint8)).save(root / "real" / f"n{i}.png")
        Image.fromarray(composite.astype(np.uint8)).save(root / "composite" / f"n{i}.png")
        Image.fromarray(mask).save(root / "mask" / f"n{i}.png")
    (root / "index.jsonl").write_text("\n".join(json.dumps({"name": f"n{i}", "kind": "dark" if i < 3 else "other"}) for i in range(4)))
    return root
