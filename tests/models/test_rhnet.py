"""RHNet against what the published implementation computes, and its own promises."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from raiha_core.errors import RaihaError
from raiha_core.models import RHNet, load_model, save_model
from raiha_core.models.registry import detect
from raiha_core.models.rhnet import Output
from raiha_core.models.rhnet.denoiser import Denoiser

FIXTURE = Path(__file__).parent / "fixtures" / "rhnet_ngf8.safetensors"


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    return load_file(FIXTURE)


@pytest.fixture(scope="module")
def network(published: dict[str, Tensor]) -> RHNet:
    state = {k.removeprefix("state_dict."): v for k, v in published.items() if k.startswith("state_dict.")}
    model = detect(state, FIXTURE).build(state, {})
    assert isinstance(model, RHNet)
    return model.eval()


@pytest.fixture
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def shown_map(out: Output, panels: int) -> Tensor:
    """The published map: summed over queries, panels side by side, enlarged by 8, divided by its maximum."""
    summed = (out.weights * out.foreground[:, :, None]).sum(1).reshape(panels, 16, 16).movedim(0, 1).reshape(1, 1, 16, 16 * panels)
    big = torch.nn.functional.interpolate(summed, scale_factor=8, mode="nearest")
    return big / big.max()


@pytest.mark.parametrize("threads", [1, 2], indirect=True)
@pytest.mark.usefixtures("threads")
def test_the_published_outputs_are_reproduced(network: RHNet, published: dict[str, Tensor]) -> None:
    p = published
    with torch.inference_mode():
        alone = network(p["composite"], p["mask"], p["content_composite"])
        beside = network(p["composite"], p["mask"], p["content_composite"], p["reference"][None], p["content_reference"][None])
    for name, got in (
        ("out_noref", alone.image),
        ("out_ref", beside.image),
        ("att_noref", shown_map(alone, 1)),
        ("att_ref", shown_map(beside, 2)),
    ):
        assert got.shape == p[name].shape
        assert (got - p[name]).abs().max() < 1e-5, name


def test_gradients_reach_every_parameter(published: dict[str, Tensor]) -> None:
    torch.manual_seed(0)
    model = RHNet(ngf=4, content_channels=8)
    half = torch.nn.functional.avg_pool2d
    c, r, m = (half(published[k], 2) for k in ("composite", "reference", "mask"))
    m = (m > 0.5).float()
    content = torch.randn(1, 8, 8, 8)
    composite = c.clone().requires_grad_()
    out = model(composite, m, content, r[None], content[None])
    ((out.image[..., :64] - r) * m).square().sum().backward()
    unreached = [n for n, q in model.named_parameters() if q.grad is None or not q.grad.isfinite().all()]
    assert not unreached
    # The output's pixels outside the mask take no part, but every weight of the network does.
    assert all(q.grad.abs().sum() > 0 for n, q in model.named_parameters() if n.endswith("weight"))
    assert composite.grad is not None and composite.grad.isfinite().all()


def test_the_full_width_has_the_papers_size() -> None:
    count = sum(p.numel() for p in RHNet().parameters())
    assert count == pytest.approx(11.46e6, abs=5e3)


def test_any_number_of_references_and_attention_per_query() -> None:
    torch.manual_seed(0)
    model = RHNet(ngf=4, content_channels=256, prior="embedded", input_size=64).eval()
    composite = torch.rand(1, 3, 64, 64)
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 20:37, 8:30] = 1
    for count in (0, 1, 3):
        found = model.predict(composite, mask, [torch.rand(1, 3, 64, 64) for _ in range(count)] or None, attention=True)
        look = found.attention
        assert look is not None and look.panels == 1 + count and look.grid == (8, 8)
        touched = torch.nn.functional.max_pool2d(mask, 8)[0, 0] > 0
        assert torch.equal(look.queries, touched.flatten().nonzero()[:, 0])
        torch.testing.assert_close(look.weights.sum(1), torch.ones(len(look.queries)))
        assert look.summed()[0][touched].abs().max() == 0
        assert look.summed().shape == (1 + count, 8, 8)


def test_keys_are_panel_major() -> None:
    """A reference that repeats a unique patch of content draws the attention to its own panel and place."""
    model = RHNet(ngf=4, content_channels=8).eval()
    with torch.no_grad():  # the features keep quiet, the content speaks
        model.DVTATT.K_conv.weight.zero_()
        model.DVTATT.K_conv.bias.zero_()
        model.DVTATT.K_conv.weight[:8, 64:, 0, 0] = torch.eye(8)
    content = torch.zeros(1, 8, 8, 8)
    content[:, 0] = 1
    references = content[:, None].repeat(1, 2, 1, 1, 1)
    content[0, :, 2, 3] = torch.eye(8)[5]
    references[0, 1, :, 6, 1] = torch.eye(8)[5]
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 16:24, 24:32] = 1
    with torch.inference_mode():
        out = model(torch.rand(1, 3, 64, 64), mask, content, torch.rand(1, 2, 3, 64, 64), references)
    row = out.weights[0, 2 * 8 + 3].reshape(3, 8, 8)
    assert row[2, 6, 1] > 0.99


def test_a_prediction_is_a_transform_of_colours_at_any_size(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = RHNet(ngf=4, content_channels=256, prior="embedded", input_size=64).eval()
    save_model(model, tmp_path / "own.safetensors")
    again = load_model(tmp_path / "own.safetensors")
    assert isinstance(again, RHNet) and again.config() == model.config()
    composite, mask = torch.rand(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)
    mask[..., 16:48, 16:48] = 1
    at = torch.linspace(0, 1, 200)
    pixels = torch.rand(1, 3, 200, 200)
    one, two = (m.predict(composite, mask).transform(pixels, at, at) for m in (model, again))
    assert one.shape == (1, 3, 200, 200) and one.isfinite().all()
    assert torch.equal(one, two)


def test_a_missing_prior_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("raiha_core.content.hub.cached", lambda repo, names: None)
    model = RHNet(ngf=4, content_channels=768, input_size=64).eval()
    with pytest.raises(RaihaError, match=r"needs the content encoder dinov2:.*which is not on this machine; store it"):
        model.predict(torch.rand(1, 3, 64, 64), torch.ones(1, 1, 64, 64))


def test_a_prior_of_other_width_is_one_sentence() -> None:
    model = RHNet(ngf=4, content_channels=100, prior="embedded", input_size=64).eval()
    with pytest.raises(RaihaError, match="expects 100 channels of content, embedded gives 256"):
        model.predict(torch.rand(1, 3, 64, 64), torch.ones(1, 1, 64, 64))


def test_a_network_without_prior(tmp_path: Path) -> None:
    model = RHNet(ngf=4, content_channels=0, input_size=64).eval()
    path = tmp_path / "m.safetensors"
    save_model(model, path)
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., :30, :30] = 0.4  # soft everywhere: still a foreground
    found = load_model(path).predict(torch.rand(1, 3, 64, 64), mask, [torch.rand(1, 3, 64, 64)], attention=True)
    assert found.attention is not None and found.attention.panels == 2
    assert json.dumps(model.config())


def test_content_under_autocast_on_a_cpu() -> None:
    model = RHNet(ngf=4, content_channels=256, prior="embedded", input_size=64)
    with torch.autocast("cpu", torch.bfloat16):
        content = model.encode_content(torch.rand(1, 3, 64, 64))
    assert content is not None and content.dtype == torch.float32 and content.shape == (1, 256, 8, 8)


def test_the_denoiser_keeps_names_and_shapes() -> None:
    pytest.importorskip("timm")
    torch.manual_seed(0)
    block = Denoiser(128, side=5)
    names = set(block.state_dict())
    assert {"pos_embed", "denoiser.norm1.weight", "denoiser.attn.qkv.bias", "denoiser.mlp.fc2.weight"} <= names
    dense = torch.randn(2, 128, 5, 5)
    # By hand: a pre-norm block of two heads over tokens with positions added.
    tokens = dense.flatten(2).mT + block.pos_embed
    state = block.denoiser
    q, k, v = state.attn.qkv(state.norm1(tokens)).reshape(2, 25, 3, 2, 64).permute(2, 0, 3, 1, 4)
    mixed = (q @ k.mT / 8).softmax(-1) @ v
    tokens = tokens + state.attn.proj(mixed.transpose(1, 2).reshape(2, 25, 128))
    tokens = tokens + state.mlp.fc2(torch.nn.functional.gelu(state.mlp.fc1(state.norm2(tokens))))
    torch.testing.assert_close(block(dense), tokens.mT.reshape(2, 128, 5, 5), atol=1e-4, rtol=1e-4)
    assert block(torch.randn(1, 128, 8, 9)).shape == (1, 128, 8, 9)
