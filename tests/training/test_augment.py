from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from raiha_core.training import edits, lut
from raiha_core.training.augment import KINDS, EditBank, Recipe, compose, edit_luts, jpeg
from raiha_core.training.kin import Kin, open_kin
from raiha_core.training.layout import PASTED, PLACED, crop, move, paste
from raiha_core.training.losses import SPILL, foreground_mse, harmonisation_loss, seen_weight
from raiha_core.training.masks import blobs, boxes, feathered, grown, handed_over, roughen, vary
from raiha_core.training.pack import build_pack, find_photos
from raiha_core.training.segments import find_segments
from raiha_core.training.sources import RETRIEVED, PhotoSource, ReferenceMix, assemble, crop_boxes, positive_boxes

B, S = 6, 64


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def bank() -> EditBank:
    axis = torch.linspace(0, 1, 5)
    colours = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"))
    return EditBank((colours**1.5)[None], torch.rand(4, 24, 3, generator=generator()) * 0.8 + 0.1)


@pytest.fixture
def parts() -> dict[str, torch.Tensor]:
    g = generator(1)
    mask = torch.zeros(B, 1, S, S)
    mask[:, :, 16:48, 16:48] = 1
    pictures = {
        k: torch.nn.functional.interpolate(torch.rand(B, 3, 8, 8, generator=g), size=S, mode="bilinear")
        for k in ("real", "donor", "partner")
    }
    return {**pictures, "mask": mask, "donor_mask": mask}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_changes_the_foreground_only(kind: str, parts: dict[str, torch.Tensor], bank: EditBank) -> None:
    recipe = Recipe(shares={kind: 1.0}, regrade=float(kind == "plain"), capture=0.0)
    has = torch.full((B,), kind == "pair")
    composite, real, _ = compose(
        parts["real"], parts["mask"], parts["donor"], parts["donor_mask"], parts["partner"], has, bank, recipe, generator()
    )
    outside = parts["mask"].expand(-1, 3, -1, -1) == 0
    assert float((composite - real).abs()[outside].max()) <= 0.5 / 255 + 1e-6
    changed = foreground_mse(composite, real, parts["mask"]) * 255**2
    assert composite.min() >= 0 and composite.max() <= 1
    if kind == "none":
        assert changed.max() < 1
    else:
        assert changed.median() > 5 and changed.max() <= recipe.most * 1.01


def test_same_seed_same_batch_other_seed_other_batch(parts: dict[str, torch.Tensor], bank: EditBank) -> None:
    none = torch.zeros(B, dtype=torch.bool)

    def make(seed: int) -> torch.Tensor:
        return compose(
            parts["real"], parts["mask"], parts["donor"], parts["donor_mask"], parts["partner"], none, bank, Recipe(), generator(seed)
        )[0]

    assert torch.equal(make(5), make(5)) and not torch.equal(make(5), make(6))


def test_tables_look_up_exactly_on_the_grid_and_linearly_between() -> None:
    identity = lut.as_lut(lut.identity(2, torch.device("cpu")))
    x = torch.rand(2, 3, 9, 11, generator=generator())
    torch.testing.assert_close(lut.apply_lut(x, identity), x, atol=1e-5, rtol=0)
    red_only = identity.clone()
    red_only[:, 1:] = 0
    torch.testing.assert_close(lut.apply_lut(x, red_only), x * torch.tensor([1.0, 0, 0])[None, :, None, None], atol=1e-5, rtol=0)


def test_edits_stay_finite_and_differ_between_pictures(bank: EditBank) -> None:
    made = edit_luts(64, bank, generator(), 1.0, torch.device("cpu"))
    assert made.isfinite().all() and made.min() >= 0 and made.max() <= 1
    assert made.flatten(1).std(0).mean() > 0.02


def test_planckian_gain_is_warm_when_warm() -> None:
    warm, cool = (edits.planckian_gain(torch.full((1, 1, 1, 1), m), torch.zeros(1, 1, 1, 1))[0, :, 0, 0] for m in (300.0, 100.0))
    assert warm[0] > 1.2 > 1 > warm[2] and cool[2] > 1.2 > 1 > cool[0]


def test_jpeg_of_a_fine_step_changes_little_and_of_a_coarse_one_more() -> None:
    x = torch.rand(2, 3, 16, 16, generator=generator())
    fine, coarse = (float((jpeg(x, torch.full((2, 1, 1, 1), q)) - x).abs().mean()) for q in (0.01, 12.0))
    assert fine < 1e-3 < coarse


def test_masks_stay_masks(parts: dict[str, torch.Tensor]) -> None:
    for make in (roughen, vary, boxes, blobs):
        m = make(parts["mask"], generator(2))
        assert m.shape == parts["mask"].shape and m.min() >= 0 and m.max() <= 1 and m.isfinite().all()
    share = blobs(torch.zeros(20, 1, S, S), generator(3)).mean((1, 2, 3))
    assert (share > 0.02).all() and (share < 0.6).all()


def test_crops_hold_their_objects() -> None:
    rng = np.random.default_rng(0)
    low = rng.random((500, 2)) * 0.6
    objects = np.concatenate([low, low + 0.05 + rng.random((500, 2)) * 0.35], 1).astype(np.float32)
    box = crop_boxes(objects, rng)
    assert (box >= -1e-6).all() and (box <= 1 + 1e-6).all()
    assert (box[:, :2] <= objects[:, :2] + 1e-5).all() and (box[:, 2:] >= objects[:, 2:] - 1e-5).all()


def test_crop_of_everything_is_resizing_and_swapped_sides_mirror() -> None:
    x = torch.rand(1, 3, 32, 32, generator=generator())
    whole = torch.tensor([[0.0, 0, 1, 1]])
    torch.testing.assert_close(crop(x, whole, 32), x, atol=1e-5, rtol=0)
    torch.testing.assert_close(crop(x, whole[:, [2, 1, 0, 3]], 32), x.flip(3), atol=1e-5, rtol=0)


def test_positive_crops_hold_more_than_half_of_the_mask(parts: dict[str, torch.Tensor]) -> None:
    held = []
    for seed in range(20):
        box = (positive_boxes(parts["mask"], generator(seed)) * S).long()
        for b, m in zip(box, parts["mask"], strict=True):
            held.append(float(m[:, b[1] : b[3], b[0] : b[2]].sum() / m.sum()))
    assert np.mean(np.array(held) > 0.5) > 0.95 and min(held) > 0


def test_a_pack_is_built_once_and_drawn_from(photo_folder: Path, tmp_path: Path, bank: EditBank) -> None:
    pack = build_pack(photo_folder, tmp_path / "pack", 64, progress=False)
    assert pack.photos.shape == (12, 64, 64, 3) and pack.masks.shape == (12, 64, 64) and len(pack.pairs) == 4
    stamp = (tmp_path / "pack" / "photos.npy").stat().st_mtime_ns
    build_pack(photo_folder, tmp_path / "pack", 64, progress=False)
    assert (tmp_path / "pack" / "photos.npy").stat().st_mtime_ns == stamp
    mix = ReferenceMix(count=(0, 0, 1.0))
    source = PhotoSource(pack, recipe=Recipe(moved=0.4, pasted=0.4), mix=mix, pair_share=0.5)
    raw = source.draw(24, np.random.default_rng(0))
    assert raw.has_partner.any() and not raw.has_partner.all()
    assert len(raw.partner) == raw.has_partner.sum() and len(raw.scene) == (raw.layout == PASTED).sum()
    assert (raw.layout[raw.has_partner] == PLACED).all() and len(raw.layout.unique()) == 3
    batch = assemble(raw, 64, bank, Recipe(), mix, generator())
    assert batch.references is not None and batch.references.shape == (24, 2, 3, 64, 64)
    assert batch.composite.shape == batch.real.shape == (24, 3, 64, 64)


def test_losses_are_what_they_say() -> None:
    real = torch.zeros(1, 3, 20, 20)
    mask = torch.zeros(1, 1, 20, 20)
    mask[..., :10, :] = 1
    result = real + 0.1 * mask
    torch.testing.assert_close(foreground_mse(result, real, mask), torch.tensor([0.01]))
    tiny = torch.zeros_like(mask)
    tiny[..., :5, :5] = 1
    torch.testing.assert_close(foreground_mse(real + 0.1 * tiny, real, tiny), torch.tensor([0.01 * 25 / 100]))
    one = torch.ones_like(mask)
    assert harmonisation_loss(result, real, mask, one, 100) > harmonisation_loss(real, real, mask, one, 100)


def test_background_under_a_wide_mask_counts_less_than_the_object_and_what_is_not_shown_nothing() -> None:
    cut, mask = torch.zeros(1, 1, 1, 3), torch.zeros(1, 1, 1, 3)
    cut[..., :2], mask[..., 1:] = 1, 1
    assert seen_weight(cut, mask).flatten().tolist() == pytest.approx([0, 1, SPILL])


def test_moved_objects_keep_their_colours_and_leave_their_place() -> None:
    """A red square on blue: pasted elsewhere, it is still red, on blue, and the twin where it stood is mostly out of sight."""
    photo = torch.zeros(16, 3, 128, 128)
    photo[:, 2] = 1
    mask = torch.zeros(16, 1, 128, 128)
    mask[:, :, 10:40, 10:40] = 1
    photo = torch.where(mask > 0, torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1), photo)
    moved, at = move(photo, mask, 96, torch.Generator().manual_seed(0))
    assert moved.shape == (16, 3, 96, 96) and at.shape == (16, 1, 96, 96)
    inside = at[:, 0] > 0.99
    assert (inside.sum((1, 2)) > 100).all()
    assert float(moved[:, 0][inside].mean()) > 0.97
    outside = at[:, 0] < 0.01
    assert float(moved[:, 0][outside].mean()) < 0.02
    assert at.mean((1, 2, 3)).std() > 0.001, "sizes vary"


def test_pasted_objects_stand_before_the_scene_they_were_given() -> None:
    photo, mask = torch.zeros(8, 3, 64, 64), torch.zeros(8, 1, 64, 64)
    photo[:, 0], mask[:, :, 20:44, 20:44] = 1, 1
    scene = torch.zeros(8, 3, 64, 64)
    scene[:, 1] = 1
    picture, cut = paste(photo, mask, scene, 64, generator())
    outside = cut[:, 0] < 0.01
    assert float(picture[:, 1][outside].mean()) > 0.99 and float(picture[:, 0][cut[:, 0] > 0.99].mean()) > 0.99


def test_a_plain_object_keeps_the_colours_it_had_before_the_look(parts: dict[str, torch.Tensor], bank: EditBank) -> None:
    none = torch.zeros(B, dtype=torch.bool)
    recipe = Recipe(shares={"plain": 1.0}, regrade=1.0, mood=1.0, ramp=0.0, capture=0.0, most=1e9)
    composite, real, look = compose(
        parts["real"], parts["mask"], parts["donor"], parts["donor_mask"], parts["real"][:0], none, bank, recipe, generator(3)
    )
    inside = parts["mask"].expand(-1, 3, -1, -1) > 0
    exact = ((composite - parts["real"]).abs() * inside).flatten(1).amax(1) < 1 / 255
    assert exact.any() and not exact.all(), "half of them are rendered by another camera"
    torch.testing.assert_close(real, lut.apply_lut(parts["real"], look))
    assert float((real - parts["real"]).square().mean()) > 0.005, "moods are strong"


def test_masks_grow_shrink_and_fade_by_the_pixels_asked_for() -> None:
    mask = torch.zeros(3, 1, 32, 32)
    mask[..., 10:20, 10:20] = 1
    sides = grown(mask, torch.tensor([2, 0, -3])).sum((1, 2, 3)).sqrt()
    assert sides.tolist() == [14, 10, 4]
    soft = feathered(mask, torch.tensor([3.0, 0.0, 0.0]))
    assert torch.equal(soft[1], mask[1]) and 0.4 < float(soft[0, 0, 15, 10]) < 0.7 and 0 < float(soft[0, 0, 15, 8]) < 0.4
    torch.testing.assert_close(soft[0].sum(), mask[0].sum(), atol=1e-3, rtol=0)


def test_masks_are_handed_over_exact_in_a_third_and_never_empty() -> None:
    cut = torch.zeros(300, 1, 64, 64)
    cut[..., 20:40, 24:38] = 1
    over = handed_over(cut, generator(), 0.67)
    same = (over == cut).flatten(1).all(1).float().mean()
    assert 0.3 < float(same) < 0.6 and float(over.amax((1, 2, 3)).min()) >= 0.5
    area = over.mean((1, 2, 3)) / cut.mean()
    assert float((area > 1.1).float().mean()) > 0.15 and float((area < 0.9).float().mean()) > 0.05
    assert torch.equal(handed_over(cut, generator(), 0.0), cut)


def test_references_are_ranked_by_content_and_by_the_light_of_the_scene() -> None:
    light = np.zeros((5, 2), np.float32)
    light[3] = 3.0
    kin = Kin(np.array([[1, 2, 3, 4]]), np.array([[0.9, 0.5, 0.89, 0.1]], np.float32), np.zeros((5, 1), np.int64), light, np.zeros(5))
    assert kin.references(0, scene=0, count=2).tolist() == [1, 2], "photo 3 shows it as well, in another light"
    assert kin.references(0, scene=0, count=2, weight=0.0).tolist() == [1, 3]
    assert 1 not in kin.references(0, scene=1, count=3), "the scene is no reference for itself"


def test_kinds_of_references_keep_their_shares() -> None:
    mix = ReferenceMix(found=0.5, positive=0.4, retrieved=0.2, wrong_light=0.2)
    kinds = mix.draw_kinds(4000, 3, np.random.default_rng(0))
    assert abs(float((kinds == RETRIEVED).all(1).mean()) - 0.504) < 0.03
    assert abs(float((kinds == 0).mean()) - 0.2) < 0.03 and abs(float((kinds == 3).mean()) - 0.1) < 0.02


def test_regions_of_one_colour_are_found_and_packed_after_the_masks(photo_folder: Path, tmp_path: Path) -> None:
    photo = np.full((64, 64, 3), 40, np.uint8)
    photo[:, 36:] = 200
    photo[40:, :20] = (180, 30, 30)
    photo += np.random.default_rng(1).integers(0, 5, photo.shape, np.uint8)
    (region,) = find_segments(photo, 1, np.random.default_rng(0))
    inside = region > 127
    assert region.shape == (64, 64) and 0.02 < inside.mean() < 0.5
    assert photo[inside].std(0).max() < 12, "one region is one colour"
    assert len(find_segments(photo, 99, np.random.default_rng(0))) < 30, "no more than there are"

    plain = build_pack(photo_folder, tmp_path / "plain", 64, progress=False)
    pack = build_pack(photo_folder, tmp_path / "pack", 64, progress=False, regions=2)
    added = len(pack.masks) - len(plain.masks)
    assert 12 <= added <= 24 and len(pack.mask_photo) == len(pack.mask_label) == len(pack.mask_region) == len(pack.masks)
    np.testing.assert_array_equal(pack.masks[: len(plain.masks)], plain.masks)
    assert pack.mask_region[len(plain.masks) :].all() and (pack.mask_label[len(plain.masks) :] == -1).all()


def test_photos_are_found_by_a_relative_path_and_hidden_ones_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("photos/a.png", ".hidden/b.png", "photos/.c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert [p.name for p in find_photos(Path(".."))] == ["a.png"]


def test_kin_of_a_pack_are_computed_once_for_this_pack_and_encoder(photo_folder: Path, tmp_path: Path) -> None:
    from raiha_core.content import load_encoder

    encoder, cache = load_encoder("embedded"), tmp_path / "kin.npz"
    pack = build_pack(photo_folder, tmp_path / "pack", 64, progress=False)
    kin = open_kin(pack, encoder, cache)
    assert kin.alike.shape == (12, 12) and kin.lit.shape == (12, 11) and np.isfinite(kin.rare).all()
    own = kin.content[kin.alike == np.asarray(pack.mask_photo)[:, None]]
    assert (own == 0).all(), "an object's own photo is never counted as alike"
    assert not (kin.lit == np.arange(12)[:, None]).any(), "nor is a photo its own neighbour in light"
    stamp = cache.stat().st_mtime_ns
    assert np.array_equal(open_kin(pack, encoder, cache).alike, kin.alike) and cache.stat().st_mtime_ns == stamp
    open_kin(replace(pack, digest="another"), encoder, cache)
    assert cache.stat().st_mtime_ns != stamp


def test_a_pack_of_one_photo_can_be_drawn_from(photo_folder: Path, tmp_path: Path) -> None:
    from raiha_core.content import load_encoder

    (tmp_path / "one").mkdir()
    Image.open(photo_folder / "photos" / "0.png").save(tmp_path / "one" / "0.png")
    Image.open(photo_folder / "masks" / "0.png").save(tmp_path / "one_mask.png")
    (tmp_path / "one" / "masks.jsonl").write_text('{"photo": "0.png", "mask": "../one_mask.png", "label": "cat"}')
    pack = build_pack(tmp_path / "one", tmp_path / "pack", 64, progress=False)
    source = PhotoSource(pack, open_kin(pack, load_encoder("embedded"), tmp_path / "kin.npz"), Recipe(pasted=0.5, moved=0.3))
    assert len(source.draw(8, np.random.default_rng(0)).real) == 8
