from __future__ import annotations

from pathlib import Path

import pytest
import torch
from skimage import data

from raiha_core.content.base import ContentEncoder, ContentFeatures
from raiha_core.content.embedded import WEIGHTS, EmbeddedEncoder
from raiha_core.errors import RaihaError


@pytest.fixture(scope="module")
def encoder() -> EmbeddedEncoder:
    return EmbeddedEncoder.load()


def photo(name: str) -> torch.Tensor:
    return torch.from_numpy(getattr(data, name)().copy()).permute(2, 0, 1)[None].float() / 255


def test_shapes_and_size(encoder: EmbeddedEncoder) -> None:
    features = encoder.encode(torch.rand(2, 3, 50, 90))
    assert features.vector.shape == (2, encoder.dim) and features.dense.shape == (2, encoder.dim, 6, 6)
    torch.testing.assert_close(features.vector.norm(dim=1), torch.ones(2))
    assert WEIGHTS.stat().st_size <= 12_000_000 and len(encoder.weights_hash) == 16


def test_content_not_light_decides(encoder: EmbeddedEncoder) -> None:
    """A photo under other light stays nearer to itself than to any other photo."""
    photos = torch.cat([torch.nn.functional.interpolate(photo(n), size=(192, 192)) for n in ("astronaut", "chelsea", "coffee", "rocket")])
    relit = (photos**1.4 * torch.tensor([0.6, 0.8, 1.0])[None, :, None, None]).clamp(0, 1)
    alike = encoder.encode(photos).vector @ encoder.encode(relit).vector.T
    assert (alike.argmax(1) == torch.arange(4)).all()
    assert float(alike.diagonal().min()) > 0.6


def test_a_broken_file_is_one_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "e.safetensors"
    broken.write_bytes(b"nothing")
    with pytest.raises(RaihaError, match="cannot be loaded"):
        EmbeddedEncoder.load(broken)
    with pytest.raises(RaihaError, match="cannot be loaded"):
        EmbeddedEncoder.load(tmp_path / "missing.safetensors")


def test_regions_come_of_one_look_at_each_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = EmbeddedEncoder.load()
    looks = []
    forward = encoder.net.forward
    monkeypatch.setattr(encoder.net, "forward", lambda x: looks.append(len(x)) or forward(x))
    generator = torch.Generator().manual_seed(0)
    coarse, fine = torch.rand(1, 3, 6, 4, generator=generator), torch.rand(1, 3, 160, 100, generator=generator)
    left = torch.nn.functional.interpolate(coarse, (160, 100), mode="bilinear")
    picture = torch.cat([left, fine], 3)
    boxes = [(0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)]
    found = encoder.encode_regions([picture, picture.flip(3)], boxes)
    assert found.shape == (2, 3, encoder.dim) and looks == [2]
    assert torch.allclose(found.norm(dim=2), torch.ones(2, 3), atol=1e-5)
    alone = torch.stack([encoder.encode(half).vector[0] for half in (left, fine)])
    nearest = (found[:, 1:] @ alone.T).argmax(2)
    assert nearest.tolist() == [[0, 1], [1, 0]], "each half is known by what it shows"
    small = encoder.encode_regions([picture], [(0.4, 0.4, 0.41, 0.41)])
    assert torch.isfinite(small).all() and float(small.norm()) == pytest.approx(1, abs=1e-5), "a box within one cell is that cell"


def test_other_encoders_look_at_each_region() -> None:
    class Means(ContentEncoder):
        id, weights_hash, dim = "means", "0", 3

        def encode(self, images: torch.Tensor) -> ContentFeatures:
            return ContentFeatures(torch.nn.functional.normalize(images.mean((2, 3)), dim=1), images)

    picture = torch.zeros(1, 3, 100, 700)
    picture[:, 0, :, :350], picture[:, 1, :, 350:] = 1, 1
    found = Means().encode_regions([picture], [(0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0), (0.999, 0.999, 1.0, 1.0)])
    assert torch.allclose(found[0], torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 1, 0]]), atol=1e-5)
