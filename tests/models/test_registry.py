"""Models by name and file: what loads, and what is refused with a sentence."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from raiha_core.errors import RaihaError
from raiha_core.models import RHNet, load_model, read_state, save_model


@pytest.fixture
def network() -> RHNet:
    torch.manual_seed(0)
    return RHNet(ngf=4, content_channels=0, input_size=64)


class Hostile:
    """Would create a file when unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple:
        return open, (str(self.path), "w")


def test_a_model_comes_back_as_it_was(network: RHNet, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_model(network, path, step="7")
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert metadata["architecture"] == "rhnet" and metadata["step"] == "7"
    assert json.loads(metadata["config"]) == network.config()
    again = load_model(str(path))
    assert isinstance(again, RHNet) and not again.training
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in network.state_dict().items())
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize("wrapper", [None, "state_dict", "params_ema", "netG"])
def test_a_pth_with_prefix_and_wrapper_loads(network: RHNet, tmp_path: Path, wrapper: str | None) -> None:
    state = {f"module.{k}": v for k, v in network.state_dict().items()}
    path = tmp_path / "a.pth"
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, path)
    loaded, _ = read_state(path)
    assert set(loaded) == set(network.state_dict())
    model = load_model(path)
    assert isinstance(model, RHNet) and model.ngf == 4 and model.content_channels == 0


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(RaihaError, match=r"no model named 'raiha-xl'; use raiha-s"):
        load_model("raiha-xl")


@pytest.mark.parametrize(
    ("name", "device", "said"),
    [
        ("a" * 300, None, "There is no model"),
        ("a" * 300 + ".pth", None, "model file"),
        ("raiha-s", "hpu", "not to be had here"),
        ("raiha-s", "meta", "computes nothing"),
        ("raiha-s", "", "not to be had here"),
    ],
)
def test_names_and_devices_that_no_system_has(name: str, device: str | None, said: str) -> None:
    with pytest.raises(RaihaError, match=said):
        load_model(name, device)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RaihaError, match="does not exist"):
        load_model(tmp_path / "none.safetensors")
    with pytest.raises(RaihaError, match="is no file"):
        load_model(tmp_path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_broken_files(network: RHNet, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".pth":
        torch.save(network.state_dict(), path)
    else:
        save_model(network, path)
    whole = path.read_bytes()
    for content in (b"", b"not a model", whole[:100], whole[: len(whole) // 2], whole[:-7], b"\x80\x02" + whole[2:50], b"\xff" * 64):
        path.write_bytes(content)
        with pytest.raises(RaihaError) as caught:
            load_model(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("legacy", [False, True])
def test_hostile_pickles_do_not_run(tmp_path: Path, legacy: bool) -> None:
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    torch.save({"state_dict": Hostile(trace)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(RaihaError, match="could run code"):
        load_model(path)
    path.write_bytes(pickle.dumps(Hostile(trace)))
    with pytest.raises(RaihaError):
        load_model(path)
    assert not trace.exists()


def test_other_checkpoints(tmp_path: Path, network: RHNet) -> None:
    other = tmp_path / "other.safetensors"
    save_file({"conv.weight": torch.zeros(3)}, other)
    with pytest.raises(RaihaError, match=r"another kind; known are .*raiha-s.*rhnet|another kind; known are .*rhnet.*raiha-s"):
        load_model(other)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(RaihaError, match="no state dict"):
        load_model(tmp_path / "list.pth")
    state = network.state_dict()
    del state["model_layer5.1.weight"]
    save_file(state, other)
    with pytest.raises(RaihaError, match=r"looks like rhnet but does not fit it .*model_layer5"):
        load_model(other)
    save_file(network.state_dict(), other, metadata={"config": "{"})
    with pytest.raises(RaihaError, match="configuration that cannot be read"):
        load_model(other)
    save_file(network.state_dict(), other, metadata={"config": '{"colour": 3}'})
    with pytest.raises(RaihaError, match="does not fit"):
        load_model(other)


def test_a_device_that_is_not_there(network: RHNet, tmp_path: Path) -> None:
    save_model(network, tmp_path / "a.safetensors")
    with pytest.raises(RaihaError, match="device 'toaster'"):
        load_model(tmp_path / "a.safetensors", device="toaster")


def test_a_failed_write_leaves_nothing(network: RHNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RaihaError, match="cannot be written"):
        save_model(network, tmp_path / "none" / "a.safetensors")
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(RaihaError, match="No space left"):
        save_model(network, path)
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]
