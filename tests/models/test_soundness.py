"""Checkpoints that would load and then paint in black, or fail at first use, are refused when they are loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from raiha_core.errors import RaihaError
from raiha_core.models import RHNet, load_model, save_model
from raiha_core.models.registry import resolve
from raiha_core.models.soundness import FORMAT, check_checkpoint

SMALL = {"conv.weight": torch.ones(2, 2), "steps": torch.tensor(10**9)}
PATH = Path("x.safetensors")


def check(architecture="raiha-s", state=None, **metadata):
    check_checkpoint(architecture, SMALL if state is None else state, metadata, PATH)


def test_sound_ones_pass():
    check(config=json.dumps({"input_size": 256}))
    check(config=json.dumps({"input_size": 256, "caution": 0.25}))
    check("rhnet", config=json.dumps({"ngf": 32, "input_size": 264, "prior": "dinov2:x", "denoise": False}))
    check(state={"half": torch.full((3,), 60000.0, dtype=torch.float16), "none": torch.zeros(0)})


def test_a_setting_that_nobody_knows_is_named(tmp_path):
    model = RHNet(ngf=2, content_channels=0)
    config = json.dumps({**model.config(), "other": 1})
    save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()},
        tmp_path / "x.safetensors",
        metadata={"architecture": "rhnet", "config": config, "format": "1"},
    )
    with pytest.raises(RaihaError, match=r"a setting 'other' that this version does not know") as caught:
        load_model(tmp_path / "x.safetensors")
    assert "__init__" not in str(caught.value)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_weights_that_are_not_finite_or_absurd(bad, dtype):
    weight = torch.ones(50, dtype=dtype)
    weight[7] = bad
    with pytest.raises(RaihaError, match=r"in deep\.weight; it is damaged or its training diverged"):
        check(state={"fine": torch.ones(2), "deep.weight": weight})


def test_weights_of_other_kinds():
    for weight in (torch.ones(2, 2).to_sparse(), torch.empty(2, device="meta"), torch.ones(2, dtype=torch.complex64)):
        with pytest.raises(RaihaError):
            check(state={"w": weight})


@pytest.mark.parametrize("side", [0, -1, None, "a", 1e9, 10**9, True, [], 8, 250, 2080])
def test_impossible_input_sizes(side):
    with pytest.raises(RaihaError, match="input_size"):
        check(config=json.dumps({"input_size": side}))


@pytest.mark.parametrize("config", ["{", "[]", "3", '{"ngf": 1e99}', '{"ngf": 1000000000000}', '{"ngf": null}', "[" * 100_000])
def test_impossible_configurations(config):
    with pytest.raises(RaihaError, match=r"setting ngf|cannot be read"):
        check("rhnet", config=config)


@pytest.mark.parametrize(
    ("said", "word"), [(str(FORMAT + 1), "later version"), ("9" * 400, "later version"), ("x", "no number"), ("-1", "no number")]
)
def test_formats(said, word):
    with pytest.raises(RaihaError, match=word):
        check(format=said)


def test_a_written_model_says_its_format_and_a_damaged_one_does_not_load(tmp_path):
    path = tmp_path / "x.safetensors"
    save_model(RHNet(ngf=2, content_channels=0), path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert metadata["format"] == str(FORMAT)
    assert load_model(path).architecture == "rhnet"
    state = load_file(path)
    state["model_layer1.1.weight"].view(-1)[0] = float("nan")
    save_file(state, path, metadata)
    with pytest.raises(RaihaError, match="not finite"):
        load_model(path)
    save_file(load_file(resolve("raiha-s")), path, {"config": json.dumps({"input_size": 250})})
    with pytest.raises(RaihaError, match="multiple of 32"):
        load_model(path)


def test_the_meta_device_is_refused():
    with pytest.raises(RaihaError, match="meta"):
        load_model("raiha-s", "meta")


@pytest.mark.parametrize("caution", [-0.1, 1.5, "a", True, None, [0]])
def test_impossible_caution(caution):
    with pytest.raises(RaihaError, match="impossible setting caution"):
        check(config=json.dumps({"caution": caution}))
