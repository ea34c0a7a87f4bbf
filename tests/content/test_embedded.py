from __future__ import annotations

from pathlib import Path

import pytest
import torch
from skimage import data
from torch.nn import functional as F

from raiha_core.content.base import ContentEncoder, ContentFeatures
from raiha_core.content.embedded import LOOK, WEIGHTS, EmbeddedEncoder, cover
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


def test_each_region_is_looked_at() -> None:
    class Means(ContentEncoder):
        id, weights_hash, dim = "means", "0", 3

        def encode(self, images: torch.Tensor) -> ContentFeatures:
            return ContentFeatures(torch.nn.functional.normalize(images.mean((2, 3)), dim=1), images)

    picture = torch.zeros(1, 3, 100, 700)
    picture[:, 0, :, :350], picture[:, 1, :, 350:] = 1, 1
    found = Means().encode_regions([picture], [(0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0), (0.999, 0.999, 1.0, 1.0)])
    assert torch.allclose(found[0], torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 1, 0]]), atol=1e-5)


def test_regions_are_means_of_one_look(encoder: EmbeddedEncoder) -> None:
    pictures = [photo("astronaut")[..., :400], photo("coffee")[..., 100:300, :]]
    boxes = [(0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0), (0.33, 0.2, 0.71, 0.9)]
    found = encoder.encode_regions(pictures, boxes)
    assert found.shape == (2, 4, 256) and torch.allclose(found.norm(dim=2), torch.ones(2, 4), atol=1e-5)
    for picture, vectors in zip(pictures, found, strict=True):
        with torch.inference_mode():
            dense = encoder.net(F.interpolate(picture, (LOOK, LOOK), mode="bilinear", antialias=True))[1]
        expected = torch.cat([F.normalize(part.mean((2, 3)), dim=1) for part in (dense, dense[..., :5, :5], dense[..., 5:, 5:])])
        # In bfloat16 where the processor has it.
        assert ((vectors[:3] * expected).sum(1) > 0.99).all() and float(vectors[1] @ vectors[2]) < 0.95


def test_a_box_covers_its_share_of_the_cells() -> None:
    share = cover((0.05, 0.0, 0.6, 0.37), 10, 10)
    assert float(share.sum()) == pytest.approx(100 * 0.55 * 0.37) and share.max() <= 1
    assert float(share[0, 0]) == pytest.approx(0.5) and float(share[3, 2]) == pytest.approx(0.7) and share[4].sum() == 0


def test_the_network_says_the_same_with_and_without_gradients(encoder: EmbeddedEncoder) -> None:
    picture = F.interpolate(photo("coffee"), (64, 64))
    with torch.no_grad():
        kept = picture.clone()
        plain = encoder.net(kept)[1]
        assert torch.equal(kept, picture), "it works in place, but not on what it was given"
    traced = encoder.net(picture.clone().requires_grad_())[1]
    assert torch.allclose(plain, traced.detach(), atol=1e-5)
    traced.sum().backward()
