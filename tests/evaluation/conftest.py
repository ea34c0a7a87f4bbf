"""Miniatures of the layouts that evaluation reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]


def _scene(seed: int, height: int = 40, width: int = 48) -> tuple[Array, Array, Array]:
    """Smooth real photo, its mask, and a composite whose foreground is darker and warmer."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 220, (4, 5, 3), dtype=np.uint8)
    real = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    mask = np.zeros((height, width), np.uint8)
    side = 6 + 5 * (seed % 4)
    top, left = rng.integers(0, height - side), rng.integers(0, width - side)
    mask[top : top + side, left : left + side] = 255
    changed = np.clip(real * np.array([0.9, 0.7, 0.5]), 0, 255).astype(np.uint8)
    return np.where(mask[..., None] > 0, changed, real), mask, real


def _save(path: Path, array: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def triplets(tmp_path: Path) -> Path:
    """Six triplets of two kinds, lossless; the first has two references."""
    root = tmp_path / "triplets"
    lines = []
    for i in range(6):
        name = f"pic_{i}"
        for part, array in zip(("composite", "mask", "real"), _scene(i), strict=True):
            _save(root / part / f"{name}.png", array)
        lines.append({"name": name, "kind": ("edit", "lut")[i % 2], "label": ("cat", "dog", "car")[i % 3]})
    for k in (1, 2):
        _save(root / "references" / "pic_0" / f"r{k}.png", _scene(100 + k)[2])
    (root / "index.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return root


@pytest.fixture
def iharmony4(tmp_path: Path) -> Path:
    """Two composites in each subset; the day2night names hold dashes; a train list that must not be read."""
    root = tmp_path / "iHarmony4"
    names = {"HCOCO": "c7", "HAdobe5k": "a0001", "HFlickr": "f12", "Hday2night": "d90000001-10"}
    for n, (subset, photo) in enumerate(names.items()):
        composite, mask, real = _scene(n)
        _save(root / subset / "masks" / f"{photo}_1.png", mask)
        _save(root / subset / "real_images" / f"{photo}.jpg", real)
        for k in (1, 2):
            _save(root / subset / "composite_images" / f"{photo}_1_{k}.jpg", composite)
        (root / subset / f"{subset}_test.txt").write_text(f"{photo}_1_1.jpg\n{photo}_1_2.jpg\n")
        (root / subset / f"{subset}_train.txt").write_text("x_1_1.jpg\n")
    return root


@pytest.fixture
def scene() -> Callable[[int], tuple[Array, Array, Array]]:
    """Composite, mask, real of a seed."""
    return _scene
