"""Published checkpoints as one file: with every prefix, with and without their parts, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from raiha_core.errors import RaihaError
from raiha_core.models import RaihaS, RHNet, load_model, save_model
from raiha_core.models.convert import convert
from raiha_core.models.rhnet.denoiser import Denoiser

FIXTURE = Path(__file__).parent / "fixtures" / "rhnet_ngf8.safetensors"
State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def published() -> State:
    """Original key names, the unused `conv_guide` included."""
    return {k.removeprefix("state_dict."): v for k, v in load_file(FIXTURE).items() if k.startswith("state_dict.")}


@pytest.fixture
def checkpoint(published: State, tmp_path: Path) -> Path:
    torch.save(published, tmp_path / "60_net_G.pth")
    return tmp_path / "60_net_G.pth"


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_published_checkpoint_computes_the_same(published: State, tmp_path: Path, prefix: str) -> None:
    torch.save({f"{prefix}{k}": v for k, v in published.items()}, tmp_path / "in.pth")
    done = convert(tmp_path / "in.pth", tmp_path / "out.safetensors")
    assert done.architecture == "rhnet" and done.config["ngf"] == 8 and not done.config["denoise"]
    model = load_model(tmp_path / "out.safetensors")
    assert isinstance(model, RHNet)
    assert done.parameters == sum(p.numel() for p in model.parameters())
    f = load_file(FIXTURE)
    with torch.inference_mode():
        image = model(f["composite"], f["mask"], f["content_composite"]).image
    assert (image - f["out_noref"]).abs().max() < 1e-5
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.pth", "out.safetensors"]


@pytest.mark.parametrize("where", ["own file", "own file, wrapped", "own file, with the transformer", "same file"])
def test_the_denoiser_comes_along(published: State, checkpoint: Path, tmp_path: Path, where: str) -> None:
    torch.manual_seed(0)
    block = Denoiser(768).state_dict()
    path: Path | None = tmp_path / "denoiser.pth"
    if where == "same file":
        torch.save({**published, **{f"extractor.{k}": v for k, v in block.items()}}, checkpoint)
        path = None
    elif where == "own file, wrapped":
        torch.save({"denoiser": block, "step": 4}, path)
    else:
        extra = {"vit.model.pos_embed": torch.zeros(1, 9, 8)} if "transformer" in where else {}
        torch.save({**extra, **block}, path)
    done = convert(checkpoint, tmp_path / "out.safetensors", denoiser=path)
    model = load_model(done.out)
    assert isinstance(model, RHNet) and model.config()["denoise"]
    assert model.prior is not None and model.prior.denoiser is not None
    assert torch.equal(model.prior.denoiser.pos_embed, block["pos_embed"])
    assert torch.equal(model.prior.denoiser.state_dict()["denoiser.attn.qkv.weight"], block["denoiser.attn.qkv.weight"])
    assert not any(p.requires_grad for p in model.prior.parameters())


def test_the_prior_can_be_carried_and_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    save_file(timm.create_model("test_vit", pretrained=False).state_dict(), tmp_path / "vit.safetensors")
    network = RHNet(ngf=4, content_channels=64, prior="dinov2:test_vit", input_size=64)
    torch.save({k: v for k, v in network.state_dict().items()}, tmp_path / "in.pth")
    torch.save(Denoiser(64).state_dict(), tmp_path / "denoiser.pth")
    out = tmp_path / "out.safetensors"
    options = {"denoiser": tmp_path / "denoiser.pth", "dinov2": tmp_path / "vit.safetensors"}
    done = convert(tmp_path / "in.pth", out, prior="dinov2:test_vit", **options)
    assert done.config["carries_prior"] and done.config["prior"] == "dinov2:test_vit"
    monkeypatch.setattr("raiha_core.models.rhnet.prior.load_encoder", None)  # nothing is looked for elsewhere
    model = load_model(out)
    model.input_size = 64
    assert isinstance(model, RHNet)
    picture = torch.rand(2, 3, 64, 64)
    content = model.encode_content(picture)
    assert content is not None and content.shape == (2, 64, 8, 8) and content.isfinite().all()
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 10:40, 10:40] = 1
    at = torch.linspace(0, 1, 64)
    assert model.predict(picture[:1], mask, [picture[1:]]).transform(picture[:1], at, at).isfinite().all()
    # Converting a converted file changes nothing.
    again = convert(out, tmp_path / "again.safetensors")
    first, second = load_file(out), load_file(again.out)
    assert again.config == done.config and first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_other_architectures_convert_too(tmp_path: Path) -> None:
    save_model(RaihaS(), tmp_path / "in.safetensors", note="kept")
    done = convert(tmp_path / "in.safetensors", tmp_path / "out.safetensors")
    assert done.architecture == "raiha-s" and isinstance(load_model(done.out), RaihaS)
    with pytest.raises(RaihaError, match="takes no content prior"):
        convert(tmp_path / "in.safetensors", tmp_path / "out.safetensors", fetch=True)


def test_what_is_refused(published: State, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    out.write_bytes(b"old")

    def refused(message: str, source: Path = checkpoint, target: Path = out, **options: Path | str) -> None:
        with pytest.raises(RaihaError, match=message) as caught:
            convert(source, target, **options)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
        assert out.read_bytes() == b"old"

    refused("must be called .safetensors", target=tmp_path / "out.pth")
    refused("folder .* does not exist", target=tmp_path / "none" / "out.safetensors")
    refused("does not exist", source=tmp_path / "none.pth")
    refused("holds no denoising block", denoiser=checkpoint)
    refused("does not hold the weights of test_vit", dinov2=checkpoint, prior="dinov2:test_vit")
    refused("cannot be carried", prior="embedded", dinov2=checkpoint)
    bad = tmp_path / "bad.pth"
    torch.save({k: v for k, v in published.items() if "layer9norm" not in k}, bad)
    refused("looks like rhnet but does not fit it", source=bad)
    torch.save({**published, "discriminator.weight": torch.zeros(2)}, bad)
    refused("holds 1 tensors that rhnet does not know", source=bad)
    torch.save({"weight": torch.zeros(2)}, bad)
    refused("another kind", source=bad)
    bad.write_bytes(checkpoint.read_bytes()[:9000])
    refused("cannot be read", source=bad)
    torch.save({k: v for k, v in Denoiser(128).state_dict().items()}, bad)
    refused("does not fit it", denoiser=bad)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["60_net_G.pth", "bad.pth", "out.safetensors"]
