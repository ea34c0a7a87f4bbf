from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).parents[2]
MEDIA, GALLERY = ROOT / "example_workflows" / "media", ROOT / "raiha_core" / "demo_data" / "gallery"
Batch = tuple[torch.Tensor, torch.Tensor]


def smaller(images: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.interpolate(images.permute(0, 3, 1, 2), scale_factor=0.5, mode="area").permute(0, 2, 3, 1)


def test_transfer_look(pack: SimpleNamespace, batch: Batch) -> None:
    images, mask = batch[0].clamp(0, 1), batch[1]
    versions = smaller(images * torch.tensor([0.5, 0.6, 0.8]))
    out, confidence = pack.TransferLook.execute(images, versions).args
    assert out.shape == images.shape and confidence.shape == images.shape[:3] and confidence.min() >= 0 and confidence.max() <= 1
    assert (out - images * torch.tensor([0.5, 0.6, 0.8])).abs().mean() < 0.02
    masked = pack.TransferLook.execute(images, versions[:1], mask=mask).args[0]
    outside = (mask == 0).expand(len(images), -1, -1)
    assert torch.equal(masked[outside], images[outside]) and not torch.equal(masked[~outside], images[~outside])
    core = pack.module("raiha_core.transfer").transfer_look(images[0].permute(2, 0, 1), versions[0].permute(2, 0, 1))
    assert torch.equal(out[0], core.permute(1, 2, 0))
    assert torch.equal(pack.TransferLook.execute(images, versions, strength=0.0).args[0], images)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda i, m: {"original": i, "version": i[:, :, :64]}, "other proportions"),
        (lambda i, m: {"original": i, "version": i[:3]}, "3 versions for 4 originals"),
        (lambda i, m: {"original": i[:0], "version": i}, "batch is empty"),
        (lambda i, m: {"original": i, "version": i, "strength": 2.0}, "strength is 2"),
        (lambda i, m: {"original": i, "version": i, "mask": m[:, :50]}, "mask is 128 x 50"),
        (lambda i, m: {"original": i, "version": i * torch.nan}, "NaN"),
    ],
)
def test_mistakes_are_one_sentence(pack: SimpleNamespace, batch: Batch, change: object, says: str) -> None:
    with pytest.raises(pack.error, match=says) as caught:
        pack.TransferLook.execute(**change(*batch))  # type: ignore[operator]
    assert "\n" not in str(caught.value)


def test_scores_sort_a_batch(pack: SimpleNamespace) -> None:
    read = lambda file: torch.from_numpy(np.asarray(Image.open(file).convert("RGB").resize((300, 200)), np.float32) / 255)[None]  # noqa: E731
    recoloured, mask = read(MEDIA / "raiha_example_cup.jpg"), read(MEDIA / "raiha_example_cup_mask.png")[..., 0]
    untouched = read(GALLERY / "coffee.jpg")
    scores, text, ranked, masks = pack.HarmonyScore.execute(torch.cat([recoloured, untouched]), mask).args
    assert 0 < scores[0] < 40 and scores[0] + 20 < scores[1] <= 100
    assert torch.equal(ranked, torch.cat([untouched, recoloured])) and masks.shape == ranked.shape[:3]
    lines = text.splitlines()
    assert len(lines) == 2 and lines[0].startswith("image 0: harmony ") and "brighter" in lines[0] and "yellower" in lines[0]


def test_what_cannot_be_scored_is_zero(pack: SimpleNamespace, batch: Batch) -> None:
    masks = batch[1].repeat(3, 1, 1)
    masks[0], masks[2] = 0, 1
    scores, text, _, _ = pack.HarmonyScore.execute(batch[0][:3], masks).args
    assert scores[0] == scores[2] == 0 < scores[1] and "no object" in text and "covers everything" in text


def test_a_score_is_how_far_the_core_moves_the_object(pack: SimpleNamespace, batch: Batch) -> None:
    score = pack.module("raiha_core.score")
    assert (
        score.Harmony(0, 0, 0, 0, 0).score == 100 and score.Harmony(7, 0, 0, 0, 0).score == 50 and score.Harmony(14, 0, 0, 0, 0).score == 25
    )
    text = score.Harmony(6.0, -4.0, 0.5, 3.0, 0.0).text()
    assert "darker by 4.0, yellower by 3.0" in text and "colourful" not in text and "redder" not in text
    assert "fits as it is" in score.Harmony(0.4, 0, 0, 0, 0).text()
    images, mask = batch[0][:1].clamp(0, 1), batch[1]
    harmonizer = pack.module("nodes.models").managed("raiha-s").ready()
    found = score.harmony(harmonizer, pack.module("nodes.types").frames(images, mask).picture(0), mask[0].numpy())
    lab = pack.module("raiha_core.image.colour").srgb_to_lab
    after = pack.HarmonizeComposite.execute(images, mask).args[0]
    moved = (lab(after.permute(0, 3, 1, 2)) - lab(images.permute(0, 3, 1, 2))).square().sum(1).sqrt()
    assert found.distance == pytest.approx(float((moved * mask).sum() / mask.sum()), rel=0.25)
