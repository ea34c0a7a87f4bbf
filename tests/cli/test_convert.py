"""`raiha convert`, end to end."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch

from raiha_core.cli import main
from raiha_core.models import RaihaS, RHNet, load_model, save_model


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = RHNet(ngf=4, content_channels=256, prior="embedded")
    torch.save({f"module.{k}": v for k, v in network.state_dict().items()}, tmp_path / "in.pth")
    return tmp_path / "in.pth"


def test_a_checkpoint_becomes_a_model_that_harmonises(
    checkpoint: Path, tmp_path: Path, scene_files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "own.safetensors"
    assert main(["convert", str(checkpoint), str(out), "--prior", "embedded", "--json"]) == 0
    said = capsys.readouterr()
    facts = json.loads(said.out)
    assert facts["architecture"] == "rhnet" and facts["config"]["prior"] == "embedded" and not said.err
    assert main(["convert", str(out), str(tmp_path / "twice.safetensors")]) == 0
    assert "rhnet, 0." in capsys.readouterr().out
    picture = tmp_path / "result.png"
    composite, mask = (str(p) for p in scene_files)
    assert main(["harmonize", composite, mask, "-o", str(picture), "--model", str(out), "--references", composite]) == 0
    assert picture.stat().st_size > 0


def test_mistakes_are_one_line(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tmp_path / "trace"

    class Hostile:
        def __reduce__(self) -> tuple:
            return open, (str(trace), "w")

    evil = tmp_path / "evil.pth"
    evil.write_bytes(pickle.dumps({"a": Hostile()}))
    for arguments in (
        [str(evil), "o.safetensors"],
        [str(checkpoint), "o.pth"],
        [str(tmp_path / "no.pth"), "o.safetensors"],
        [str(checkpoint)],
    ):
        arguments[1:] = [str(tmp_path / a) for a in arguments[1:]]
        assert main(["convert", *arguments]) == 2
        said = capsys.readouterr()
        assert said.out == "" and said.err.startswith("raiha: ") and said.err.count("\n") == 1
    assert not trace.exists() and not list(tmp_path.glob("o.*"))


def test_half_as_large_and_loaded_as_before(tmp_path: Path) -> None:
    from safetensors import safe_open

    torch.manual_seed(0)
    network, own, released = RaihaS(64), tmp_path / "own.safetensors", tmp_path / "out.safetensors"
    save_model(network, own, step="7")
    assert main(["convert", str(own), str(released), "--half"]) == 0
    assert released.stat().st_size < 0.55 * own.stat().st_size and {*tmp_path.iterdir()} == {own, released}
    with safe_open(own, "pt") as a, safe_open(released, "pt") as b:
        assert a.metadata() == b.metadata() and set(a.keys()) == set(b.keys())
    again = load_model(released).state_dict()
    for name, value in network.state_dict().items():
        assert again[name].dtype == value.dtype
        torch.testing.assert_close(again[name], value, atol=1e-4, rtol=1e-3)


def test_values_beyond_half_precision_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = RaihaS(64)
    with torch.no_grad():
        network.scale.fill_(1e6)
    save_model(network, tmp_path / "own.safetensors")
    assert main(["convert", str(tmp_path / "own.safetensors"), str(tmp_path / "out.safetensors"), "--half"]) == 2
    assert "float16" in capsys.readouterr().err and not (tmp_path / "out.safetensors").exists()
