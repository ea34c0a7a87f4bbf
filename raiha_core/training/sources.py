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

from ..models.raiha_s.evidence import shown_mask
from .augment import EditBank, Recipe, compose, edit_luts
from .kin import Kin
from .layout import MOVED, PASTED, PLACED, crop, mirror, move, paste
from .lut import apply_lut
from .masks import handed_over, vary
from .pack import Pack

POSITIVE, RETRIEVED, WRONG_LIGHT, OTHER = 0, 1, 2, 3


@dataclass
class RawBatch:
    """One batch before augmentation: what was drawn, nothing computed.

    Attributes:
        real, mask: pictures `(B, 3, P, P)` and masks `(B, 1, P, P)`, uint8.
        box: `(B, 4)` in [0, 1], crops for objects that stay in their place.
        layout: `(B,)` int64: `PLACED`, `MOVED` or `PASTED`.
        scene: `(K, 3, P, P)` uint8, backgrounds of the K pasted ones, in order.
        donor, donor_mask: `(B, 3, p, p)` and `(B, 1, p, p)` uint8, objects that lend their colours.
        partner: `(L, 3, P, P)` uint8, other captures of the L scenes where `has_partner` `(B,)` is True, in order.
        reference_kind: `(B, R)` int64: `POSITIVE`, `RETRIEVED`, `WRONG_LIGHT` or `OTHER`.
        references: `(B, R, 3, P, P)` uint8; looked at where the kind is `RETRIEVED` or `OTHER`.
        composite: `(B, 3, P, P)` uint8 where the source is made of finished triplets; then nothing is changed.
    """

    real: Tensor
    mask: Tensor
    box: Tensor
    layout: Tensor
    scene: Tensor
    donor: Tensor
    donor_mask: Tensor
    partner: Tensor
    has_partner: Tensor
    reference_kind: Tensor
    references: Tensor
    composite: Tensor | None = None

    def to(self, device: torch.device) -> RawBatch:
        """The same batch on a device."""
        return RawBatch(
            **{f.name: v.to(device, non_blocking=True) if isinstance(v := getattr(self, f.name), Tensor) else v for f in fields(self)}
        )


@dataclass(frozen=True)
class ReferenceMix:
    """What references a training step gets.

    Attributes:
        count: probabilities of 0, 1, 2, 3, 4 references (one draw per step, as in the paper).
        found: share of pictures whose references are all those that the product would retrieve, best first; the others
            draw each by the shares below.
        positive: share of positive crops of the truth.
        retrieved: share of photos that the product would retrieve.
        wrong_light: share of crops of the truth under other light, which must be distrusted.
            The rest are unrelated photos.
        same_look: share of retrieved photos that get the look of the whole, as photos of the same hour have it.
        crop: least and largest side of a positive crop, as a share of the picture's.
    """

    count: tuple[float, ...] = (0.64, 0.18, 0.05, 0.03, 0.1)
    found: float = 0.5
    positive: float = 0.35
    retrieved: float = 0.3
    wrong_light: float = 0.15
    same_look: float = 0.5
    crop: tuple[float, float] = (0.55, 0.95)

    def draw_count(self, rng: np.random.Generator) -> int:
        """How many references a step has."""
        shares = np.asarray(self.count)
        return int(rng.choice(len(shares), p=shares / shares.sum()))

    def draw_kinds(self, batch: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """`(B, R)` kinds of references."""
        edges = np.cumsum([self.positive, self.retrieved, self.wrong_light])
        kinds = (rng.random((batch, count, 1)) >= edges).sum(2)
        kinds[rng.random(batch) < self.found] = RETRIEVED
        chosen: NDArray[np.int64] = kinds.astype(np.int64)
        return chosen


@dataclass
class Triplets:
    """A finished batch: all `(B, c, S, S)` float in [0, 1].

    Attributes:
        composite, real: pictures, equal outside the object.
        mask: the mask as the network is shown it.
        references: `(B, R, 3, S, S)` or None.
        cut: what the object was cut with; it is what should change.
    """

    composite: Tensor
    mask: Tensor
    real: Tensor
    references: Tensor | None
    cut: Tensor


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
    """Draws from a pack: a masked photo, a scene to stand in, a donor of colours, a partner, references.

    Attributes:
        pack: the photos.
        kin: their relations; None draws references and scenes at random.
        recipe, mix: how often what is drawn.
        pair_share: share of pictures that are scenes captured twice.
        same_class: share of donors of the same class, where labels allow.
    """

    pack: Pack
    kin: Kin | None = None
    recipe: Recipe = field(default_factory=Recipe)
    mix: ReferenceMix = field(default_factory=ReferenceMix)
    pair_share: float = 0.06
    same_class: float = 0.6
    _boxes: NDArray[np.float32] = field(init=False)
    _usable: NDArray[np.int64] = field(init=False)
    _weights: NDArray[np.float64] = field(init=False)
    _by_label: dict[int, NDArray[np.int64]] = field(init=False)

    def __post_init__(self) -> None:
        """Index the masks: which are usable, how often each is drawn, which share a label."""
        p = self.pack
        if len(p.masks):
            self._boxes, area = mask_boxes(p.masks)
        else:
            self._boxes, area = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
        self._usable = np.flatnonzero((area > 0.004) & (area < 0.85))
        owner = p.mask_photo[self._usable]
        weights = np.where(p.mask_region[self._usable], 0.2, 1.0)
        # Photos with many masks are not worth proportionally more; light that is rare is.
        count = np.bincount(p.mask_photo, minlength=len(p.photos))
        weights = weights / np.sqrt(count[owner])
        if self.kin is not None:
            rare = self.kin.rare / max(float(np.quantile(self.kin.rare, 0.9)), 1e-6)
            weights = weights * (0.25 + np.minimum(rare, 1.5))[owner]
        self._weights = weights / max(weights.sum(), 1e-9)
        labels = p.mask_label[self._usable]
        self._by_label = {int(k): self._usable[labels == k] for k in np.unique(labels) if k >= 0}

    def draw(self, batch: int, rng: np.random.Generator) -> RawBatch:
        """Draw one raw batch."""
        p = self.pack
        count = self.mix.draw_count(rng)
        kinds = self.mix.draw_kinds(batch, count, rng)
        if not len(self._usable):
            return self._draw_without_masks(batch, kinds, rng)
        m = rng.choice(self._usable, batch, p=self._weights)
        photo = p.mask_photo[m]
        real, box = pictures_at(p.photos, photo), self._boxes[m].copy()
        has = (rng.random(batch) < self.pair_share) & bool(len(p.pairs))
        rows = rng.integers(max(len(p.pairs), 1), size=batch)[has]
        if len(rows):
            real[torch.from_numpy(has)] = pictures_at(p.pairs, rows)
        chance = rng.random(batch)
        layout = np.where(chance < self.recipe.pasted, PASTED, np.where(chance < self.recipe.pasted + self.recipe.moved, MOVED, PLACED))
        layout[has | p.mask_region[m]] = PLACED  # a stretch of sky stands nowhere else
        scene = photo.copy()
        for i in np.flatnonzero(layout == PASTED):
            scene[i] = rng.choice(self.kin.lit[photo[i]][:24]) if self.kin is not None else rng.integers(len(p.photos))
        donor = self._donors(m, rng)
        return RawBatch(
            real=real,
            mask=masks_at(p.masks, m),
            box=torch.from_numpy(crop_boxes(box, rng)),
            layout=torch.from_numpy(layout.astype(np.int64)),
            scene=pictures_at(p.photos, scene[layout == PASTED]),
            donor=pictures_at(p.photos, p.mask_photo[donor], 2),
            donor_mask=masks_at(p.masks, donor, 2),
            partner=pictures_at(p.pairs, rows ^ 1) if len(p.pairs) else real[:0],
            has_partner=torch.from_numpy(has),
            reference_kind=torch.from_numpy(kinds),
            references=self._references(m, scene, kinds, rng),
        )

    def _donors(self, masks: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        donor = rng.choice(self._usable, len(masks), p=self._weights)
        for i in np.flatnonzero(rng.random(len(masks)) < self.same_class):
            same = self._by_label.get(int(self.pack.mask_label[masks[i]]))
            if same is not None and len(same) > 1:
                donor[i] = rng.choice(same)
        return donor

    def _references(self, masks: NDArray[np.int64], scene: NDArray[np.int64], kinds: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
        """Pictures for the references that are photos, `(B, R, 3, P, P)`; zeros for the rest."""
        p, (batch, count) = self.pack, kinds.shape
        chosen = rng.integers(len(p.photos), size=kinds.shape)
        if self.kin is not None:
            for i in np.flatnonzero((kinds == RETRIEVED).any(1)):
                # Now and then from further down the list: galleries are smaller than this one.
                best = self.kin.references(int(masks[i]), int(scene[i]), 4 * count)
                start = int(rng.integers(2 * count)) if rng.random() < 0.4 else 0
                best = best[start : start + count]
                chosen[i, : len(best)] = np.where(kinds[i, : len(best)] == RETRIEVED, best, chosen[i, : len(best)])
        out = np.zeros((batch, count, *p.photos.shape[1:]), np.uint8)
        for i, j in zip(*np.nonzero((kinds == RETRIEVED) | (kinds == OTHER)), strict=True):
            out[i, j] = p.photos[chosen[i, j]]
        return torch.from_numpy(np.ascontiguousarray(out.transpose(0, 1, 4, 2, 3)))

    def _draw_without_masks(self, batch: int, kinds: NDArray[np.int64], rng: np.random.Generator) -> RawBatch:
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
        count = kinds.shape[1]
        others = [pictures_at(p.photos, rng.integers(len(p.photos), size=batch)) for _ in range(count)]
        return RawBatch(
            real=real,
            mask=mask,
            box=torch.from_numpy(crop_boxes(box, rng)),
            layout=torch.full((batch,), PLACED),
            scene=real[:0],
            donor=donors,
            donor_mask=torch.full_like(donors[:, :1], 255),
            partner=real[:0],
            has_partner=torch.zeros(batch, dtype=torch.bool),
            reference_kind=torch.from_numpy(kinds),
            references=torch.stack(others, 1) if others else real[:, None][:, :0],
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
    share = np.where(rng.random((len(objects), 1)) < 0.25, 1.0, rng.random((len(objects), 1)))
    side = np.clip(snug + share * (1 - snug) + rng.normal(0, 0.03, snug.shape), np.minimum(size + 0.02, 1.0), 1.0)
    low = np.clip(objects[:, 2:] - side, 0, 1 - side)
    high = np.clip(objects[:, :2], 0, 1 - side)
    origin = np.minimum(low, high) + rng.random(side.shape) * np.abs(high - low)
    return np.concatenate([origin, origin + side], 1).astype(np.float32)


def as_float(x: Tensor) -> Tensor:
    """8-bit values to [0, 1]."""
    return x.float().mul_(1 / 255)


def assemble(raw: RawBatch, size: int, bank: EditBank, recipe: Recipe, references: ReferenceMix, generator: torch.Generator) -> Triplets:
    """Turn a raw batch into composites, truths and references, on the device that it lies on.

    Args:
        size: side S of the results, divisible by 32.
        generator: a CPU generator; the same state gives the same batch.
    """
    box = mirror(raw.box, generator)
    look = None
    if raw.composite is not None:
        real, cut, composite = (crop(as_float(x), box, size) for x in (raw.real, raw.mask, raw.composite))
    else:
        picture, cut = lay_out(raw, box, size, generator)
        partner = crop(as_float(raw.partner), box[raw.has_partner], size)
        composite, real, look = compose(
            picture, cut, as_float(raw.donor), as_float(raw.donor_mask), partner, raw.has_partner, bank, recipe, generator
        )
    mask = shown_mask(handed_over(cut, generator, recipe.loose))
    stack = [
        _reference(real, cut, raw.reference_kind[:, j], raw.references[:, j], look, bank, references, generator)
        for j in range(raw.references.shape[1])
    ]
    return Triplets(composite, mask, real, torch.stack(stack, 1) if stack else None, cut)


def lay_out(raw: RawBatch, box: Tensor, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Objects in their places, elsewhere in their photo or in others: pictures `(B, 3, S, S)` and what was cut, `(B, 1, S, S)`."""
    count = len(raw.real)
    picture = torch.empty(count, 3, size, size, device=raw.real.device)
    cut = torch.empty(count, 1, size, size, device=raw.real.device)
    if (i := raw.layout == PLACED).any():
        picture[i], cut[i] = crop(as_float(raw.real[i]), box[i], size), crop(as_float(raw.mask[i]), box[i], size)
        cut[i] = vary(cut[i], generator).clamp(0, 1)
    if (i := raw.layout == MOVED).any():
        picture[i], cut[i] = move(as_float(raw.real[i]), as_float(raw.mask[i]), size, generator)
    if (i := raw.layout == PASTED).any():
        picture[i], cut[i] = paste(as_float(raw.real[i]), as_float(raw.mask[i]), as_float(raw.scene), size, generator)
    return picture, cut


def _reference(
    real: Tensor,
    mask: Tensor,
    kind: Tensor,
    pictures: Tensor,
    look: Tensor | None,
    bank: EditBank,
    mix: ReferenceMix,
    generator: torch.Generator,
) -> Tensor:
    """One reference per picture, `(B, 3, S, S)`; see `ReferenceMix`."""
    size, device = real.shape[-1], real.device
    out = torch.empty_like(real)
    own = (kind == POSITIVE) | (kind == WRONG_LIGHT)
    if own.any():
        out[own] = crop(real[own], mirror(positive_boxes(mask[own], generator, mix.crop), generator), size)
    wrong = kind == WRONG_LIGHT
    if wrong.any():
        out[wrong] = apply_lut(out[wrong], edit_luts(int(wrong.sum()), bank, generator, 1.0, device))
    if (~own).any():
        whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]], device=device).expand(int((~own).sum()), 4)
        out[~own] = crop(as_float(pictures[~own]), mirror(whole, generator), size)
    same = (kind == RETRIEVED) & (torch.rand(len(real), generator=generator) < mix.same_look).to(device)
    if look is not None and same.any():
        out[same] = apply_lut(out[same], look[same])
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
