"""An architecture is a folder of `raiha_core/models`: a third one is added without touching a line elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import raiha_core
from raiha_core import models
from raiha_core.cli import main
from raiha_core.errors import RaihaError
from raiha_core.image import read_image
from raiha_core.models import HarmonizationModel, registry

FOLDER = Path(__file__).parent / "fixtures" / "architectures"


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[HarmonizationModel]]:
    """The toy's folder as if it lay in raiha_core/models, until the test ends."""
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(FOLDER)])
    monkeypatch.setattr(registry, "_registry", dict(registry._registry))
    registry.discover()
    yield sys.modules["raiha_core.models.toy"].Toy
    del sys.modules["raiha_core.models.toy"]
    delattr(models, "toy")


@pytest.fixture
def picture() -> NDArray[np.uint8]:
    """Grey 100 with a square of 180 in it."""
    rgb = np.full((48, 64, 3), 100, np.uint8)
    rgb[12:36, 16:48] = 180
    return rgb


@pytest.fixture
def square() -> NDArray[np.uint8]:
    mask = np.zeros((48, 64), np.uint8)
    mask[12:36, 16:48] = 255
    return mask


def test_both_architectures_are_found_by_their_folder() -> None:
    registry.discover()
    assert {"raiha-s", "rhnet"} == set(registry._registry) and set(registry.SHIPPED) == {"raiha-s"}


def test_a_folder_is_all_that_a_third_one_needs(
    toy: type[HarmonizationModel], picture: NDArray[np.uint8], square: NDArray[np.uint8], tmp_path: Path
) -> None:
    file = tmp_path / "toy.safetensors"
    models.save_model(toy(input_size=64), file)
    model = models.load_model(file)
    assert isinstance(model, toy) and model.input_size == 64
    result = raiha_core.harmonize(picture, square, model=file)
    assert abs(int(result.image[24, 32, 0]) - 100) <= 2 and (result.image[square == 0] == 100).all()


def test_the_commands_know_it_too(
    toy: type[HarmonizationModel],
    picture: NDArray[np.uint8],
    square: NDArray[np.uint8],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    composite, mask, checkpoint, converted, out = (
        str(tmp_path / name) for name in ("c.png", "m.png", "toy.pth", "toy.safetensors", "out.png")
    )
    Image.fromarray(picture).save(composite)
    Image.fromarray(square).save(mask)
    torch.save(toy(input_size=64).state_dict(), checkpoint)
    assert main(["convert", checkpoint, converted]) == 0 and "toy" in capsys.readouterr().out
    assert main(["harmonize", composite, mask, "-o", out, "--model", converted]) == 0
    assert abs(int(read_image(out).rgb[24, 32, 0]) - 100) <= 8  # at 32 px, all that a bare state dict says, edges blend


def test_without_its_folder_it_is_unknown(tmp_path: Path) -> None:
    torch.save({"share": torch.tensor(1.0)}, tmp_path / "toy.pth")
    with pytest.raises(RaihaError, match="another kind; known are raiha-s, rhnet"):
        models.load_model(tmp_path / "toy.pth")
