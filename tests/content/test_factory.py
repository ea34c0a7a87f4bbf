"""Encoders by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from raiha_core.content import factory, load_encoder
from raiha_core.content.embedded import WEIGHTS
from raiha_core.errors import RaihaError


@pytest.mark.parametrize("name", ["", "clip", "open_clip:", "open_clip:ViT-B-32", "dinov2:", "embedded:x", "dinov2", "dinov2@file"])
def test_unknown_names_say_what_there_is(name: str) -> None:
    with pytest.raises(RaihaError, match="is not known; use embedded, open_clip:MODEL/TAG, dinov2:MODEL"):
        load_encoder(name)


def test_an_encoder_stays_loaded_until_its_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    state = load_file(WEIGHTS)
    save_file(state, path)
    first = load_encoder(f"embedded@{path}")
    assert load_encoder(f"embedded@{path}") is first
    state = {k: v + 0.01 if v.is_floating_point() else v for k, v in state.items()}
    save_file(state, path)
    os.utime(path, ns=(1, 1))
    second = load_encoder(f"embedded@{path}")
    assert second is not first and second.weights_hash != first.weights_hash
    assert len(factory._loaded) <= factory.KEPT


def test_the_embedded_one_is_at_hand() -> None:
    found = load_encoder().encode(torch.rand(1, 3, 30, 50))
    assert found.vector.shape[1] == load_encoder().dim
    with pytest.raises(RaihaError, match="cannot be loaded"):
        load_encoder("embedded@/nowhere/file.safetensors")
