from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

MEDIA = Path(__file__).parents[2] / "example_workflows" / "media"


@pytest.fixture(scope="module")
def scene() -> torch.Tensor:
    return torch.from_numpy(np.asarray(Image.open(MEDIA / "raiha_example_scene.jpg").convert("RGB"), np.float32) / 255)[None]


@pytest.fixture(scope="module")
def loaded() -> tuple[torch.Tensor, torch.Tensor]:
    """The cut-out as Load Image gives it: three channels, and a mask that is white where it is transparent."""
    rgba = np.asarray(Image.open(MEDIA / "raiha_example_cutout.png").convert("RGBA"), np.float32) / 255
    return torch.from_numpy(rgba[None, ..., :3].copy()), 1 - torch.from_numpy(rgba[None, ..., 3].copy())


def test_two_pictures_to_a_harmonised_paste(pack: SimpleNamespace, scene: torch.Tensor, loaded: tuple[torch.Tensor, torch.Tensor]) -> None:
    composite, mask = pack.PasteObject.execute(scene, *loaded).args
    assert composite.shape == scene.shape and mask.shape == scene.shape[:3]
    assert torch.equal(composite[mask == 0], scene[mask == 0]) and 0.02 < float(mask.mean()) < 0.5
    harmonised = pack.HarmonizeComposite.execute(composite, mask).args[0]
    assert torch.equal(harmonised[mask == 0], scene[mask == 0]) and not torch.equal(harmonised, composite)


def test_every_way_to_give_the_mask_is_one(pack: SimpleNamespace, scene: torch.Tensor, loaded: tuple[torch.Tensor, torch.Tensor]) -> None:
    image, transparent = loaded
    node = pack.PasteObject
    out = node.execute(scene, image, transparent)
    assert "transparent" in out.ui["raiha_notices"][0]
    for given in (
        (torch.cat([image, 1 - transparent[..., None]], -1),),
        (image, 1 - transparent),
        (image, (1 - transparent)[0]),
        (image, (1 - transparent)[:, None]),
    ):
        again = node.execute(scene, *given)
        assert torch.allclose(again.args[0], out.args[0], atol=1e-5) and not again.ui["raiha_notices"]
    explicit = pack.module("nodes.paste_object")
    assert torch.equal(node.execute(scene, image, transparent, mask_reading=explicit.TRANSPARENT).args[1], out.args[1])
    assert not torch.equal(node.execute(scene, image, transparent, mask_reading=explicit.OBJECT).args[1], out.args[1])


def test_batches(pack: SimpleNamespace, scene: torch.Tensor, loaded: tuple[torch.Tensor, torch.Tensor]) -> None:
    image, mask = loaded
    clip = torch.cat([scene, scene * 0.5, scene * 0.2])
    one = pack.PasteObject.execute(clip, image, mask).args
    assert one[0].shape == clip.shape and one[1].shape == clip.shape[:3] and torch.equal(one[1][0], one[1][2])
    masks = mask.repeat(3, 1, 1)
    masks[1] = 1  # the object has left the picture
    moving = pack.PasteObject.execute(clip, image.repeat(3, 1, 1, 1), masks, mask_reading="white is transparent").args
    assert torch.equal(moving[0][1], clip[1]) and not moving[1][1].any() and torch.equal(moving[0][2], one[0][2])
    still = pack.PasteObject.execute(scene, image.repeat(3, 1, 1, 1), mask).args
    assert len(still[0]) == len(still[1]) == 3


def test_half_precision_and_transparent_backgrounds(
    pack: SimpleNamespace, scene: torch.Tensor, loaded: tuple[torch.Tensor, torch.Tensor]
) -> None:
    half, mask = pack.PasteObject.execute(scene.half(), *loaded).args
    assert half.dtype == torch.float16 and torch.equal(half[mask == 0], scene.half()[mask == 0])
    clear = torch.cat([scene, torch.zeros_like(scene[..., :1])], -1)
    layered, mask = pack.PasteObject.execute(clear, *loaded).args
    assert torch.equal(layered[..., 3], mask)


def test_the_widget_is_told_what_to_show(pack: SimpleNamespace, scene: torch.Tensor, loaded: tuple[torch.Tensor, torch.Tensor]) -> None:
    shown = pack.PasteObject.execute(scene, *loaded, x=0.25, mirror=True).ui["raiha_paste"][0]
    assert shown["placement"] == {"x": 0.25, "y": 0.5, "scale": 0.5, "rotation": 0.0, "mirror": True}
    assert shown["background_size"] == [scene.shape[2], scene.shape[1]]
    file = pack.base / "temp" / shown["object"]["subfolder"] / shown["object"]["filename"]
    small = Image.open(file)
    assert small.mode == "RGBA" and max(small.size) <= 640 and shown["object"]["type"] == "temp"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda b, o, m: (b, o), "no transparency; connect object_mask"),
        (lambda b, o, m: (b, o, torch.zeros(1, 64, 64)), "connect the MASK of the Load Image that loads the object, or paint"),
        (lambda b, o, m: (b, o, m[:, :99]), r"The object is 378 x 380 but its mask is 378 x 99"),
        (lambda b, o, m: (b, o, m * torch.nan), "NaN"),
        (lambda b, o, m: (b, o, o), "The object_mask has the shape 1 x 380 x 378 x 3; connect a mask"),
        (lambda b, o, m: (b, o * torch.nan, m), "NaN"),
        (lambda b, o, m: (b.repeat(3, 1, 1, 1), o.repeat(2, 1, 1, 1), m), "2 objects for 3 frames"),
        (lambda b, o, m: (b[:0], o, m), "background is an empty batch"),
        (lambda b, o, m: (b, o[:0], m), "object is an empty batch"),
        (lambda b, o, m: (b, o, m, 2.0), "outside the picture"),
        (lambda b, o, m: (b, o, m, 7.0), "x is 7; give a number from -1 to 2"),
        (lambda b, o, m: (b, o, m, "left"), "x is 'left'; give a number"),
    ],
)
def test_mistakes_are_one_sentence(
    pack: SimpleNamespace, scene: torch.Tensor, loaded: tuple[torch.Tensor, torch.Tensor], change: object, says: str
) -> None:
    with pytest.raises(pack.error, match=says) as caught:
        pack.PasteObject.execute(*change(scene, *loaded))  # type: ignore[operator]
    assert "\n" not in str(caught.value)


def test_a_rectangle_is_pasted_whole(pack: SimpleNamespace, scene: torch.Tensor) -> None:
    poster = torch.full((1, 30, 40, 3), 0.5)
    mask = pack.PasteObject.execute(scene, poster, torch.ones(1, 30, 40), shrink_edge=0, feather=0.0).args[1]
    height = 427 / 2  # half of the scene's
    assert float(mask.sum()) == pytest.approx(height * height * 40 / 30, rel=1e-4) and (mask == 1).any()
