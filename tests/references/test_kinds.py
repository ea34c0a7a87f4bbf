"""What is no photograph of things in a light is not offered, and what is one always is."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from raiha_core.references import ReferenceIndex
from raiha_core.references.kinds import kind_of
from raiha_core.references.photos import read_photo

DEMO = Path(__file__).resolve().parents[2] / "raiha_core" / "demo_data" / "gallery"


def text(size: tuple[int, int], points: int, paper: str = "white", ink: str = "black") -> Image.Image:
    page = Image.new("RGB", size, paper)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(points)
    for number, y in enumerate(range(points, size[1] - points, round(1.5 * points))):
        draw.text(
            (points, y), "the light of a scene falls upon whatever stands in it, and so does its shade "[number % 30 :] * 9, ink, font
        )
    return page


def noise(size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def toned(photo: Image.Image, light: tuple[int, int, int]) -> Image.Image:
    share = np.asarray(photo.convert("L"), np.float32)[..., None] / 255
    return Image.fromarray((share * np.array(light)).round().astype(np.uint8))


def chart() -> Image.Image:
    picture = Image.new("RGB", (640, 400), "white")
    draw = ImageDraw.Draw(picture)
    for i in range(12):
        draw.rectangle(
            (30 + 50 * i, 380 - 25 * (i + 1), 60 + 50 * i, 380), fill=(30, 90, 200) if i % 2 else (220, 120, 30), outline="black"
        )
    return picture


def coffee() -> Image.Image:
    return Image.open(DEMO / "coffee.jpg").convert("RGB")


def stored(picture: Image.Image, form: str) -> str:
    data = io.BytesIO()
    picture.save(data, form, quality=80)
    data.seek(0)
    read, size = read_photo(data, 576)
    return kind_of(read, np.asarray(read.resize((64, 64), Image.Resampling.BILINEAR)), size)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize(
    ("kinds", "picture"),
    [
        ({"tiny"}, coffee().resize((1, 1))),
        ({"tiny"}, coffee().resize((300, 20))),
        ({"plain"}, Image.new("RGB", (300, 200), (200, 60, 40))),
        ({"plain"}, Image.new("RGB", (300, 200))),
        ({"grey"}, coffee().convert("L").convert("RGB")),
        ({"grey"}, toned(coffee(), (255, 225, 180))),
        ({"noise"}, noise((300, 200))),
        ({"noise"}, noise((1500, 1000))),
        # A page may have too many shades for a drawing; then it is grey, or of one hue.
        ({"drawing", "grey"}, text((600, 800), 14)),
        ({"drawing", "grey"}, text((1240, 1754), 26)),
        ({"drawing", "grey"}, text((1200, 800), 18, "#1e1e3e", "#d4d4a0")),
        ({"drawing"}, chart()),
    ],
)
def test_what_is_no_photo_is_known(kinds: set[str], picture: Image.Image, form: str) -> None:
    assert stored(picture, form) in kinds


def test_a_grey_photo_of_16_bits_is_known(tmp_path: Path) -> None:
    samples = np.asarray(coffee().convert("L")).astype(np.uint16) * 257
    Image.fromarray(samples).save(tmp_path / "grey16.png")
    read, size = read_photo(tmp_path / "grey16.png", 576)
    assert kind_of(read, np.asarray(read.resize((64, 64))), size) == "grey"


@pytest.mark.parametrize("name", sorted(path.name for path in DEMO.glob("*.jpg")))
@pytest.mark.parametrize(
    "change", [lambda p: p, lambda p: p.point(lambda v: v // 6), lambda p: p.resize((64, 48)), lambda p: toned_a_little(p)]
)
def test_photos_are_photos_however_dark_small_or_pale(name: str, change) -> None:
    assert stored(change(Image.open(DEMO / name).convert("RGB")), "JPEG") == ""


def toned_a_little(photo: Image.Image) -> Image.Image:
    return Image.blend(photo.convert("L").convert("RGB"), photo, 0.4)


def test_an_object_on_white_is_a_photo() -> None:
    page = Image.new("RGB", (600, 600), "white")
    cup = coffee().resize((240, 160))
    page.paste(cup, (180, 220), Image.new("L", cup.size, 255))
    assert stored(page, "JPEG") == "" and stored(page, "PNG") == ""


@pytest.fixture
def mixed(tmp_path: Path, encoder) -> ReferenceIndex:
    """Four photos among pictures of every other kind."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    for name in ("astronaut", "rocket", "grace_hopper", "chelsea"):
        Image.open(DEMO / f"{name}.jpg").resize((150, 120)).save(folder / f"{name}.png")
    for name, picture in {
        "one.png": coffee().resize((1, 1)),
        "noise.png": noise((300, 200)),
        "grey.png": Image.open(DEMO / "chelsea.jpg").crop((0, 0, 300, 200)).convert("L"),
        "text.png": text((600, 800), 14),
        "plain.png": Image.new("RGB", (300, 200), (9, 200, 40)),
    }.items():
        picture.save(folder / name)
    return ReferenceIndex.build(folder, tmp_path / "i", encoder)


@pytest.fixture
def query() -> tuple[torch.Tensor, torch.Tensor]:
    """A composite in colour."""
    pixels = torch.from_numpy(np.asarray(coffee().resize((150, 100))).copy()).permute(2, 0, 1)[None].float() / 255
    mask = torch.zeros(1, 1, 100, 150)
    mask[..., 30:70, 50:100] = 1
    return pixels, mask


def test_only_photos_are_offered_and_it_is_said(mixed: ReferenceIndex, query) -> None:
    found = mixed.retrieve(*query, k=9, min_illumination=0.0)
    assert len(found) == 4 and not {r.path.stem for r in found} & {"one", "grey", "noise", "text", "plain"}
    assert any("without colour" in notice and "pinned" in notice for notice in found.notices)
    assert len(mixed) == 9 and len(mixed.info()["not_offered"]) == 5
    assert not mixed.retrieve(*query, k=2).notices, "enough was found"


def test_whoever_pins_it_gets_it(mixed: ReferenceIndex, query) -> None:
    grey = mixed.galleries[0] / "grey.png"
    assert mixed.retrieve(*query, k=2, pinned=[grey])[0].path == grey


def test_a_grey_composite_is_offered_grey_photos(mixed: ReferenceIndex, query) -> None:
    composite, mask = query
    grey = composite.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    # What is pasted may have colour: the scene decides.
    composite = torch.where(mask > 0.5, composite, grey)
    found = mixed.retrieve(composite, mask, k=9, min_illumination=0.0)
    assert "grey" in {r.path.stem for r in found}
    assert found.notices and not any("without colour" in notice for notice in found.notices)
