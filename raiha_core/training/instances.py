"""Second stage of the embedded encoder: a foreground torn from its photo must still find that photo.

The very query of retrieval is trained: an object relit, mirrored and pasted into another photo, its map averaged over the
mask, against the vectors of photos and their regions. Own photo and other photos with the same class attract
(InfoNCE, van den Oord et al., 2018; supervised contrast, Khosla et al., 2020), all others repel, among them the photo the
object was pasted into; vectors of past steps serve as further negatives (He et al., 2020). The first stage's teacher goes
on telling what the maps mean (`distill`), so that likeness between kinds of things is not forgotten.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import os
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from ..content.embedded import EmbeddedNet
from ..errors import RaihaError
from ..references.regions import REGIONS
from .distill import mobilenet_teacher, random_boxes, random_colours, teacher_targets
from .pack import Pack, build_pack
from .sources import crop, mask_boxes

STRIDE = 16
"""Pixels per token of the encoder's map."""


@dataclass(frozen=True)
class InstanceConfig:
    """A run.

    Attributes:
        data: photo folder with masks.jsonl and teacher/.
        out: folder for checkpoint, log and weights.
        start: weights of the first stage.
        pack: folder of the packed arrays and the teacher's maps.
        steps, batch: length of the run; objects per step, each seen twice (query and gallery).
        sizes: (share of the run, side in pixels) from when on which size is trained.
        learning_rate, weight_decay, warmup: AdamW.
        cooldown: share of the run at its end over which the rate falls to zero; it is constant before.
        ema: decay of the averaged weights.
        temperature: of both contrasts.
        queue: how many past gallery vectors serve as negatives.
        in_place: share of objects that are relit with their own photo and not pasted into another.
        same_class: weight of the contrast by class.
        teacher: weight of the first stage's losses.
        held_out: share of the photos that are never drawn.
        checkpoint_every: steps between checkpoints.
        frozen: modules of the network that stay as they are: the first layers see edges and colours well enough.
        threads: torch threads.
        seed: everything random of a step follows from it and the step's number.
    """

    data: str
    out: str
    start: str
    pack: str
    steps: int
    batch: int = 32
    sizes: tuple[tuple[float, int], ...] = ((0.0, 128), (0.6, 160))
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    warmup: int = 50
    cooldown: float = 0.4
    ema: float = 0.995
    temperature: float = 0.08
    queue: int = 1536
    in_place: float = 0.2
    same_class: float = 0.3
    teacher: float = 1.0
    held_out: float = 0.1
    checkpoint_every: int = 50
    frozen: tuple[str, ...] = ("backbone.stem", "backbone.to8")
    threads: int = 1
    seed: int = 0


def read_instance_config(path: Path, overrides: dict[str, Any]) -> InstanceConfig:
    """Read a YAML file; relative paths in it are taken from its folder.

    Raises:
        RaihaError: the file is missing or not YAML, or has unknown or missing keys.
    """
    import yaml

    try:
        raw = yaml.safe_load(path.read_text())
    except OSError:
        raise RaihaError(f"The training config {path} cannot be read; give an existing YAML file.") from None
    except yaml.YAMLError as error:
        raise RaihaError(f"The training config {path} is not valid YAML ({str(error).splitlines()[0]}).") from None
    if not isinstance(raw, dict):
        raise RaihaError(f"The training config {path} must be a mapping of keys to values.")
    known = {f.name for f in fields(InstanceConfig)}
    if unknown := sorted(set(raw) - known):
        raise RaihaError(f"The training config {path} has an unknown key {unknown[0]}; known are {', '.join(sorted(known))}.")
    for key in ("data", "out", "start", "pack"):
        if isinstance(raw.get(key), str):
            raw[key] = str((path.parent / raw[key]).resolve())
    raw |= overrides
    if "frozen" in raw:
        raw["frozen"] = tuple(raw["frozen"])
    if "sizes" in raw:
        raw["sizes"] = tuple((float(share), int(side)) for share, side in raw["sizes"])
    try:
        return InstanceConfig(**raw)
    except TypeError as error:
        raise RaihaError(f"The training config {path} is incomplete: {str(error).split('__init__() ')[-1]}.") from None


def is_held_out(name: str, share: float) -> bool:
    """Whether a photo, by its path relative to the data folder, is kept from training; the same on every machine."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) < share * 16**8


@dataclass(frozen=True)
class Views:
    """What one step looks at, B objects.

    Attributes:
        query, gallery: `(B, 3, S, S)` in [0, 1]: crops around pasted objects; whole photos or regions that hold them.
        mask: `(B, 1, S / 16, S / 16)`: how much of each of the query's cells is object.
        query_goal: `(B, D)`: the teacher's map of the untouched photo, averaged over the object.
        gallery_goal: `(B, D, S / 16, S / 16)`: the teacher's map of the gallery's crop.
        photo, label: `(B,)` int64: the photo's row, and the class, -1 unknown.
    """

    query: Tensor
    gallery: Tensor
    mask: Tensor
    query_goal: Tensor
    gallery_goal: Tensor
    photo: Tensor
    label: Tensor


class ViewSource:
    """Draws objects of a pack, photos held out left out, and makes views of them."""

    def __init__(self, pack: Pack, targets: Tensor, config: InstanceConfig):
        self.pack, self.targets, self.config = pack, targets, config
        self.boxes, area = mask_boxes(pack.masks)
        kept = np.array([not is_held_out(name, config.held_out) for name in pack.names])
        usable = (area > 0.02) & (area < 0.6) & ~pack.mask_region & kept[pack.mask_photo]
        self.rows: NDArray[np.int64] = np.flatnonzero(usable)
        if len(self.rows) < config.batch:
            raise RaihaError(f"{config.data} has only {len(self.rows)} usable masks; give more, or a smaller batch than {config.batch}.")
        photos, labels = pack.mask_photo[self.rows], pack.mask_label[self.rows]
        weights = 1 / np.sqrt(np.bincount(photos, minlength=len(pack.photos))[photos])
        # Rare classes are drawn more often than they occur, though less often than common ones.
        often = np.bincount(labels + 1)[labels + 1]
        weights = np.where(labels >= 0, weights / np.sqrt(often / np.median(often)), weights)
        self.weights: NDArray[np.float64] = weights / weights.sum()

    def draw(self, step: int, size: int) -> Views:
        """The views of one step."""
        rng = np.random.default_rng((self.config.seed, step))
        g = torch.Generator().manual_seed(int(rng.integers(2**62)))
        rows = rng.choice(self.rows, self.config.batch, replace=False, p=self.weights)
        photo = self.pack.mask_photo[rows]
        pictures = torch.from_numpy(np.ascontiguousarray(self.pack.photos[photo].transpose(0, 3, 1, 2))).float() / 255
        masks = torch.from_numpy(np.ascontiguousarray(self.pack.masks[rows][:, None])).float() / 255
        targets = self.targets[torch.from_numpy(photo)].float()

        near, tokens = query_boxes(self.boxes[rows], rng), size // STRIDE
        flip = torch.rand(len(rows), 1, generator=g) < 0.5
        turned = torch.where(flip, near[:, [2, 1, 0, 3]], near)
        subject = random_colours(crop(pictures, turned, size), g)
        area = (crop(masks, turned, size) > 0.5).float()
        elsewhere = random_colours(crop(pictures.roll(1, 0), random_boxes(len(rows), g), size), g)
        stays = torch.rand(len(rows), 1, 1, 1, generator=g) < self.config.in_place
        query = torch.where(stays | (area > 0), subject, elsewhere)

        region = gallery_boxes(masks, rng)
        goal, share = crop(targets, near, 8), crop(masks, near, 8)
        share = share + 1e-4
        return Views(
            query=query.contiguous(memory_format=torch.channels_last),
            gallery=crop(pictures, region, size).contiguous(memory_format=torch.channels_last),
            mask=F.adaptive_avg_pool2d(area, tokens),
            query_goal=(goal * share).sum((2, 3)) / share.sum((2, 3)),
            gallery_goal=crop(targets, region, tokens),
            photo=torch.from_numpy(photo),
            label=torch.from_numpy(self.pack.mask_label[rows]),
        )


def query_boxes(objects: NDArray[np.float32], rng: np.random.Generator) -> Tensor:
    """Boxes `(B, 4)` around objects as a query cuts them: about square, with a little context, inside the picture."""
    low, high = objects[:, :2], objects[:, 2:]
    size = (high - low).max(1, keepdims=True) * (1 + 2 * rng.uniform(0.03, 0.25, (len(objects), 1)))
    size = (size * np.exp(rng.normal(0, 0.1, low.shape))).clip(0.05, 1)
    origin = ((low + high - size) / 2 + rng.normal(0, 0.04, low.shape) * size).clip(0, 1 - size)
    return torch.from_numpy(np.concatenate([origin, origin + size], 1).astype(np.float32))


def gallery_boxes(masks: Tensor, rng: np.random.Generator) -> Tensor:
    """Boxes `(B, 4)`: one time in five the whole photo, else the index's region in which most is object."""
    side = masks.shape[-1]
    held = torch.stack(
        [
            masks[..., round(y0 * side) : round(y1 * side), round(x0 * side) : round(x1 * side)].mean((1, 2, 3))
            for x0, y0, x1, y1 in REGIONS
        ],
        1,
    )
    best = torch.where(torch.from_numpy(rng.random(len(masks)) < 0.2), 0, held.argmax(1))
    return torch.tensor(REGIONS)[best]


def contrast(scores: Tensor, positive: Tensor, counts: Tensor) -> Tensor:
    """Mean over the rows that have positives of `-log` the share of each positive among those that count.

    Args:
        scores: `(B, N)`, already divided by the temperature.
        positive: `(B, N)` bool: which are to be found.
        counts: `(B, N)` bool: which are compared, the positives among them.
    """
    shares = scores - scores.masked_fill(~counts, -torch.inf).logsumexp(1, keepdim=True)
    number = positive.sum(1)
    rows = number > 0
    if not rows.any():
        return scores.sum() * 0
    return -(shares.masked_fill(~positive, 0).sum(1)[rows] / number[rows]).mean()


class InstanceTrainer:
    """One run; `run()` starts it or goes on where the last checkpoint in `config.out` ends."""

    def __init__(self, config: InstanceConfig, source: ViewSource):
        self.config, self.source = config, source
        self.out = Path(config.out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.net = EmbeddedNet().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.net.load_state_dict(load_file(config.start))
        self.ema = copy.deepcopy(self.net)
        for name in config.frozen:
            self.net.get_submodule(name).requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            [p for p in self.net.parameters() if p.requires_grad], config.learning_rate, weight_decay=config.weight_decay
        )
        self.step = 0
        self.past = torch.zeros(0, 0)
        self.past_photo, self.past_label = torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)

    def run(self) -> Path:
        """Train to the end; returns the path of the averaged weights."""
        state = self.out / "checkpoint.pt"
        if state.is_file():
            self._restore(state)
        started, window = time.monotonic(), []
        while self.step < self.config.steps:
            size = [side for share, side in self.config.sizes if self.step >= share * self.config.steps][-1]
            window.append(self._train_step(self.source.draw(self.step, size)))
            self.step += 1
            if self.step % 25 == 0:
                row = {"step": self.step, "size": size, "seconds": round(time.monotonic() - started, 1)}
                row |= {key: round(float(np.mean([w[key] for w in window[-25:]])), 4) for key in window[-1]}
                with (self.out / "log.jsonl").open("a") as log:
                    log.write(json.dumps(row) + "\n")
            if self.step % self.config.checkpoint_every == 0 or self.step == self.config.steps:
                self._save(state)
        return self.out / "embedded.safetensors"

    def losses(self, views: Views) -> dict[str, Tensor]:
        """The parts of one step's loss; the queue is read and fed."""
        _, dense = self.net(torch.cat([views.query, views.gallery]).contiguous(memory_format=torch.channels_last))
        of_query, of_gallery = dense.chunk(2)
        # Cells with little of the object are left out, as the query does.
        weight = views.mask * (views.mask >= views.mask.amax((2, 3), keepdim=True).clamp_max(0.3))
        query = F.normalize((of_query * weight).sum((2, 3)), dim=1)
        gallery = F.normalize(of_gallery.mean((2, 3)), dim=1)
        vectors = torch.cat([gallery, self.past.to(gallery)]) if len(self.past) else gallery
        photos, labels = torch.cat([views.photo, self.past_photo]), torch.cat([views.label, self.past_label])
        scores = query @ vectors.T / self.config.temperature
        own = torch.eye(len(query), len(vectors), dtype=torch.bool)
        same_photo = views.photo[:, None] == photos
        same_label = (views.label[:, None] == labels) & (views.label[:, None] >= 0)
        # Of other photos with the same class it cannot be asked that they be far away.
        instance = contrast(scores, own, own | ~(same_photo | same_label))
        b = len(query)
        instance = 0.5 * instance + 0.5 * contrast(scores[:, :b].T, own[:, :b], own[:, :b] | ~(same_photo | same_label)[:, :b].T)
        by_class = contrast(scores, same_label | own, own | ~same_photo | same_label)
        goal = F.normalize(views.gallery_goal.mean((2, 3)), dim=1)
        query_goal = F.normalize(views.query_goal, dim=1)
        told = (
            (1 - F.cosine_similarity(of_gallery, views.gallery_goal, dim=1)).mean()
            + (1 - (gallery * goal).sum(1)).mean()
            + (1 - (query * query_goal).sum(1)).mean()
            + 5 * (query @ gallery.T - query_goal @ goal.T)[~same_photo[:, :b]].square().mean()
            + 5 * (query @ query.T - query_goal @ query_goal.T).square().mean()
        )
        with torch.no_grad():
            keep = self.config.queue
            self.past = vectors.detach()[:keep]
            self.past_photo, self.past_label = photos[:keep], labels[:keep]
            hit = (scores[:, :b].argmax(1) == torch.arange(b)).float().mean()
        return {"instance": instance, "class": by_class, "teacher": told, "hit": hit}

    def _train_step(self, views: Views) -> dict[str, float]:
        c = self.config
        left = (c.steps - self.step) / max(1.0, c.cooldown * c.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = c.learning_rate * min(1.0, (self.step + 1) / c.warmup, left)
        self.net.train()
        for name in c.frozen:
            self.net.get_submodule(name).eval()
        parts = self.losses(views)
        loss = parts["instance"] + c.same_class * parts["class"] + c.teacher * parts["teacher"]
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 2.0)
        self.optimiser.step()
        decay = min(c.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for a, b in zip(self.ema.state_dict().values(), self.net.state_dict().values(), strict=True):
                if a.is_floating_point():
                    a.lerp_(b, 1 - decay)
                else:
                    a.copy_(b)
        return {key: value.item() for key, value in parts.items()}

    def _save(self, path: Path) -> None:
        """Write the checkpoint and the averaged weights; a kill leaves the ones before."""
        state = {
            "step": self.step, "net": self.net.state_dict(), "ema": self.ema.state_dict(), "optimiser": self.optimiser.state_dict(),
            "past": self.past, "past_photo": self.past_photo, "past_label": self.past_label,
        }  # fmt: skip
        part = path.with_suffix(".part")
        torch.save(state, part)
        os.replace(part, path)
        weights = self.out / "embedded.safetensors"
        part = weights.with_suffix(".part")
        tensors = {k: v.contiguous() for k, v in self.ema.state_dict().items()}
        save_file(tensors, part, metadata={"architecture": "embedded", "step": str(self.step)})
        os.replace(part, weights)

    def _restore(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        self.net.load_state_dict(state["net"])
        self.ema.load_state_dict(state["ema"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = int(state["step"])
        self.past, self.past_photo, self.past_label = state["past"], state["past_photo"], state["past_label"]


def main() -> None:
    """`python -m raiha_core.training.instances CONFIG [--steps N]`: train, or go on from the last checkpoint."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--steps", type=int, help="another length than the config's; may be changed when going on")
    options = parser.parse_args()
    config = read_instance_config(options.config, {} if options.steps is None else {"steps": options.steps})
    torch.set_num_threads(config.threads)
    folder = Path(config.pack)
    pack = build_pack(Path(config.data), folder)
    targets = teacher_targets(pack.photos, mobilenet_teacher(Path(config.data) / "teacher"), folder / "teacher.npy")
    print(f"wrote {InstanceTrainer(config, ViewSource(pack, targets, config)).run()}")


if __name__ == "__main__":
    main()
