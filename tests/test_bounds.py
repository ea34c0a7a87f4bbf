"""A network's answer keeps to what the scene and the object show."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raiha_core.bounds import Damped, bounded, damped
from raiha_core.errors import RaihaError
from raiha_core.harmonizer import Harmonizer
from raiha_core.models import AffineMap, ColorTransform, HarmonizationModel, Prediction
from raiha_core.models.guided import LocalColours

IDENTITY = torch.eye(3, 4).reshape(12, 1, 1)


def affine(gain, shift):
    return AffineMap(torch.tensor([gain, 0, 0, shift, 0, gain, 0, shift, 0, 0, gain, shift]).reshape(12, 1, 1))


def landscape(kind):
    """A picture whose upper half is a dark sky or bright snow, with some texture, and the mask of that half."""
    rng = np.random.default_rng(0)
    level = {"night": (0.06, 0.3), "snow": (0.9, 0.5)}[kind]
    image = np.concatenate([np.full((48, 96), level[0]), np.full((48, 96), level[1])])[..., None] + rng.normal(0, 0.02, (96, 96, 3))
    mask = np.zeros((96, 96), np.float32)
    mask[:48] = 1
    return image.clip(0, 1).astype(np.float32), mask


class Extreme(HarmonizationModel):
    architecture, input_size, crops = "extreme", 64, False

    def __init__(self, transform):
        super().__init__()
        self.transform = transform

    def predict(self, composite, mask, references=None, *, attention=False, caution=None):
        return Prediction(self.transform)


@pytest.mark.parametrize("kind", ["night", "snow"])
@pytest.mark.parametrize(("gain", "shift"), [(1, -3), (1, 3), (0, 0), (0, 1), (-2, 0), (20, 0), (50, -25), (0, 0.5)])
def test_regions_never_become_black_or_white_paper(kind, gain, shift):
    image, mask = landscape(kind)
    result = Harmonizer(Extreme(affine(float(gain), float(shift)))).harmonize(image, mask).image
    before, after = image[mask == 1], result[mask == 1]
    low, high = np.quantile(image.mean(-1), [0.05, 0.95])
    assert after.mean() >= 0.5 * min(low, before.mean()) - 0.02
    assert 1 - after.mean() >= 0.5 * (1 - max(high, before.mean())) - 0.02
    assert after.std() > 0.15 * before.std()
    assert ((after <= 0.004).all(-1) | (after >= 0.996).all(-1)).mean() < 0.45


def test_ordinary_answers_stay_as_they_are():
    image, mask = landscape("snow")
    small, small_mask = torch.from_numpy(image).permute(2, 0, 1)[None], torch.from_numpy(mask)[None, None]
    for transform in (affine(1.0, 0.0), affine(0.8, 0.02), affine(1.03, 0.0), affine(0.7, 0.0)):
        assert bounded(transform, small, small_mask) is transform


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_an_error(bad):
    image, mask = landscape("snow")
    with pytest.raises(RaihaError, match="not finite"):
        Harmonizer(Extreme(affine(1.0, bad))).harmonize(image, mask)


class Other(ColorTransform):
    def __call__(self, rgb, x, y):
        return rgb * 0.5

    def to(self, device):
        return self


def test_a_share_of_a_transform_is_that_share_of_its_change():
    rgb, at = torch.rand(1, 3, 8, 8), (torch.arange(8) + 0.5) / 8
    wild = torch.randn(12, 4, 4, generator=torch.Generator().manual_seed(1))
    local = LocalColours(torch.randn(12, 2, 3, 3, generator=torch.Generator().manual_seed(2)), torch.rand(3, 8, 8))
    for transform in (AffineMap(wild), local, Other()):
        share = damped(transform, 0.3)
        assert torch.allclose(share(rgb, at, at), torch.lerp(rgb, transform(rgb, at, at), 0.3), atol=1e-5)
        assert type(share) is type(transform) or isinstance(share, Damped)
        assert torch.allclose(damped(transform, 0.0)(rgb, at, at), rgb, atol=1e-6)
