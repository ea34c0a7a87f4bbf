from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

Batch = tuple[torch.Tensor, torch.Tensor]


def test_background_is_the_input_bit_for_bit(pack: SimpleNamespace, batch: Batch) -> None:
    images, mask = batch
    out = pack.HarmonizeComposite.execute(images, mask).args[0]
    outside = (mask == 0).expand(len(images), -1, -1)
    assert out.shape == images.shape and out.dtype == images.dtype
    assert torch.equal(out[outside], images[outside])
    assert not torch.equal(out[~outside], images[~outside])


def test_equals_the_core(pack: SimpleNamespace, batch: Batch) -> None:
    images, mask = batch
    core = pack.module("raiha_core.harmonizer").harmonize(images[:1].permute(0, 3, 1, 2), mask[None], strength=0.5)
    out = pack.HarmonizeComposite.execute(images[:1], mask, strength=0.5).args[0]
    assert torch.equal(out, core.image.permute(0, 2, 3, 1))


def test_values_above_one_and_half_precision_survive(pack: SimpleNamespace, batch: Batch) -> None:
    images, mask = batch
    assert pack.HarmonizeComposite.execute(images[:1], mask).args[0].max() > 1.0
    half = pack.HarmonizeComposite.execute(images[:1].half(), mask).args[0]
    outside = (mask == 0).expand(1, -1, -1)
    assert half.dtype == torch.float16 and torch.equal(half[outside], images[:1].half()[outside])


def test_white_read_as_254_is_white(pack: SimpleNamespace, batch: Batch) -> None:
    images, mask = batch
    dimmed = torch.where(mask == 1, torch.tensor(254 / 255), mask)
    full = pack.HarmonizeComposite.execute(images[:1], mask).args[0]
    assert not torch.equal(dimmed, mask) and torch.equal(pack.HarmonizeComposite.execute(images[:1], dimmed).args[0], full)


def test_strength_zero_is_the_input(pack: SimpleNamespace, batch: Batch) -> None:
    assert torch.equal(pack.HarmonizeComposite.execute(*batch, strength=0.0).args[0], batch[0])


def test_video_modes_do_not_flicker(pack: SimpleNamespace, batch: Batch) -> None:
    images, mask = batch
    module, video = pack.module("nodes.harmonize_composite"), pack.module("raiha_core.video")
    harmonizer = pack.module("nodes.models").managed("raiha-s").ready()
    frames = pack.module("nodes.types").frames(images, mask)
    unsmoothed, smooth, one, held = (
        video.flicker(video.transforms(harmonizer, frames, way=way))
        for way in (video.Way("smooth", 1e-3), video.Way("smooth", 2.0), video.Way("one"), video.Way("anchor", anchor=2))
    )
    assert one == held == 0 < smooth < 0.5 * unsmoothed
    still = images[:1].repeat(3, 1, 1, 1)
    averaged = pack.HarmonizeComposite.execute(still, mask, video_mode=module.ONE).args[0]
    assert torch.allclose(averaged[0], pack.HarmonizeComposite.execute(still[:1], mask).args[0][0], atol=1e-5)


def test_video_modes_with_the_papers_network(pack: SimpleNamespace, batch: Batch) -> None:
    images, mask = batch
    torch.manual_seed(0)
    network = pack.module("raiha_core.models.rhnet").RHNet(ngf=4, content_channels=0, prior="embedded", input_size=64)
    folder = pack.base / "models/raiha"
    folder.mkdir(exist_ok=True)
    pack.module("raiha_core.models.registry").save_model(network, folder / "mine.safetensors")
    node = pack.HarmonizeComposite
    each = node.execute(images, mask, "mine.safetensors").args[0]
    one = node.execute(images, mask, "mine.safetensors", video_mode=pack.module("nodes.harmonize_composite").ONE).args[0]
    outside = (mask == 0).expand(len(images), -1, -1)
    assert torch.equal(one[outside], images[outside]) and not torch.equal(one, each)


def test_frames_without_foreground_are_copied(pack: SimpleNamespace, batch: Batch) -> None:
    images, mask = batch
    masks = mask.repeat(4, 1, 1)
    masks[2] = 0
    out = pack.HarmonizeComposite.execute(images, masks, video_mode=pack.module("nodes.harmonize_composite").SMOOTH).args[0]
    assert torch.equal(out[2], images[2]) and not torch.equal(out[1], images[1])


def test_a_frame_that_the_object_fills_gets_the_others_change(pack: SimpleNamespace, batch: Batch) -> None:
    images, mask = batch
    masks = mask.repeat(4, 1, 1)
    masks[1] = 1
    module = pack.module("nodes.harmonize_composite")
    for mode in (module.ONE, module.SMOOTH, module.HOLD):
        out = pack.HarmonizeComposite.execute(images, masks, video_mode=mode).args[0]
        assert not torch.equal(out[1], images[1])
    with pytest.raises(pack.error, match=r"mask of frame 1 covers everything.*for example 0"):
        pack.HarmonizeComposite.execute(images, masks, video_mode=module.HOLD, anchor=1)
    with pytest.raises(pack.error, match="no frame 9 to hold; the clip has 4"):
        pack.HarmonizeComposite.execute(images, masks, video_mode=module.HOLD, anchor=9)


def test_masks_with_one_meaning_are_taken(pack: SimpleNamespace, batch: Batch) -> None:
    images, mask = batch
    run = pack.HarmonizeComposite.execute
    out = run(images, mask).args[0]
    for given in (
        mask[0],
        mask.repeat(4, 1, 1),
        mask.repeat(3, 1, 1),
        mask[:, None],
        mask[..., None],
        mask.half(),
        mask.repeat(4, 1, 1)[:, None],
    ):
        assert torch.equal(run(images, given).args[0], out)
    double = torch.nn.functional.interpolate(mask[None], scale_factor=2, mode="nearest")[0]
    with pytest.raises(pack.error, match="let the node scale the mask"):
        run(images, double)
    scaled = run(images, double, mask_size="scale to the image").args[0]
    assert (scaled - out).abs().mean() < 0.005
    with pytest.raises(pack.error, match="paint a mask"):
        run(images, torch.zeros(1, 64, 64), mask_size="scale to the image")


def test_large_masks_in_half_precision_are_numbers(pack: SimpleNamespace) -> None:
    mask = torch.zeros(1, 400, 400, dtype=torch.float16)
    mask[:, 50:] = 1  # their sum is beyond what half precision holds
    assert pack.module("nodes.masks").fitted(mask, 1, (400, 400)).mask(0).mean() == pytest.approx(0.875)


def test_a_mask_that_looks_inverted_is_named(pack: SimpleNamespace, batch: Batch) -> None:
    """As Load Image gives that of a picture with transparency. It has a meaning, so it is taken, but not in silence."""
    images, mask = batch
    inverted = pack.HarmonizeComposite.execute(images[:1], 1 - mask)
    assert "The mask is white along most of the picture's border and black inside" in inverted.ui["text"][0]
    touching = mask.clone()
    touching[:, 48:, 56:72] = 1  # the object goes on to the picture's border
    assert "black inside" in pack.HarmonizeComposite.execute(images[:1], 1 - touching).ui["text"][0]
    assert not pack.HarmonizeComposite.execute(images[:1], touching).ui["text"]
    assert not pack.HarmonizeComposite.execute(images[:1], mask).ui["text"]
    masks = mask.repeat(4, 1, 1)
    masks[2] = 1 - masks[2]
    assert "The mask of frame 2 is white along" in pack.HarmonizeComposite.execute(images, masks).ui["text"][0]
    masks[3] = masks[2]
    said = pack.HarmonizeComposite.execute(images, masks).ui["text"]
    assert "The mask of frame 2 (and of 1 more) is white along" in said[0] and len(said) == 1


def test_the_mask_of_another_picture_is_told_from_one_of_another_size(pack: SimpleNamespace, batch: Batch) -> None:
    images, mask = batch
    with pytest.raises(pack.error, match=r"is 128 x 200 but the image is 128 x 96; .*that of Paste Object"):
        pack.HarmonizeComposite.execute(images, torch.ones(1, 200, 128) * torch.linspace(0, 1, 128))
    with pytest.raises(pack.error, match=r"is 256 x 192 but .*let the node scale the mask"):
        pack.HarmonizeComposite.execute(images, torch.nn.functional.interpolate(mask[None], scale_factor=2)[0])


def test_a_held_frame_is_the_anchors_change(pack: SimpleNamespace, batch: Batch) -> None:
    images, mask = batch
    module = pack.module("nodes.harmonize_composite")
    held = pack.HarmonizeComposite.execute(images, mask, video_mode=module.HOLD, anchor=2).args[0]
    alone = pack.HarmonizeComposite.execute(images[2:3], mask).args[0]
    assert torch.allclose(held[2], alone[0], atol=1e-5), "one mask: the anchor looks where it would look alone"


def test_one_mask_for_a_clip_is_not_made_for_every_frame(pack: SimpleNamespace, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    images, mask = batch
    masks, seen = pack.module("nodes.masks"), []
    own = masks.as_mask
    monkeypatch.setattr(masks, "as_mask", lambda m: seen.append(1) or own(m))
    module = pack.module("nodes.harmonize_composite")
    pack.HarmonizeComposite.execute(images.repeat(2, 1, 1, 1), mask, video_mode=module.ONE)
    assert len(seen) == 1


def test_only_brightness_or_only_colour(pack: SimpleNamespace, batch: Batch) -> None:
    images, mask = batch[0][:1].clamp(0, 1), batch[1]
    lab = lambda x: pack.module("raiha_core.image.colour").srgb_to_lab(x.permute(0, 3, 1, 2))  # noqa: E731
    before = lab(images)
    both, light, colour = (lab(pack.HarmonizeComposite.execute(images, mask, what=w).args[0]) for w in ("both", "brightness", "colour"))
    inside = (mask == 1)[0]
    # What leaves the gamut is cut off, which moves the other part a little.
    assert (light - before)[0, 1:, inside].abs().mean() < 0.3 and (colour - before)[0, 0, inside].abs().mean() < 0.3
    assert (light - both)[0, 0, inside].abs().mean() < 0.3 and (colour - both)[0, 1:, inside].abs().mean() < 0.3
    assert (both - before)[0, :, inside].abs().mean() > 1


def test_the_original_takes_the_vaes_shift_back(pack: SimpleNamespace, batch: Batch) -> None:
    images, mask = batch[0][:2].clamp(0, 1), batch[1]
    shifted = (images * torch.tensor([0.9, 0.95, 1.02]) + 0.03).clamp(0, 1)
    without = pack.HarmonizeComposite.execute(shifted, mask, strength=0.0).args[0]
    mended = pack.HarmonizeComposite.execute(shifted, mask, strength=0.0, original=images).args[0]
    outside = (mask == 0).expand(2, -1, -1)
    assert torch.equal(mended[outside], images[outside]), "outside it is the original, bit for bit"
    error = [(x - images)[~outside].abs().mean() for x in (without, mended)]
    assert error[1] < 0.25 * error[0]
    with pytest.raises(pack.error, match="the original 64 x 96"):
        pack.HarmonizeComposite.execute(shifted, mask, original=images[:, :, :64])
    with pytest.raises(pack.error, match="3 originals for 2 images"):
        pack.HarmonizeComposite.execute(shifted, mask, original=images[:1].repeat(3, 1, 1, 1))


def test_an_original_with_or_without_alpha(pack: SimpleNamespace, batch: Batch) -> None:
    images, mask = batch[0][:1].clamp(0, 1), batch[1]
    clear = torch.cat([images, torch.rand_like(images[..., :1])], -1)
    shifted = images * 0.9
    run, outside = pack.HarmonizeComposite.execute, (mask == 0)[0]
    plain = run(shifted, mask, original=images).args[0]
    assert torch.equal(run(shifted, mask, original=clear).args[0], plain)
    layered = run(torch.cat([shifted, clear[..., 3:]], -1), mask, original=images).args[0]
    assert layered.shape == clear.shape and torch.equal(layered[0, outside], clear[0, outside])
    assert (layered[..., :3] - plain).abs().max() < 1e-5


def test_a_reference_for_each_image(pack: SimpleNamespace, batch: Batch) -> None:
    images, mask = batch[0][:2], batch[1]
    photos = torch.rand(2, 40, 60, 3, generator=torch.Generator().manual_seed(5))
    own = pack.HarmonizeComposite.execute(images, mask, reference_images=photos, reference_use="one for each image")
    for i in range(2):
        alone = pack.HarmonizeComposite.execute(images[i : i + 1], mask, reference_images=photos[i : i + 1]).args[0]
        assert torch.equal(own.args[0][i], alone[0])
    assert len(pack.VisualizeAttention.execute(own.args[1], frame=1, size=128).args[1]) == 2
    with pytest.raises(pack.error, match="1 reference images for 2 images"):
        pack.HarmonizeComposite.execute(images, mask, reference_images=photos[:1], reference_use="one for each image")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"strength": 2.7}, "strength is 2.7; give a number from 0 to 2"),
        ({"strength": -0.5}, "strength is -0.5"),
        ({"strength": float("nan")}, "strength is nan; give a number"),
        ({"strength": None}, "strength is None"),
        ({"smoothing": 0}, "smoothing is 0; give a number from 0.5"),
        ({"video_mode": "rubbish"}, "video_mode is 'rubbish'; choose one of"),
        ({"caution": 3}, "caution is 3"),
        ({"what": "shape"}, "what is 'shape'"),
        ({"anchor": 1.5}, "anchor is 1.5; give a whole number"),
        ({"mask_size": "any"}, "mask_size is 'any'"),
        ({"reference_use": 3}, "reference_use is 3"),
        ({"model": "nothing.pth"}, "nothing.pth"),
    ],
)
def test_linked_values_are_checked(pack: SimpleNamespace, batch: Batch, values: dict[str, object], says: str) -> None:
    with pytest.raises(pack.error, match=says):
        pack.HarmonizeComposite.execute(*batch, **values)


def test_numbers_of_other_kinds_are_taken(pack: SimpleNamespace, batch: Batch) -> None:
    half = pack.HarmonizeComposite.execute(batch[0][:1], batch[1], strength=0.5).args[0]
    for value in ("0.5", torch.tensor(0.5)):
        assert torch.equal(pack.HarmonizeComposite.execute(batch[0][:1], batch[1], strength=value).args[0], half)


def test_plain_reference_images_change_the_result(pack: SimpleNamespace, batch: Batch) -> None:
    images, mask = batch
    plain = pack.HarmonizeComposite.execute(images[:1], mask).args[0]
    guided = pack.HarmonizeComposite.execute(images[:1], mask, reference_images=torch.rand(2, 40, 60, 3)).args[0]
    assert not torch.equal(plain, guided)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda i, m: (i, m[:, :50]), "The mask is 128 x 50 but the image is 128 x 96; .*connect the composite's own"),
        (lambda i, m: (i, torch.zeros(1, 64, 64)), "paint a mask or connect another"),
        (lambda i, m: (i[:, :88, :120], m), "multiples of 8"),
        (lambda i, m: (i, m.repeat(5, 1, 1)), "5 masks for 4 images"),
        (lambda i, m: (i, torch.cat([m, m * torch.nan])), "mask of frame 1 holds NaN"),
        (lambda i, m: (i, m.repeat(4, 3, 1, 1)), "mask has the shape 4 x 3 x 96 x 128"),
        (lambda i, m: (i, torch.cat([m, m * 0 + 1])), "mask of frame 1 covers the whole image.*choose a video mode"),
        (lambda i, m: (i, m * 0), "mask is empty"),
        (lambda i, m: (i, m * 0 + 1), "covers the whole image"),
        (lambda i, m: (i[:0], m), "batch is empty"),
        (lambda i, m: (i * torch.nan, m), "NaN"),
    ],
)
def test_mistakes_are_one_sentence(pack: SimpleNamespace, batch: Batch, change: object, says: str) -> None:
    with pytest.raises(pack.error, match=says) as caught:
        pack.HarmonizeComposite.execute(*change(*batch))  # type: ignore[operator]
    assert "\n" not in str(caught.value)


def test_progress_and_interruption(pack: SimpleNamespace, batch: Batch) -> None:
    pack.state.progress.clear()
    pack.HarmonizeComposite.execute(*batch)
    assert pack.state.progress == [(i, 8) for i in range(1, 9)]
    pack.state.interrupted = True
    with pytest.raises(pack.stub.InterruptProcessingException):
        pack.HarmonizeComposite.execute(*batch)


def test_models_go_through_comfyuis_memory_management(pack: SimpleNamespace, batch: Batch) -> None:
    pack.state.loaded.clear()
    pack.HarmonizeComposite.execute(batch[0][:1], batch[1])
    pack.HarmonizeComposite.execute(batch[0][:1], batch[1])
    assert len(pack.state.loaded) == 2 and len(set(map(id, pack.state.loaded))) == 1, "the model is loaded from disk once"


def test_visualize_attention(pack: SimpleNamespace, batch: Batch) -> None:
    images, mask = batch
    attention = pack.HarmonizeComposite.execute(images, mask, reference_images=torch.rand(2, 40, 60, 3)).args[1]
    sheet, panels = pack.VisualizeAttention.execute(attention, size=128).args
    assert sheet.shape[0] == 1 and sheet.shape[3] == 3 and sheet.min() >= 0 and sheet.max() <= 1
    assert len(panels) == 3 and all(p.shape[0] == 1 for p in panels)
    point = pack.VisualizeAttention.execute(attention, style="one point", x=0.55, y=0.5, frame=3, size=128).args[0]
    assert not torch.equal(point, sheet)
    with pytest.raises(pack.error, match="no frame 4"):
        pack.VisualizeAttention.execute(attention, frame=4)


def test_dim_masks_count_as_white_and_what_nothing_was_done_about_is_said(pack: SimpleNamespace, batch: Batch) -> None:
    images, mask = batch
    node = pack.HarmonizeComposite
    full = node.execute(images[:1], mask)
    dim = node.execute(images[:1], mask * 0.3)
    assert torch.equal(full.args[0], dim.args[0])
    assert full.ui == {"text": []} and "0.30; it was taken for white" in dim.ui["text"][0]
    flat = node.execute(torch.full_like(images[:2], 0.4), mask)
    assert "Nothing was changed" in flat.ui["text"][0] and "(2 of 2 images)" in flat.ui["text"][0]
    assert node.execute(images[:1], mask, strength=0.0).ui == {"text": []}, "so that what it said before goes from the node"


def test_masks_fade_in_over_a_clip(pack: SimpleNamespace, batch: Batch) -> None:
    images, mask = batch
    clip = images[:1].repeat(2, 1, 1, 1)
    out = pack.HarmonizeComposite.execute(clip, torch.cat([mask, mask * 0.5])).args[0]
    whole, half = (out - clip).abs().flatten(1).mean(1)
    assert float(half / whole) == pytest.approx(0.5, abs=0.02)
    with pytest.raises(pack.error, match="covers the whole"):
        pack.HarmonizeComposite.execute(images[:1], torch.full_like(mask, 0.4))
