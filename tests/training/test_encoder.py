"""The embedded encoder is made from a teacher; here from one with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from raiha_core.content.embedded import DIM, EmbeddedEncoder
from raiha_core.content.mobilenet import MobileNetV2
from raiha_core.errors import RaihaError
from raiha_core.training.distill import load_teacher
from raiha_core.training.encoder import FROZEN, adapt, from_teacher, query_boxes
from raiha_core.training.pack import Pack


@pytest.fixture(scope="module")
def teacher_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    torch.manual_seed(0)
    net = MobileNetV2()
    for layer in net.filters():
        torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    state = {f"w{i}": f.weight.detach() for i, f in enumerate(net.filters())}
    state |= {f"b{i}": f.bias.detach() for i, f in enumerate(net.filters()) if f.bias is not None}
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "mobilenet_v2.safetensors")
    return folder


@pytest.fixture(scope="module")
def pack() -> Pack:
    rng = np.random.default_rng(0)
    photos = np.kron(rng.integers(0, 255, (160, 8, 8, 3)), np.ones((1, 8, 8, 1))).astype(np.uint8)
    masks = np.zeros((4, 64, 64), np.uint8)
    masks[:, 16:48, 8:40] = 255
    kept = np.arange(4)
    return Pack(photos, masks, kept, kept * 0 - 1, kept < 0, photos[:0], [f"{i}.png" for i in range(160)])


def test_the_network_has_the_published_shape() -> None:
    net = MobileNetV2()
    assert len(net.filters()) == 52 and sum(p.numel() for p in net.parameters()) == 2_206_816
    assert net(torch.rand(1, 3, 96, 160)).shape == (1, 1280, 3, 5)


def test_the_projection_keeps_the_principal_components(teacher_folder: Path, pack: Pack) -> None:
    teacher = load_teacher(teacher_folder)
    net = from_teacher(teacher, pack.photos)
    x = torch.rand(2, 3, 192, 192)
    with torch.inference_mode():
        vector, dense = net(x)
        features = teacher(x)
        assert net.project.bias is not None
        expected = torch.einsum("bchw,dc->bdhw", features, net.project.weight[:, :, 0, 0]) + net.project.bias[:, None, None]
        torch.testing.assert_close(dense, expected, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(vector, dense.mean((2, 3)))
        rows = net.project.weight[:, :, 0, 0]
        overlap = torch.nn.functional.normalize(rows, dim=1) @ torch.nn.functional.normalize(rows, dim=1).T
    assert float((overlap - torch.eye(DIM)).abs().max()) < 1e-2


def test_adapting_changes_only_the_last_blocks_and_can_be_loaded(teacher_folder: Path, pack: Pack, tmp_path: Path) -> None:
    net = from_teacher(load_teacher(teacher_folder), pack.photos)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    out = tmp_path / "encoder.safetensors"
    adapt(net, pack, np.arange(160), out, minutes=1e-6, batch=2)
    after = EmbeddedEncoder.load(out).net.state_dict()
    changed = {k for k in before if not torch.equal(before[k], after[k])}
    assert "project.weight" in changed and "backbone.last.weight" in changed
    frozen = {k for k in before if k.startswith("backbone.blocks.") and int(k.split(".")[2]) < FROZEN}
    assert frozen and not changed & frozen


def test_queries_take_some_context_and_stay_in_the_picture() -> None:
    boxes = query_boxes(np.array([[0.4, 0.4, 0.6, 0.8], [0.0, 0.0, 1.0, 0.5]], np.float32))
    np.testing.assert_allclose(boxes, [[0.36, 0.36, 0.64, 0.84], [0, 0, 1, 0.6]], atol=1e-6)


@pytest.mark.parametrize("wrong", ["missing", "garbage", "other"])
def test_a_teacher_that_cannot_be_read_is_one_sentence(tmp_path: Path, wrong: str) -> None:
    file = tmp_path / "mobilenet_v2.safetensors"
    if wrong == "garbage":
        file.write_bytes(b"no weights")
    if wrong == "other":
        save_file({"w0": torch.zeros(1)}, file)
    with pytest.raises(RaihaError, match=r"teacher .* cannot be loaded"):
        load_teacher(tmp_path)
