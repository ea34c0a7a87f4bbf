"""From real pictures to training triplets: the composite is the picture with its foreground's colours changed.

All of it is batched tensor work on the device of the pictures. What is drawn per picture:

(a) `transfer`  colours of another object, by seven transfer methods;
(b) `edit`      photographic edits in linear light, film looks, affine casts, measured changes of light;
(c) `local`     two edits blended by a ramp: one-sided light;
(d) `pair`      the same scene under another exposure or edit, a real capture;
(e) `none`      nothing: a picture that is already harmonious.

Capture differences of generated content (sharpness, noise, JPEG) come on top, since no colour map removes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from . import edits, tables
from .edits import Draw
from .losses import foreground_mse
from .transfer import METHODS, transfer

KINDS = ("transfer", "edit", "local", "pair", "none")


@dataclass(frozen=True)
class Recipe:
    """How often each kind of change is drawn, and how strong.

    Attributes:
        shares: relative frequency per kind of `KINDS`; `pair` falls back to `edit` where a picture has no partner.
        amount: strength of edits, 1 = bold.
        regrade: probability that the whole picture is regraded first, so that backgrounds vary too.
        capture: probability of a difference of sharpness, noise or compression.
        most: largest fMSE of a composite, on the 0..255 scale.
        moved: share of pictures whose object stands elsewhere in its own photo before anything is changed, as pasted
            objects do: same light, but the colours on both sides of the edge say nothing.
    """

    shares: dict[str, float] = field(default_factory=lambda: {"transfer": 0.33, "edit": 0.33, "local": 0.1, "pair": 0.09, "none": 0.15})
    amount: float = 1.0
    regrade: float = 0.35
    capture: float = 0.15
    most: float = 10000.0
    moved: float = 0.0


@dataclass(frozen=True)
class Looks:
    """Tables that edits draw from; either may be empty.

    Attributes:
        luts: `(L, 3, 17, 17, 17)` film looks.
        patches: `(L, 24, 3)` colour-checker patches under L lights, in [0, 1].
    """

    luts: Tensor
    patches: Tensor

    def to(self, device: torch.device) -> Looks:
        """The same tables on a device."""
        return Looks(self.luts.to(device), self.patches.to(device))


def edit_tables(n: int, looks: Looks, generator: torch.Generator, amount: float, device: torch.device) -> Tensor:
    """`n` random edits as tables `(n, 3, T, T, T)`: photographic, film look, affine cast or measured change of light."""
    x = tables.identity(n, device)
    makers: dict[float, Callable[[Tensor], Tensor]] = {
        0.55: lambda y: edits.photographic(y, generator, amount),
        0.25 * bool(len(looks.luts)): lambda y: edits.film_look(y, looks.luts, generator, amount),
        0.1: lambda y: edits.colour_matrix(y, generator, amount),
        0.1001 * bool(len(looks.patches)): lambda y: edits.change_of_light(y, looks.patches, generator, amount),
    }
    kind = torch.multinomial(torch.tensor(list(makers)), n, replacement=True, generator=generator)
    out = x.clone()
    for number, make in enumerate(makers.values()):
        i = (kind == number).nonzero()[:, 0].to(device)
        if len(i):
            out[i] = make(x[i])
    return tables.as_table(out)


def transfer_tables(x: Tensor, mask: Tensor, donor: Tensor, donor_mask: Tensor, generator: torch.Generator, pixels: int = 4) -> Tensor:
    """Colour transfers from the donors' objects as tables; methods and strengths are drawn per picture.

    Statistics are taken from every `pixels`-th row and column. The grid's colours ride along with weight 0.
    """
    kind = torch.randint(METHODS, (len(x),), generator=generator)
    strength = Draw(generator, x).uniform(0.55, 1.0)
    grid = tables.identity(len(x), x.device)
    small, weight = x[..., ::pixels, ::pixels].flatten(2), mask[..., ::pixels, ::pixels].flatten(2)
    source = torch.cat([small, grid.flatten(2)], 2)
    weights = torch.cat([weight + 1e-6, torch.zeros_like(grid[:, :1]).flatten(2)], 2)
    target, target_weights = (d[..., ::pixels, ::pixels].flatten(2) for d in (donor, donor_mask + 1e-6))
    out = grid.clone()
    for method in kind.unique().tolist():
        i = (kind == method).nonzero()[:, 0].to(x.device)
        moved = transfer(method, source[i], weights[i], target[i], target_weights[i], generator)[:, :, small.shape[2] :]
        out[i] = grid[i] + strength[i] * (moved.clamp(0, 1).reshape(grid[i].shape) - grid[i])
    return tables.as_table(out)


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


def compose(
    real: Tensor,
    mask: Tensor,
    donor: Tensor,
    donor_mask: Tensor,
    partner: Tensor,
    has_partner: Tensor,
    looks: Looks,
    recipe: Recipe,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Make composites.

    Args:
        real: `(B, 3, S, S)` pictures.
        mask: `(B, 1, S, S)`.
        donor, donor_mask: pictures `(B, 3, s, s)` whose masked object lends its colours.
        partner: `(B, 3, S, S)`, the same scene under other light; anything where `has_partner` `(B,)` is False.
        looks: tables for the edits.
        recipe: how often and how strong.
        generator: a CPU generator.

    Returns:
        composite and truth, both `(B, 3, S, S)` in [0, 1], equal outside the mask.
    """
    device = real.device
    i = ((torch.rand(len(real), generator=generator) < recipe.regrade) & ~has_partner.cpu()).nonzero()[:, 0].to(device)
    real = real.clone()
    if len(i):
        real[i] = tables.apply_table(real[i], edit_tables(len(i), looks, generator, 0.6 * recipe.amount, device))
    shares = torch.tensor([recipe.shares.get(k, 0.0) for k in KINDS])
    kind = torch.multinomial(shares, len(real), replacement=True, generator=generator)
    # A picture with a partner is there for the pair, one without cannot be.
    kind[has_partner.cpu() & (torch.rand(len(real), generator=generator) < 0.8)] = KINDS.index("pair")
    kind[(kind == KINDS.index("pair")) & ~has_partner.cpu()] = KINDS.index("edit")
    changed = real.clone()
    for number, name in enumerate(KINDS):
        i = (kind == number).nonzero()[:, 0].to(device)
        if not len(i):
            continue
        if name == "transfer":
            changed[i] = tables.apply_table(real[i], transfer_tables(real[i], mask[i], donor[i], donor_mask[i], generator))
        elif name in ("edit", "local"):
            changed[i] = tables.apply_table(real[i], edit_tables(len(i), looks, generator, recipe.amount, device))
        elif name == "pair":
            changed[i] = partner[i]
        if name == "local":
            other = tables.apply_table(real[i], edit_tables(len(i), looks, generator, recipe.amount, device))
            changed[i] += edits.gradient(real[i], generator) * (other - changed[i])
    i = (torch.rand(len(real), generator=generator) < recipe.capture).nonzero()[:, 0].to(device)
    if len(i):
        changed[i] = capture_difference(changed[i], generator)
    # Bolder than anything that was ever published: pulled back, so that a few do not drown the rest.
    error = foreground_mse(changed * mask, real * mask, mask)[:, None, None, None]
    changed = real + (recipe.most / 255**2 / error.clamp_min(1e-8)).sqrt().clamp_max(1.0) * (changed - real)
    composite = (real + mask * (changed - real)).clamp(0, 1)
    return (composite * 255).round() / 255, real
