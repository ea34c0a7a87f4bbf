"""Where training pictures come from: packs of photos, and triplet folders that are complete already.

A source draws raw batches on the CPU (uint8, so that little is copied to an accelerator); `assemble` turns one into
composites, truths and references on the device of the model.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from .augment import Looks, Recipe, compose, edit_tables
from .masks import vary
from .pack import Pack
from .tables import apply_table


@dataclass
class RawBatch:
    """One batch before augmentation; pictures `(B, 3, P, P)` and masks `(B, 1, P, P)` uint8, boxes `(B, 4)` in [0, 1].

    `composite` is present where the source is made of finished triplets; then nothing is changed. `has_retrieved` `(B,)` bool
    says which rows of `retrieved` are references at all; the others get positive crops instead. None: all are.
    """

    real: Tensor
    mask: Tensor
    box: Tensor
    donor: Tensor
    donor_mask: Tensor
    partner: Tensor
    has_partner: Tensor
    retrieved: Tensor
    other: Tensor
    composite: Tensor | None = None
    has_retrieved: Tensor | None = None

    def to(self, device: torch.device) -> RawBatch:
        """The same batch on a device."""
        return RawBatch(
            **{f.name: v.to(device, non_blocking=True) if isinstance(v := getattr(self, f.name), Tensor) else v for f in fields(self)}
        )


@dataclass(frozen=True)
class ReferenceMix:
    """What references a training step gets.

    Attributes:
        count: probabilities of 0, 1, 2, 3 references (one draw per step, as in the paper).
        positive: share of positive crops of the truth.
        crop: least and largest side of a positive crop, as a share of the picture's.
        retrieved: share of other photos that show similar things.
        wrong_light: share of crops of the truth under other light, which must be distrusted.
        The rest are unrelated photos.
    """

    count: tuple[float, ...] = (0.6, 0.28, 0.12)
    positive: float = 0.5
    retrieved: float = 0.25
    wrong_light: float = 0.12
    crop: tuple[float, float] = (0.55, 0.95)


@dataclass
class Triplets:
    """A finished batch: all `(B, c, S, S)` float in [0, 1]; references `(B, R, 3, S, S)` or None."""

    composite: Tensor
    mask: Tensor
    real: Tensor
    references: Tensor | None


def mask_boxes(masks: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Bounding boxes `(M, 4)` (x0, y0, x1, y1) and areas `(M,)` of packed masks, as shares of the side and the picture."""
    boxes, areas = np.zeros((len(masks), 4), np.float32), np.zeros(len(masks), np.float32)
    side = masks.shape[-1]
    for i, m in enumerate(masks):
        on = m > 127
        areas[i] = on.mean()
        x, y = np.flatnonzero(on.any(0)), np.flatnonzero(on.any(1))
        if len(x):
            boxes[i] = x[0], y[0], x[-1] + 1, y[-1] + 1
    return boxes / side, areas


@dataclass
class PhotoSource:
    """Draws from a pack: a masked photo, a donor of colours (of the same class where labels allow), a partner, references."""

    pack: Pack
    neighbours: NDArray[np.int64] | None = None
    pair_share: float = 0.1
    same_class: float = 0.6
    _boxes: NDArray[np.float32] = field(init=False)
    _usable: NDArray[np.int64] = field(init=False)
    _weights: NDArray[np.float64] = field(init=False)
    _by_label: dict[int, NDArray[np.int64]] = field(init=False)

    def __post_init__(self) -> None:
        """Index the masks: which are usable, how often each is drawn, which share a label."""
        if len(self.pack.masks):
            self._boxes, area = mask_boxes(self.pack.masks)
        else:
            self._boxes, area = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
        self._usable = np.flatnonzero((area > 0.004) & (area < 0.85))
        weights = np.where(self.pack.mask_region[self._usable], 0.5, 1.0)
        # Photos with many masks are not worth proportionally more.
        count = np.bincount(self.pack.mask_photo, minlength=len(self.pack.photos))
        weights = weights / np.sqrt(count[self.pack.mask_photo[self._usable]])
        self._weights = weights / max(weights.sum(), 1e-9)
        labels = self.pack.mask_label[self._usable]
        self._by_label = {int(k): self._usable[labels == k] for k in np.unique(labels) if k >= 0}

    def draw(self, batch: int, rng: np.random.Generator) -> RawBatch:
        """Draw one raw batch."""
        p = self.pack
        if not len(self._usable):
            return self._draw_without_masks(batch, rng)
        m = rng.choice(self._usable, batch, p=self._weights)
        photo = p.mask_photo[m]
        donor = rng.choice(self._usable, batch, p=self._weights)
        for i in np.flatnonzero(rng.random(batch) < self.same_class):
            same = self._by_label.get(int(p.mask_label[m[i]]))
            if same is not None and len(same) > 1:
                donor[i] = rng.choice(same)
        retrieved = p.mask_photo[donor]
        if self.neighbours is not None:
            retrieved = self.neighbours[photo, rng.integers(self.neighbours.shape[1], size=batch)]
        has = np.zeros(batch, bool)
        real, box = pictures_at(p.photos, photo), self._boxes[m].copy()
        partner = real.clone()
        if len(p.pairs) and self.pair_share:
            for i in np.flatnonzero(rng.random(batch) < self.pair_share):
                row = int(rng.integers(len(p.pairs)))
                real[i], partner[i] = (pictures_at(p.pairs, np.array([r]))[0] for r in (row, row ^ 1))
                has[i] = True
        return RawBatch(
            real=real,
            mask=masks_at(p.masks, m),
            box=torch.from_numpy(crop_boxes(box, rng)),
            donor=pictures_at(p.photos, p.mask_photo[donor], 2),
            donor_mask=masks_at(p.masks, donor, 2),
            partner=partner,
            has_partner=torch.from_numpy(has),
            retrieved=pictures_at(p.photos, retrieved),
            other=pictures_at(p.photos, rng.integers(len(p.photos), size=batch)),
        )

    def _draw_without_masks(self, batch: int, rng: np.random.Generator) -> RawBatch:
        """Photos alone: random ellipses stand in for objects; the donors lend the colours of whole pictures."""
        p, side = self.pack, self.pack.photos.shape[1]
        photo, donor = rng.integers(len(p.photos), size=(2, batch))
        yy, xx = np.mgrid[0:side, 0:side] / side
        centre, radius = rng.uniform(0.25, 0.75, (batch, 2, 1, 1)), rng.uniform(0.08, 0.35, (batch, 2, 1, 1))
        inside = ((xx - centre[:, 0]) / radius[:, 0]) ** 2 + ((yy - centre[:, 1]) / radius[:, 1]) ** 2 < 1
        mask = torch.from_numpy(inside.astype(np.uint8) * 255)[:, None]
        c, r = centre[:, :, 0, 0], radius[:, :, 0, 0]
        box = np.concatenate([(c - r).clip(0, 1), (c + r).clip(0, 1)], 1).astype(np.float32)
        real = pictures_at(p.photos, photo)
        donors = pictures_at(p.photos, donor, 2)
        return RawBatch(
            real=real,
            mask=mask,
            box=torch.from_numpy(crop_boxes(box, rng)),
            donor=donors,
            donor_mask=torch.full_like(donors[:, :1], 255),
            partner=real,
            has_partner=torch.zeros(batch, dtype=torch.bool),
            retrieved=pictures_at(p.photos, donor),
            other=pictures_at(p.photos, rng.integers(len(p.photos), size=batch)),
        )


def pictures_at(array: NDArray[np.uint8], rows: NDArray[np.int64], step: int = 1) -> Tensor:
    """Rows of packed photos `(N, P, P, 3)`, every `step`-th pixel, as `(B, 3, p, p)`."""
    return torch.from_numpy(np.ascontiguousarray(array[rows][:, ::step, ::step].transpose(0, 3, 1, 2)))


def masks_at(array: NDArray[np.uint8], rows: NDArray[np.int64], step: int = 1) -> Tensor:
    """Rows of packed masks `(M, P, P)`, every `step`-th pixel, as `(B, 1, p, p)`."""
    return torch.from_numpy(np.ascontiguousarray(array[rows][:, None, ::step, ::step]))


def crop_boxes(objects: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Random crops around objects, as inference crops around the foreground: from snug with context to the whole frame."""
    size = objects[:, 2:] - objects[:, :2]
    snug = np.clip(size * 1.35, 0.35, 1.0)
    share = np.where(rng.random((len(objects), 1)) < 0.45, 1.0, rng.random((len(objects), 1)))
    side = np.clip(snug + share * (1 - snug) + rng.normal(0, 0.03, snug.shape), np.minimum(size + 0.02, 1.0), 1.0)
    low = np.clip(objects[:, 2:] - side, 0, 1 - side)
    high = np.clip(objects[:, :2], 0, 1 - side)
    origin = np.minimum(low, high) + rng.random(side.shape) * np.abs(high - low)
    return np.concatenate([origin, origin + side], 1).astype(np.float32)


def crop(x: Tensor, boxes: Tensor, size: int, padding: str = "border") -> Tensor:
    """Bilinear crops of `(B, C, H, W)` at `boxes` (x0, y0, x1, y1 in [0, 1]; swap x0 and x1 to mirror), `(B, C, size, size)`.

    Boxes may reach beyond the picture; `padding` says what is there (`border` or `zeros`).
    """
    theta = torch.zeros(len(x), 2, 3, device=x.device)
    theta[:, 0, 0], theta[:, 1, 1] = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    theta[:, :, 2] = boxes[:, :2] + boxes[:, 2:] - 1
    grid = F.affine_grid(theta, [len(x), x.shape[1], size, size], align_corners=False)
    return F.grid_sample(x, grid, padding_mode=padding, align_corners=False)


def mirror(boxes: Tensor, generator: torch.Generator) -> Tensor:
    """Swap left and right of half of the boxes."""
    flip = (torch.rand(len(boxes), 1, generator=generator) < 0.5).to(boxes.device)
    return torch.where(flip, boxes[:, [2, 1, 0, 3]], boxes)


def as_float(x: Tensor) -> Tensor:
    """8-bit values to [0, 1]."""
    return x.float() / 255


def assemble(raw: RawBatch, size: int, looks: Looks, recipe: Recipe, references: ReferenceMix, generator: torch.Generator) -> Triplets:
    """Turn a raw batch into composites, truths and references, on the device that it lies on.

    Args:
        size: side S of the results, divisible by 32.
        generator: a CPU generator; the same state gives the same batch.
    """
    box = mirror(raw.box, generator)
    real, mask = crop(as_float(raw.real), box, size), crop(as_float(raw.mask), box, size)
    if raw.composite is not None:
        composite = crop(as_float(raw.composite), box, size)
    else:
        chosen = ((torch.rand(len(real), generator=generator) < recipe.moved).to(real.device) & ~raw.has_partner).nonzero()[:, 0]
        if len(chosen):
            real[chosen], mask[chosen] = move(as_float(raw.real[chosen]), as_float(raw.mask[chosen]), size, generator)
        mask = vary(mask, generator).clamp(0, 1)
        partner = crop(as_float(raw.partner), box, size)
        composite, real = compose(
            real, mask, as_float(raw.donor), as_float(raw.donor_mask), partner, raw.has_partner, looks, recipe, generator
        )
    count = int(torch.multinomial(torch.tensor(references.count), 1, generator=generator))
    stack = [_reference(real, mask, raw, looks, references, generator) for _ in range(count)]
    return Triplets(composite, mask, real, torch.stack(stack, 1) if stack else None)


def move(photo: Tensor, mask: Tensor, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Objects pasted into another part of their own photo: what a harmonious paste looks like.

    The background is the one of eight random crops that holds least of the object where it stood, so that no twin
    gives its colours away.

    Args:
        photo: `(B, 3, P, P)`.
        mask: `(B, 1, P, P)`.
        size: side S of the results.

    Returns:
        pictures `(B, 3, S, S)` and their masks.
    """
    b, device = len(photo), photo.device
    ys, xs = torch.meshgrid(*[torch.linspace(0, 1, n, device=device) for n in mask.shape[-2:]], indexing="ij")
    total = mask.sum((2, 3)).clamp_min(1e-3)
    centre = torch.cat([(mask * xs).sum((2, 3)), (mask * ys).sum((2, 3))], 1) / total
    # From half to a bit more than its own share of the frame's side, somewhere about the middle.
    scale = torch.rand(b, 1, generator=generator).to(device) * 0.6 + 0.6
    place = torch.rand(b, 2, generator=generator).to(device) * 0.5 + 0.25
    box = mirror(torch.cat([centre - place / scale, centre + (1 - place) / scale], 1), generator)
    at = crop(mask, box, size, "zeros")
    background = _emptiest_boxes(mask, generator)
    return torch.lerp(crop(photo, mirror(background, generator), size), crop(photo, box, size), at), at


def _emptiest_boxes(mask: Tensor, generator: torch.Generator, draws: int = 8) -> Tensor:
    """Of some random crops of 45 to 70 % of the side, the one with the least of the mask inside, `(B, 4)`."""
    best, least = torch.zeros(len(mask), 4, device=mask.device), torch.full((len(mask),), 2.0, device=mask.device)
    for _ in range(draws):
        side = torch.rand(len(mask), 1, generator=generator) * 0.25 + 0.45
        origin = torch.rand(len(mask), 2, generator=generator) * (1 - side)
        box = torch.cat([origin, origin + side], 1).to(mask.device)
        held = crop(mask, box, 24).mean((1, 2, 3))
        best, least = torch.where((held < least)[:, None], box, best), torch.minimum(held, least)
    return best


def _reference(real: Tensor, mask: Tensor, raw: RawBatch, looks: Looks, mix: ReferenceMix, generator: torch.Generator) -> Tensor:
    """One reference per picture, `(B, 3, S, S)`; see `ReferenceMix`."""
    b, size, device = len(real), real.shape[-1], real.device
    draw = torch.rand(b, generator=generator)
    edges = torch.tensor([mix.positive, mix.retrieved, mix.wrong_light]).cumsum(0)
    kind = (draw[:, None] >= edges).sum(1).to(device)
    if raw.has_retrieved is not None:
        kind[(kind == 1) & ~raw.has_retrieved] = 0
    out = torch.empty_like(real)
    own, retrieved, other = kind % 2 == 0, kind == 1, kind == 3
    own &= kind < 3
    if own.any():
        boxes = positive_boxes(mask[own], generator, mix.crop)
        out[own] = crop(real[own], mirror(boxes, generator), size)
    wrong = kind == 2
    if wrong.any():
        out[wrong] = apply_table(out[wrong], edit_tables(int(wrong.sum()), looks, generator, 1.0, device))
    for chosen, pictures in ((retrieved, raw.retrieved), (other, raw.other)):
        if chosen.any():
            whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]], device=device).expand(int(chosen.sum()), 4)
            out[chosen] = crop(as_float(pictures[chosen]), mirror(whole, generator), size)
    return out


def positive_boxes(mask: Tensor, generator: torch.Generator, sides: tuple[float, float] = (0.55, 0.95)) -> Tensor:
    """Crops that hold more than half of the mask, `(B, 4)`: the best of six draws (the paper: 196 of 256 px)."""
    b = len(mask)
    integral = F.pad(mask.cumsum(2).cumsum(3), (1, 0, 1, 0))[:, 0]
    side = mask.shape[-1]
    best = torch.zeros(b, 4, device=mask.device)
    held = torch.full((b,), -1.0, device=mask.device)
    rows = torch.arange(b, device=mask.device)
    for _ in range(6):
        size = torch.rand(b, 1, generator=generator) * (sides[1] - sides[0]) + sides[0]
        origin = torch.rand(b, 2, generator=generator) * (1 - size)
        box = torch.cat([origin, origin + size], 1).to(mask.device)
        x0, y0, x1, y1 = (box * side).long().clamp(0, side).unbind(1)
        inside = integral[rows, y1, x1] - integral[rows, y0, x1] - integral[rows, y1, x0] + integral[rows, y0, x0]
        share = inside / integral[:, -1, -1].clamp_min(1e-3)
        # Any crop with more than half will do: the first such draw is kept, so that crops stay random.
        better = (held <= 0.5) & (share > held)
        best, held = torch.where(better[:, None], box, best), torch.where(better, share, held)
    return best
