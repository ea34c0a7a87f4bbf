"""open_clip's image towers as encoders, on a small random checkpoint."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from raiha_core.content import load_encoder
from raiha_core.content.open_clip import OpenClipEncoder
from raiha_core.errors import RaihaError

open_clip = pytest.importorskip("open_clip")
CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 32, "width": 64, "heads": 1, "layers": 1},
}
MODEL = "raiha-tiny-test"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as open_clip saves it; its model is also known to open_clip by name."""
    torch.manual_seed(0)
    where = tmp_path_factory.mktemp("clip")
    (where / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": CONFIG, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}})
    )
    save_file(open_clip.CLIP(**CONFIG).state_dict(), where / "open_clip_model.safetensors")
    named = tmp_path_factory.mktemp("config") / f"{MODEL}.json"
    named.write_text(json.dumps(CONFIG))
    open_clip.add_model_config(named)
    return where


def test_a_folder_gives_vector_and_map(folder: Path) -> None:
    encoder = load_encoder(f"open_clip:@{folder}")
    assert encoder.id == f"open_clip:@{folder}" and encoder.dim == 24
    images = torch.rand(2, 3, 50, 33)
    found = encoder.encode(images)
    assert found.vector.shape == (2, 24) and found.dense.shape == (2, 64, 4, 4)
    clip = open_clip.create_model(f"local-dir:{folder}")
    clip.eval()
    x = torch.nn.functional.interpolate(images, size=(32, 32), mode="bicubic", antialias=True).clamp(0, 1)
    with torch.inference_mode():
        theirs = clip.encode_image((x - 0.5) / 0.25, normalize=True)
    torch.testing.assert_close(found.vector, theirs, atol=1e-5, rtol=1e-4)


def test_a_model_with_a_local_file(folder: Path) -> None:
    file = folder / "open_clip_model.safetensors"
    encoder = load_encoder(f"open_clip:{MODEL}@{file}")
    assert encoder.id == f"open_clip:{MODEL}@{file}"
    assert encoder.weights_hash == load_encoder(f"open_clip:@{folder}").weights_hash
    assert encoder.encode(torch.rand(1, 3, 32, 32)).vector.norm().item() == pytest.approx(1, abs=1e-5)


def test_wrong_names_and_files(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RaihaError, match="no model named 'ViT-Z-1'"):
        load_encoder("open_clip:ViT-Z-1/openai")
    with pytest.raises(RaihaError, match=r"no weights 'mars' for ViT-B-32; use one of: openai"):
        load_encoder("open_clip:ViT-B-32/mars")
    with pytest.raises(RaihaError, match="do not exist"):
        load_encoder(f"open_clip:{MODEL}@{tmp_path}/none.pt")
    with pytest.raises(RaihaError, match=r"lacks open_clip_config.json"):
        load_encoder(f"open_clip:@{tmp_path}")
    other = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(1)}, other)
    with pytest.raises(RaihaError, match="does not hold plain weights") as caught:
        load_encoder(f"open_clip:{MODEL}@{other}")
    assert "\n" not in str(caught.value)


def test_hostile_pickles_do_not_run(folder: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"

    class Hostile:
        def __reduce__(self) -> tuple:
            return open, (str(trace), "w")

    torch.save(Hostile(), tmp_path / "evil.pt")
    (tmp_path / "evil.bin").write_bytes(pickle.dumps(Hostile()))
    for name in ("evil.pt", "evil.bin"):
        with pytest.raises(RaihaError, match="does not hold plain weights"):
            load_encoder(f"open_clip:{MODEL}@{tmp_path / name}")
    assert not trace.exists()


def test_downloads_only_when_chosen_and_said(folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    config = {"hf_hub": "someone/tiny/", "quick_gelu": True, "mean": (0.4, 0.4, 0.4), "std": (0.3, 0.3, 0.3)}
    file = str(folder / "open_clip_model.safetensors")
    asked: list[object] = []
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda model, tag: config if tag == "tag" else {})
    monkeypatch.setattr(open_clip, "download_pretrained", lambda cfg: asked.append(cfg) or file)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda repo, name: None)
    with pytest.raises(RaihaError, match="not downloaded unasked"):
        load_encoder(f"open_clip:{MODEL}/tag", download=False)
    assert not asked
    with caplog.at_level(logging.WARNING):
        encoder = load_encoder(f"open_clip:{MODEL}/tag")
    assert asked == [config] and "downloading the weights of open_clip:raiha-tiny-test/tag from someone/tiny" in caplog.text
    assert isinstance(encoder, OpenClipEncoder)
    # The tag's own settings count: activation and normalisation.
    assert type(encoder.net.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"
    torch.testing.assert_close(encoder.mean.flatten(), torch.full((3,), 0.4))


def test_no_network_is_one_sentence(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    def fail(config: object) -> str:
        raise FileNotFoundError("Failed to download file (a.bin)\nlong story")

    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda model, tag: {"hf_hub": "someone/none/"})
    monkeypatch.setattr(open_clip, "download_pretrained", fail)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda repo, name: None)
    with pytest.raises(RaihaError, match="could not be downloaded from someone/none") as caught:
        load_encoder(f"open_clip:{MODEL}/offline")
    assert "\n" not in str(caught.value)
