"""Colour spaces go to sRGB and back as LittleCMS does it, at the precision of floats."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from raiha_core.image import spaces
from raiha_core.image.spaces import EngineSpace, MatrixSpace, decode_curve, encode, make_profile, space_of

D50, D65 = (0.3457, 0.3585), (0.3127, 0.3290)
SRGB = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
P3 = (0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
PROFILES = {
    "p3": make_profile(1.0, D65, P3, decode_curve()),
    "adobe": bytes(imagecodecs.cms_profile("adobergb")),
    "prophoto": make_profile(1.8, D50, (0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001)),
    "linear": make_profile(1.0, D65, SRGB),
}


@pytest.fixture
def rgb():
    return torch.rand(1, 3, 40, 50, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", PROFILES)
def test_the_quick_way_agrees_with_the_engine(rgb, name):
    space, engine = space_of(PROFILES[name]), EngineSpace(PROFILES[name], False)
    assert isinstance(space, MatrixSpace)
    seen = space.to_srgb(rgb)
    assert float((seen - engine.to_srgb(rgb)).abs().max()) < 1e-3
    assert float((space.from_srgb(seen) - engine.from_srgb(seen)).abs().max()) < 3e-3
    assert float((space.from_srgb(seen) - rgb).abs().mean()) < 2e-5


def test_the_engine_itself_agrees_with_pillow(rgb):
    image = Image.fromarray((rgb[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))
    source = ImageCms.ImageCmsProfile(__import__("io").BytesIO(PROFILES["p3"]))
    converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None].float() / 255
    ours = space_of(PROFILES["p3"]).to_srgb(pixels).clamp(0, 1) * 255
    assert float((ours - torch.from_numpy(np.asarray(converted).copy()).permute(2, 0, 1)[None]).abs().max()) < 1.5


@pytest.mark.parametrize("name", PROFILES)
def test_colours_beyond_srgb_and_beyond_white_come_back(name):
    space = space_of(PROFILES[name])
    beyond = torch.tensor([[0.0, 1.0, 0.0], [3.0, 2.0, 0.5], [1.0, 1.0, 1.0]]).T.reshape(1, 3, 1, 3)
    seen = space.to_srgb(beyond)
    assert float((space.from_srgb(seen) - beyond).abs().max()) < 5e-3
    assert float(seen.max()) > 1.1 and float((seen[..., 2] - 1).abs().max()) < 2e-3


@pytest.mark.parametrize("name", PROFILES)
def test_no_change_is_no_change_to_the_last_bit(rgb, name):
    space = space_of(PROFILES[name])
    seen = space.to_srgb(rgb)
    assert torch.equal(space.moved(rgb, seen, seen), rgb)


def test_srgb_in_all_its_forms_is_no_space():
    assert space_of(None) is None and space_of(b"") is None
    assert space_of(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()) is None
    assert space_of(bytes(imagecodecs.cms_profile("srgb"))) is None
    assert space_of(make_profile(1.0, D65, SRGB, decode_curve())) is None


def test_grey_profiles():
    grey = make_profile(1.8, D65, (), grey=True)
    space = space_of(grey, True)
    ramp = torch.linspace(0, 1, 60).expand(1, 3, 1, 60)
    expected = encode(ramp**1.8)
    assert float((space.to_srgb(ramp) - expected)[..., 3:].abs().max()) < 2e-3
    assert float((space.from_srgb(expected) - ramp)[..., 3:].abs().max()) < 2e-3


@pytest.mark.parametrize("bad", [b"rubbish" * 60, PROFILES["p3"][:300], ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()])
def test_what_is_no_rgb_profile_is_refused(bad):
    with pytest.raises(ValueError):
        space_of(bad)
    with pytest.raises(ValueError):
        space_of(PROFILES["p3"], True)


def test_a_profile_that_is_no_curves_and_matrix_goes_through_the_engine(rgb, monkeypatch):
    monkeypatch.setattr(spaces, "_matrix_space", lambda *_: None)
    space = spaces.space_of.__wrapped__(PROFILES["adobe"])
    assert isinstance(space, EngineSpace)
    assert float((space.from_srgb(space.to_srgb(rgb)) - rgb).abs().max()) < 5e-3
    assert torch.equal(space.moved(rgb, space.to_srgb(rgb), space.to_srgb(rgb)), rgb)
