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
    box = video.common_box([frames.mask(0)], images.shape[1:3], True)
    placed = list(module.predict(harmonizer, frames, range(4), [], box, module.Steps(4)).values())
    each, smooth, one = video.flicker(placed), video.flicker(video.smooth(placed, 2.0)), video.flicker(video.average(placed))
    assert one == 0 < smooth < 0.5 * each
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


def test_plain_reference_images_change_the_result(pack: SimpleNamespace, batch: Batch) -> None:
    images, mask = batch
    plain = pack.HarmonizeComposite.execute(images[:1], mask).args[0]
    guided = pack.HarmonizeComposite.execute(images[:1], mask, reference_images=torch.rand(2, 40, 60, 3)).args[0]
    assert not torch.equal(plain, guided)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda i, m: (i, m[:, :50]), "The mask is 128 x 50 but the image is 128 x 96"),
        (lambda i, m: (i, torch.zeros(1, 64, 64)), "paint a mask or connect another"),
        (lambda i, m: (i[:, :88, :120], m), "multiples of 8"),
        (lambda i, m: (i, m.repeat(3, 1, 1)), "3 masks for 4 images"),
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
    assert full.ui is None and "0.30; it was taken for white" in dim.ui["text"][0]
    flat = node.execute(torch.full_like(images[:2], 0.4), mask)
    assert "Nothing was changed" in flat.ui["text"][0] and "(2 of 2 images)" in flat.ui["text"][0]
    assert node.execute(images[:1], mask, strength=0.0).ui is None


def test_masks_fade_in_over_a_clip(pack: SimpleNamespace, batch: Batch) -> None:
    images, mask = batch
    clip = images[:1].repeat(2, 1, 1, 1)
    out = pack.HarmonizeComposite.execute(clip, torch.cat([mask, mask * 0.5])).args[0]
    whole, half = (out - clip).abs().flatten(1).mean(1)
    assert float(half / whole) == pytest.approx(0.5, abs=0.02)
    with pytest.raises(pack.error, match="covers the whole"):
        pack.HarmonizeComposite.execute(images[:1], torch.full_like(mask, 0.4))
