"""The two programs that make what training starts from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from raiha_core.content.embedded import EmbeddedEncoder
from raiha_core.content.mobilenet import MobileNetV2


@pytest.mark.parametrize("name", ["distill_backbone", "make_encoder"])
def test_a_missing_teacher_is_one_sentence(
    name: str, script: Callable[[str], ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script(name).main(["--data", str(tmp_path), "--out", str(tmp_path / "o.safetensors"), "--pack", str(tmp_path / "pack")]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"{name}: The teacher ") and err.count("\n") == 1 and not list(tmp_path.iterdir())


def test_an_encoder_is_made(script: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import raiha_core.training.encoder as encoder

    monkeypatch.setattr(encoder, "INPUT", 32)
    torch.manual_seed(0)
    (tmp_path / "teacher").mkdir()
    net = MobileNetV2()
    state: dict[str, Tensor] = {}
    for i, layer in enumerate(net.filters()):
        state |= {f"w{i}": layer.weight.detach().contiguous(), f"b{i}": layer.bias.detach().contiguous()}
    save_file(state, tmp_path / "teacher" / "mobilenet_v2.safetensors")
    for i in range(160):
        Image.new("RGB", (8, 8), (i, 255 - i, (7 * i) % 256)).save(tmp_path / f"{i}.png")
    out = tmp_path / "encoder.safetensors"
    given = ["--data", str(tmp_path), "--pack", str(tmp_path / "pack"), "--out", str(out), "--minutes", "0", "--hold-out", "10"]
    assert script("make_encoder").main(given) == 0
    assert EmbeddedEncoder.load(out).encode(torch.rand(1, 3, 64, 64)).vector.shape == (1, 256)
