"""timm's vision transformers as encoders, on a small random checkpoint."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from raiha_core.content import dinov2, load_encoder
from raiha_core.errors import RaihaError

timm = pytest.importorskip("timm")
MODEL = "test_vit"  # timm's own test transformer: 64 channels, patches of 16


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("vit") / "tiny.safetensors"
    save_file(timm.create_model(MODEL, pretrained=False).state_dict(), path)  # with a classifier, which is ignored
    return path


def test_a_local_file_gives_vector_and_map(checkpoint: Path) -> None:
    encoder = load_encoder(f"dinov2:{MODEL}@{checkpoint}")
    assert encoder.id == f"dinov2:{MODEL}@{checkpoint}" and encoder.dim == 64 and len(encoder.weights_hash) == 16
    found = encoder.encode(torch.rand(2, 3, 40, 70))
    assert found.vector.shape == (2, 64) and found.dense.shape == (2, 64, 32, 32)
    torch.testing.assert_close(found.vector.norm(dim=1), torch.ones(2))


def test_the_map_is_timms_last_layer_where_it_belongs(checkpoint: Path) -> None:
    net = dinov2.read_vit(MODEL, checkpoint)
    image = torch.rand(1, 3, 512, 512)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    if tuple(net.pretrained_cfg["mean"]) != (0.485, 0.456, 0.406):
        mean, std = torch.tensor(net.pretrained_cfg["mean"]), torch.tensor(net.pretrained_cfg["std"])
    with torch.inference_mode():
        ours = dinov2.vit_features(net, image).dense
        normal = (image - mean[:, None, None]) / std[:, None, None]
        theirs = net.forward_intermediates(normal, indices=1, norm=True, intermediates_only=True)[0]
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_the_published_geometry() -> None:
    net = dinov2.create_vit("vit_base_patch14_reg4_dinov2.lvd142m")
    assert dinov2.GRID * net.patch_embed.patch_size[0] == 448
    assert net.num_features == 768 and net.num_prefix_tokens == 5 and not any(p.requires_grad for p in net.parameters())


def test_wrong_names_and_files(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(RaihaError, match=r"no published weights of 'vit_enormous'"):
        load_encoder("dinov2:vit_enormous")
    with pytest.raises(RaihaError, match="no vision transformer named 'resnet18'"):
        load_encoder(f"dinov2:resnet18@{checkpoint}")
    with pytest.raises(RaihaError, match="does not exist"):
        load_encoder(f"dinov2:{MODEL}@{tmp_path}/none.safetensors")
    other = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(1)}, other)
    with pytest.raises(RaihaError, match="does not hold the weights of test_vit"):
        load_encoder(f"dinov2:{MODEL}@{other}")


def test_downloads_only_when_chosen_and_said(checkpoint: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    import huggingface_hub

    asked: list[str] = []

    def download(repo: str, name: str) -> str:
        asked.append(f"{repo}/{name}")
        return str(checkpoint)

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda repo, name: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(RaihaError, match="not downloaded unasked"):
        load_encoder("dinov2:test_vit.r160_in1k", download=False)
    assert not asked
    with caplog.at_level(logging.WARNING):
        encoder = load_encoder("dinov2:test_vit.r160_in1k")
    assert asked == ["timm/test_vit.r160_in1k/model.safetensors"] and encoder.id == "dinov2:test_vit.r160_in1k"
    assert "downloading the weights of dinov2:test_vit.r160_in1k" in caplog.text


def test_the_cache_is_used_without_a_word(checkpoint: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda repo, name: str(checkpoint))
    encoder = load_encoder("dinov2:test_vit", download=False)
    assert encoder.dim == 64 and not caplog.text


def test_no_network_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def fail(repo: str, name: str) -> str:
        raise ConnectionError("Name or service not known\nand a long trace")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda repo, name: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(RaihaError, match=r"could not be downloaded from huggingface.co/timm/.* \(Name or service not known\)") as caught:
        load_encoder("dinov2:test_vit3.r160_in1k")
    assert "\n" not in str(caught.value)
