"""From real pictures to training triplets: the whole gets one look, then the object is taken out of it.

All of it is batched tensor work on the device of the pictures. What is done to the object, drawn per picture:

(a) `plain`      it keeps the colours that it had before the whole got its look: a daylight object in a tinted scene;
(b) `transfer`   colours of another object, by seven transfer methods;
(c) `edit`       photographic edits in linear light, film looks, affine casts, measured changes of light;
(d) `stretch`    contrast and saturation squeezed or stretched, brightness moved;
(e) `neutral`    balanced and exposed as in daylight;
(f) `local`      two edits blended by a ramp: one-sided light;
(g) `membrane`   what blending it into another photo in the gradient domain would add: local light (R2R, 2025);
(h) `pair`       the same scene under another exposure or edit, a real capture;
(i) `none`       nothing: a picture that is already harmonious.

Capture differences of generated content (sharpness, noise, JPEG) come on top, since no colour map removes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..models.pooling import window_mean
from ..models.raiha_s.edges import Edge, spread_inside
from . import edits, lut
from .edits import Draw
from .layout import crop, ramp
from .losses import foreground_mse
from .transfer import METHODS, transfer

KINDS = ("plain", "transfer", "edit", "stretch", "neutral", "local", "membrane", "pair", "none")


def _default_shares() -> dict[str, float]:
    return {
        "plain": 0.27,
        "transfer": 0.2,
        "edit": 0.13,
        "stretch": 0.07,
        "neutral": 0.06,
        "local": 0.05,
        "membrane": 0.04,
        "pair": 0.0,
        "none": 0.18,
    }


@dataclass(frozen=True)
class Recipe:
    """How often each kind of change is drawn, and how strong.

    Attributes:
        shares: relative frequency per kind of `KINDS`; `plain` falls back to `transfer`, `edit` or `neutral` where the whole got no
            look, `pair` to `edit` where a picture has no partner.
        amount: strength of edits, 1 = bold.
        regrade: probability that the whole picture, object and background, gets a look first.
        mood: share of those looks that are as strong as dusk, sunset or neon.
        ramp: share of those looks that are two, blended across the picture: local light.
        capture: probability of a difference of sharpness, noise or compression.
        most: largest fMSE of a composite, on the 0..255 scale.
        moved: share of objects that stand elsewhere in their own photo, as pasted objects do: same light, but the colours on both
            sides of the edge say nothing.
        pasted: share of objects that stand in another photo whose light is like their own.
        loose: share of masks that are not those which the object was cut with.
    """

    shares: dict[str, float] = field(default_factory=_default_shares)
    amount: float = 1.0
    regrade: float = 0.75
    mood: float = 0.33
    ramp: float = 0.15
    capture: float = 0.15
    most: float = 12000.0
    moved: float = 0.2
    pasted: float = 0.35
    loose: float = 0.67


class Composed(NamedTuple):
    """Composites `(B, 3, S, S)`, the truth, equal outside the object, and the look that the whole got as a LUT, `(B, 3, T, T, T)`."""

    composite: Tensor
    real: Tensor
    look: Tensor


@dataclass(frozen=True)
class EditBank:
    """What edits are drawn from; either may be empty.

    Attributes:
        luts: `(L, 3, 17, 17, 17)` film looks.
        patches: `(L, 24, 3)` colour-checker patches under L lights, in [0, 1].
    """

    luts: Tensor
    patches: Tensor

    def to(self, device: torch.device) -> EditBank:
        """The same on a device."""
        return EditBank(self.luts.to(device), self.patches.to(device))


def edit_luts(n: int, bank: EditBank, generator: torch.Generator, amount: float, device: torch.device) -> Tensor:
    """`n` random edits as LUTs `(n, 3, T, T, T)`: photographic, film look, affine cast or measured change of light."""
    x = lut.identity(n, device)
    makers: dict[float, Callable[[Tensor], Tensor]] = {
        0.55: lambda y: edits.photographic(y, generator, amount),
        0.25 * bool(len(bank.luts)): lambda y: edits.film_look(y, bank.luts, generator, amount),
        0.1: lambda y: edits.colour_matrix(y, generator, amount),
        0.1001 * bool(len(bank.patches)): lambda y: edits.change_of_light(y, bank.patches, generator, amount),
    }
    kind = torch.multinomial(torch.tensor(list(makers)), n, replacement=True, generator=generator)
    out = x.clone()
    for number, make in enumerate(makers.values()):
        i = (kind == number).nonzero()[:, 0].to(device)
        if len(i):
            out[i] = make(x[i])
    return lut.as_lut(out)


def transfer_luts(x: Tensor, mask: Tensor, donor: Tensor, donor_mask: Tensor, generator: torch.Generator, pixels: int = 4) -> Tensor:
    """Colour transfers from the donors' objects as LUTs; methods and strengths are drawn per picture.

    Statistics are taken from every `pixels`-th row and column. The grid's colours ride along with weight 0.
    """
    kind = torch.randint(METHODS, (len(x),), generator=generator)
    strength = Draw(generator, x).uniform(0.55, 1.0)
    grid = lut.identity(len(x), x.device)
    small, weight = x[..., ::pixels, ::pixels].flatten(2), mask[..., ::pixels, ::pixels].flatten(2)
    source = torch.cat([small, grid.flatten(2)], 2)
    weights = torch.cat([weight + 1e-6, torch.zeros_like(grid[:, :1]).flatten(2)], 2)
    target, target_weights = (d[..., ::pixels, ::pixels].flatten(2) for d in (donor, donor_mask + 1e-6))
    out = grid.clone()
    for method in kind.unique().tolist():
        i = (kind == method).nonzero()[:, 0].to(x.device)
        moved = transfer(method, source[i], weights[i], target[i], target_weights[i], generator)[:, :, small.shape[2] :]
        out[i] = grid[i] + strength[i] * (moved.clamp(0, 1).reshape(grid[i].shape) - grid[i])
    return lut.as_lut(out)


def jpeg(x: Tensor, quality: Tensor) -> Tensor:
    """Compress luminance and colour as JPEG does, without subsampling: 8 x 8 DCT, quantised. H and W divisible by 8.

    Args:
        quality: `(B, 1, 1, 1)` step of the flattest frequency in units of 1/255, about 1 to 12.
    """
    k = torch.arange(8.0).to(x)
    basis = torch.cos((2 * k[None] + 1) * k[:, None] * torch.pi / 16) * 0.5
    basis[0] /= 2**0.5
    b, c, h, w = x.shape
    blocks = x.reshape(b, c, h // 8, 8, w // 8, 8).permute(0, 1, 2, 4, 3, 5)
    step = quality[..., None, None] / 255 * (1 + (k[:, None] + k[None]) * 1.2)
    quantised = (basis @ blocks @ basis.T / step).round() * step
    return (basis.T @ quantised @ basis).permute(0, 1, 2, 4, 3, 5).reshape(x.shape)


def capture_difference(x: Tensor, generator: torch.Generator) -> Tensor:
    """Blur, noise or compression, one per picture."""
    draw = Draw(generator, x)
    kind = draw.uniform(0, 3)
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    noise = torch.randn(x.shape, generator=generator).to(x) * draw.uniform(0.005, 0.03)
    return torch.where(kind < 1, blurred, torch.where(kind < 2, x + noise, jpeg(x, draw.uniform(1, 12)))).clamp(0, 1)


def look_luts(n: int, bank: EditBank, generator: torch.Generator, recipe: Recipe, device: torch.device) -> Tensor:
    """`n` looks for whole pictures as LUTs `(n, 3, T, T, T)`: mild ones, and moods."""
    out = edit_luts(n, bank, generator, 0.75 * recipe.amount, device)
    i = (torch.rand(n, generator=generator) < recipe.mood).nonzero()[:, 0].to(device)
    if len(i):
        out[i] = lut.as_lut(edits.mood(lut.identity(len(i), device), generator, recipe.amount))
    return out


def membrane(real: Tensor, mask: Tensor, other: Tensor, generator: torch.Generator) -> Tensor:
    """Objects as blending into another photo in the gradient domain colours them, `(B, 3, S, S)`.

    The difference of the two photos along the mask's edge, carried inside smoothly, is added to the object.

    Source: random Poisson blending as in R2R (2025); filled by pull and push instead of solved.
    """
    size = real.shape[-1]
    side = torch.rand(len(real), 1, generator=generator) * 0.5 + 0.3
    origin = torch.rand(len(real), 2, generator=generator) * (1 - side)
    patch = crop(other, torch.cat([origin, origin + side], 1).to(other.device), size)
    covered = window_mean(mask, 24, 8)
    here, there = window_mean(torch.cat([real, patch], 1), 8, 8).split(3, 1)
    edge = Edge(here, there, (4 * covered * (1 - covered)).clamp(0, 1))
    filled = F.interpolate(spread_inside(edge)[:, :3], size=(size, size), mode="bilinear", align_corners=False)
    return real + Draw(generator, real).uniform(0.4, 1.0) * filled


def compose(
    picture: Tensor,
    mask: Tensor,
    donor: Tensor,
    donor_mask: Tensor,
    partner: Tensor,
    has_partner: Tensor,
    bank: EditBank,
    recipe: Recipe,
    generator: torch.Generator,
) -> Composed:
    """Make composites.

    Args:
        picture: `(B, 3, S, S)`, harmonious, S divisible by 32.
        mask: `(B, 1, S, S)`, what the object was cut with.
        donor, donor_mask: pictures `(B, 3, s, s)` whose masked object lends its colours.
        partner: `(K, 3, S, S)`, the same scene under other light, of the K pictures where `has_partner` `(B,)` is True, in order.
        bank: for the edits.
        recipe: how often and how strong.
        generator: a CPU generator.
    """
    device, count = picture.device, len(picture)
    looked = (torch.rand(count, generator=generator) < recipe.regrade) & ~has_partner.cpu()
    real, look = _look(picture, looked, bank, recipe, generator)
    kind = _draw_kinds(looked, has_partner.cpu(), recipe, generator)
    changed = real.clone()

    def rows(name: str) -> Tensor:
        return (kind == KINDS.index(name)).nonzero()[:, 0].to(device)

    def edited(i: Tensor, source: Tensor, amount: float) -> Tensor:
        return lut.apply_lut(source[i], edit_luts(len(i), bank, generator, amount * recipe.amount, device))

    if len(i := rows("plain")):
        # Half of them rendered by another camera.
        half = (torch.rand(len(i), generator=generator) < 0.5).to(device)[:, None, None, None]
        changed[i] = torch.where(half, edited(i, picture, 0.5), picture[i])
    if len(i := rows("transfer")):
        changed[i] = lut.apply_lut(real[i], transfer_luts(real[i], mask[i], donor[i], donor_mask[i], generator))
    if len(i := rows("edit")):
        changed[i] = edited(i, real, 1.0)
    if len(i := rows("stretch")):
        changed[i] = edits.stretch(real[i], mask[i], generator)
    if len(i := rows("neutral")):
        changed[i] = edits.neutralise(picture[i], mask[i], generator)
    if len(i := rows("local")):
        one = edited(i, real, 1.0)
        changed[i] = torch.lerp(one, edited(i, real, 1.0), ramp(one, generator))
    if len(i := rows("membrane")):
        changed[i] = membrane(real[i], mask[i], donor[i], generator)
    if len(i := rows("pair")):
        order = (has_partner.cumsum(0) - 1).to(device)
        changed[i] = partner[order[i]]
    i = (torch.rand(count, generator=generator) < recipe.capture).nonzero()[:, 0].to(device)
    if len(i):
        changed[i] = capture_difference(changed[i].clamp(0, 1), generator)
    # Bolder than anything that was ever published: pulled back, so that a few do not drown the rest.
    error = foreground_mse(changed * mask, real * mask, mask)[:, None, None, None]
    changed = real + (recipe.most / 255**2 / error.clamp_min(1e-8)).sqrt().clamp_max(1.0) * (changed - real)
    composite = torch.lerp(real, changed, mask).clamp(0, 1)
    return Composed((composite * 255).round() / 255, real, look)


def _look(picture: Tensor, looked: Tensor, bank: EditBank, recipe: Recipe, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Whole pictures with the look that those where `looked` get, and the looks as LUTs."""
    device = picture.device
    look = lut.as_lut(lut.identity(len(picture), device)).clone()
    i = looked.nonzero()[:, 0].to(device)
    if not len(i):
        return picture, look
    real = picture.clone()
    look[i] = look_luts(len(i), bank, generator, recipe, device)
    real[i] = lut.apply_lut(picture[i], look[i])
    j = i[(torch.rand(len(i), generator=generator) < recipe.ramp).to(device)]
    if len(j):
        other = lut.apply_lut(picture[j], look_luts(len(j), bank, generator, recipe, device))
        real[j] = torch.lerp(real[j], other, ramp(other, generator))
    return real, look


def _draw_kinds(looked: Tensor, has_partner: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """A number in `KINDS` per picture, `(B,)`."""
    shares = torch.tensor([recipe.shares.get(k, 0.0) for k in KINDS])
    kind = torch.multinomial(shares, len(looked), replacement=True, generator=generator)
    other = torch.tensor([KINDS.index(k) for k in ("transfer", "edit", "neutral")])[torch.randint(3, (len(looked),), generator=generator)]
    kind = torch.where((kind == KINDS.index("plain")) & ~looked, other, kind)
    # A picture with a partner is there for the pair, one without cannot be.
    kind[has_partner & (torch.rand(len(looked), generator=generator) < 0.8)] = KINDS.index("pair")
    kind[(kind == KINDS.index("pair")) & ~has_partner] = KINDS.index("edit")
    return kind
