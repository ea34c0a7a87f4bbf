"""The two programs that make what training starts from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

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
    state = {}
    for i, layer in enumerate(net.filters()):
        state |= {f"w{i}": layer.weight.detach().contiguous(), f"b{i}": layer.bias.detach().contiguous()}
    save_file(state, tmp_path / "teacher" / "mobilenet_v2.safetensors")
    for i in range(160):
        Image.new("RGB", (8, 8), (i, 255 - i, (7 * i) % 256)).save(tmp_path / f"{i}.png")
    out = tmp_path / "encoder.safetensors"
    given = ["--data", str(tmp_path), "--pack", str(tmp_path / "pack"), "--out", str(out), "--minutes", "0", "--hold-out", "10"]
    assert script("make_encoder").main(given) == 0
    assert EmbeddedEncoder.load(out).encode(torch.rand(1, 3, 64, 64)).vector.shape == (1, 256)


def test_released_weights_are_half_as_large_and_load_as_before(script: Callable[[str], ModuleType], tmp_path: Path) -> None:
    from safetensors import safe_open

    from raiha_core.models import RHNet, load_model, save_model

    torch.manual_seed(0)
    network, own, released = RHNet(ngf=4, content_channels=0, input_size=64), tmp_path / "own.safetensors", tmp_path / "out.safetensors"
    save_model(network, own, step="7")
    assert script("release_weights").main([str(own), str(released)]) == 0
    assert released.stat().st_size < 0.55 * own.stat().st_size and {p.name for p in tmp_path.iterdir()} == {own.name, released.name}
    with safe_open(own, "pt") as a, safe_open(released, "pt") as b:
        assert a.metadata() == b.metadata() and set(a.keys()) == set(b.keys())
    again = load_model(released).state_dict()
    for name, value in network.state_dict().items():
        assert again[name].dtype == value.dtype
        torch.testing.assert_close(again[name], value, atol=1e-4, rtol=1e-3)


def test_values_beyond_half_precision_are_refused(
    script: Callable[[str], ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file({"scale": torch.tensor([1e6]), "count": torch.tensor([2**40])}, tmp_path / "a.safetensors")
    assert script("release_weights").main([str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors")]) == 2
    assert "scale has values up to 1e+06" in capsys.readouterr().err and not (tmp_path / "b.safetensors").exists()
    save_file({"count": torch.tensor([2**40])}, tmp_path / "a.safetensors")
    assert script("release_weights").main([str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors")]) == 0
    from safetensors.torch import load_file

    assert load_file(tmp_path / "b.safetensors")["count"].item() == 2**40
