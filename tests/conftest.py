"""Fixtures that any room may use: a small scene, its mask, and files of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from PIL import Image

torch.set_num_threads(1)
# How fast a machine is, and what else it does, says nothing of the code.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def scene() -> tuple[np.ndarray, np.ndarray]:
    """A 96 x 128 composite (warm gradient, bluish disc) and its mask, uint8."""
    y, x = np.mgrid[0:96, 0:128]
    photo = np.stack([120 + x * 0.8, 90 + x * 0.5 + y * 0.2, 60 + y * 0.4], 2)
    photo += np.random.default_rng(0).normal(0, 6, photo.shape)
    disc = (x - 70) ** 2 + (y - 50) ** 2 < 26**2
    photo[disc] = photo[disc][:, ::-1] * 0.8
    return photo.clip(0, 255).astype(np.uint8), (disc * 255).astype(np.uint8)


@pytest.fixture
def scene_files(scene: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> tuple[Path, Path]:
    """The scene as `composite.png` and `mask.png`."""
    composite, mask = tmp_path / "composite.png", tmp_path / "mask.png"
    Image.fromarray(scene[0]).save(composite)
    Image.fromarray(scene[1]).save(mask)
    return composite, mask
