"""The second stage of the embedded encoder: what is drawn, what is compared, and that a stopped run goes on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from raiha_core.content.embedded import DIM, EmbeddedEncoder, EmbeddedNet
from raiha_core.errors import RaihaError
from raiha_core.references.regions import REGIONS
from raiha_core.training.instances import (
    InstanceConfig,
    InstanceTrainer,
    ViewSource,
    contrast,
    gallery_boxes,
    is_held_out,
    query_boxes,
    read_instance_config,
)
from raiha_core.training.pack import Pack

SIDE = 64


@pytest.fixture
def pack() -> Pack:
    """Ten photos of noise, each with an object in another corner."""
    rng = np.random.default_rng(0)
    masks = np.zeros((10, SIDE, SIDE), np.uint8)
    for i, mask in enumerate(masks):
        y, x = 36 * (i % 2), 36 * (i // 2 % 2)
        mask[y : y + 24, x : x + 24] = 255
    return Pack(
        photos=rng.integers(0, 256, (10, SIDE, SIDE, 3)).astype(np.uint8),
        masks=masks,
        mask_photo=np.arange(10),
        mask_label=np.array([0, 0, 0, 1, 1, 1, -1, -1, -1, -1]),
        mask_region=np.zeros(10, bool),
        pairs=np.zeros((0, SIDE, SIDE, 3), np.uint8),
        names=[f"photos/{i}.png" for i in range(10)],
    )


@pytest.fixture
def config(tmp_path) -> InstanceConfig:
    torch.manual_seed(0)
    start = tmp_path / "start.safetensors"
    save_file(EmbeddedNet().state_dict(), start)
    return InstanceConfig(
        data="-", out=str(tmp_path / "run"), start=str(start), pack="-", steps=3, batch=4, sizes=((0.0, 64),), held_out=0.0,
        queue=6, checkpoint_every=1,
    )  # fmt: skip


@pytest.fixture
def targets() -> torch.Tensor:
    return torch.randn(10, DIM, 7, 7, generator=torch.Generator().manual_seed(1))


def test_views_show_the_object_and_the_region_that_holds_it(pack, targets, config):
    source = ViewSource(pack, targets, dataclasses.replace(config, in_place=1.0))
    views = source.draw(0, 64)
    assert views.query.shape == views.gallery.shape == (4, 3, 64, 64) and views.mask.shape == (4, 1, 4, 4)
    assert views.query_goal.shape == (4, DIM) and views.gallery_goal.shape == (4, DIM, 4, 4)
    assert float(views.query.min()) >= 0 and float(views.query.max()) <= 1
    # A query is cut around its object, which fills much of it.
    assert bool((views.mask.mean((1, 2, 3)) > 0.3).all())
    again = source.draw(0, 64)
    assert torch.equal(views.query, again.query) and torch.equal(views.photo, again.photo)
    assert not torch.equal(views.query, source.draw(1, 64).query)


def test_held_out_photos_are_never_drawn(pack, targets, config):
    share = 0.5
    out = {i for i, name in enumerate(pack.names) if is_held_out(name, share)}
    assert 0 < len(out) < 7
    source = ViewSource(pack, targets, dataclasses.replace(config, held_out=share, batch=3))
    drawn = {int(p) for step in range(20) for p in source.draw(step, 64).photo}
    assert drawn == set(range(10)) - out
    with pytest.raises(RaihaError, match="usable masks"):
        ViewSource(pack, targets, dataclasses.replace(config, batch=11))


def test_boxes(pack):
    rng = np.random.default_rng(0)
    objects = np.array([[0.0, 0.0, 0.2, 0.1], [0.4, 0.5, 0.6, 0.9], [0.0, 0.0, 1.0, 1.0]], np.float32)
    near = query_boxes(objects, rng)
    assert float(near.min()) >= 0 and float(near.max()) <= 1 and bool((near[:, 2:] > near[:, :2]).all())
    assert float((near[0, 2:] - near[0, :2]).max()) < 0.5
    masks = torch.from_numpy(pack.masks[:4, None]).float() / 255
    found = {tuple(round(float(v), 3) for v in gallery_boxes(masks, np.random.default_rng(s))[0]) for s in range(12)}
    assert found == {REGIONS[0], REGIONS[1]}


def test_contrast_rewards_what_is_near_and_ignores_what_does_not_count():
    positive = torch.tensor([[True, False, False]])
    everything = torch.ones(1, 3, dtype=torch.bool)
    near, far = torch.tensor([[5.0, 0.0, 0.0]]), torch.tensor([[0.0, 5.0, 0.0]])
    assert contrast(near, positive, everything) < contrast(far, positive, everything)
    assert float(contrast(far, positive, torch.tensor([[True, False, True]]))) == pytest.approx(np.log(2), abs=1e-5)
    assert float(contrast(far, torch.zeros(1, 3, dtype=torch.bool), everything)) == 0


def test_training_improves_and_goes_on_after_a_stop(pack, targets, config):
    source = ViewSource(pack, targets, config)
    whole = load_file(InstanceTrainer(config, source).run())
    stopped = dataclasses.replace(config, out=config.out + "2")
    trainer = InstanceTrainer(stopped, source)
    trainer._train_step(source.draw(0, 64))
    trainer.step = 1
    trainer._save(trainer.out / "checkpoint.pt")
    resumed = load_file(InstanceTrainer(stopped, source).run())
    assert whole.keys() == resumed.keys()
    for key, value in whole.items():
        assert torch.equal(value, resumed[key]), key
    start = load_file(config.start)
    # The first layers stay, the others move.
    assert torch.equal(whole["backbone.stem.0.0.weight"], start["backbone.stem.0.0.weight"])
    assert not torch.equal(whole["project.weight"], start["project.weight"])
    EmbeddedEncoder.load(trainer.out / "embedded.safetensors")


def test_config_errors_name_the_key(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("data: d\nout: o\nstart: s\npack: p\nsteps: 5\nsizes: [[0, 64]]\n")
    config = read_instance_config(path, {"steps": 7})
    assert config.steps == 7 and config.data == str(tmp_path / "d") and config.sizes == ((0.0, 64),)
    path.write_text("data: d\nlearning: 1\n")
    with pytest.raises(RaihaError, match="unknown key learning"):
        read_instance_config(path, {})
    path.write_text("data: d\n")
    with pytest.raises(RaihaError, match="incomplete"):
        read_instance_config(path, {})
    with pytest.raises(RaihaError, match="cannot be read"):
        read_instance_config(tmp_path / "none.yaml", {})
