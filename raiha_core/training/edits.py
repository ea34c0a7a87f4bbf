"""Photographic edits as random, batched functions of pictures `(B, 3, H, W)`, sRGB in [0, 1]; results are not clamped.

Each function draws one edit per picture from `generator` (on the CPU, so that a seed means the same on every device).
`amount` scales how strong the draw may be; 1 is what a bold retoucher does.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..image.colour import linear_to_srgb, srgb_to_linear
from .lut import apply_lut


class Draw:
    """Random numbers for a batch, shaped to broadcast over pictures."""

    def __init__(self, generator: torch.Generator, like: Tensor):
        self.generator, self.like = generator, like

    def uniform(self, low: float, high: float, channels: int = 1) -> Tensor:
        """`(B, channels, 1, 1)` in [low, high)."""
        x = torch.rand(len(self.like), channels, 1, 1, generator=self.generator) * (high - low) + low
        return x.to(self.like)

    def normal(self, spread: float, channels: int = 1) -> Tensor:
        """`(B, channels, 1, 1)` Gaussian with that standard deviation, cut at 2.5 of them."""
        x = torch.randn(len(self.like), channels, 1, 1, generator=self.generator).clamp(-2.5, 2.5) * spread
        return x.to(self.like)

    def chance(self, p: float) -> Tensor:
        """`(B, 1, 1, 1)`, 1 with probability p, else 0."""
        return (torch.rand(len(self.like), 1, 1, 1, generator=self.generator) < p).to(self.like)


def luminance(linear: Tensor) -> Tensor:
    """Relative luminance of linear sRGB, `(B, 1, H, W)`."""
    return 0.2126 * linear[:, 0:1] + 0.7152 * linear[:, 1:2] + 0.0722 * linear[:, 2:3]


def planckian_gain(mired: Tensor, tint: Tensor) -> Tensor:
    """Colour of a black body in linear sRGB, green = 1, `(B, 3, 1, 1)`.

    Args:
        mired: 1e6 / kelvin, `(B, 1, 1, 1)`, about 80 to 400.
        tint: logarithmic gain of green against magenta.

    Source: Kim et al. (2002), cubic approximation of the Planckian locus, valid from 1667 K to 25000 K.
    """
    t = mired / 1000  # = 1000 / kelvin
    cool = -3.0258469 * t**3 + 2.1070379 * t**2 + 0.2226347 * t + 0.240390
    warm = -0.2661239 * t**3 - 0.2343589 * t**2 + 0.8776956 * t + 0.179910
    x = torch.where(t < 0.25, cool, warm)
    y_cool = 3.0817580 * x**3 - 5.8733867 * x**2 + 3.75112997 * x - 0.37001483
    y_warm = -0.9549476 * x**3 - 1.37418593 * x**2 + 2.09137015 * x - 0.16748867
    y = torch.where(t < 0.25, y_cool, y_warm)
    xyz = torch.cat([x / y, torch.ones_like(y), (1 - x - y) / y], 1)
    to_rgb = torch.tensor([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]).to(xyz)
    rgb = torch.einsum("ij,bjhw->bihw", to_rgb, xyz).clamp_min(0.05)
    rgb = rgb / rgb[:, 1:2]
    return torch.cat([rgb[:, 0:1], tint.exp(), rgb[:, 2:3]], 1)


def white_balance(linear: Tensor, draw: Draw, amount: float) -> Tensor:
    """Move the light along the Planckian locus, with some tint; luminance of grey is kept."""
    start = draw.uniform(110, 260)
    gain = planckian_gain((start + draw.normal(45 * amount)).clamp(60, 450), draw.normal(0.06 * amount))
    gain = gain / planckian_gain(start, torch.zeros_like(start))
    return linear * gain / luminance(gain)


def tone_curve(x: Tensor, draw: Draw, amount: float, per_channel: float = 0.25) -> Tensor:
    """A monotone curve through six knots: gamma, contrast, lifted blacks, dulled whites, bumps; sometimes per channel."""
    knots = torch.linspace(0, 1, 6).to(x)[None, :, None, None]
    gamma = (draw.normal(0.35 * amount)).exp()
    pivot, slope = draw.uniform(0.3, 0.6), (draw.normal(0.3 * amount)).exp()
    y = knots**gamma
    y = torch.where(y < pivot, pivot * (y / pivot) ** slope, 1 - (1 - pivot) * ((1 - y) / (1 - pivot)) ** slope)
    black, white = draw.uniform(-0.03, 0.16 * amount) * draw.chance(0.5), draw.uniform(-0.03, 0.2 * amount) * draw.chance(0.4)
    y = black + y * (1 - black - white)
    own = draw.chance(per_channel)
    out: list[Tensor] = []
    for _ in range(3):
        bumps = y + draw.normal(0.02 * amount, 6) + own * draw.normal(0.04 * amount, 6)
        out.append(_piecewise(x[:, len(out) : len(out) + 1], bumps.sort(1).values))
    return torch.cat(out, 1)


def _piecewise(x: Tensor, y: Tensor) -> Tensor:
    """Piecewise-linear curve with knots evenly spaced on [0, 1]: `x` `(B, 1, H, W)`, `y` `(B, K, 1, 1)`."""
    k = y.shape[1] - 1
    position = x.clamp(0, 1) * k
    cell = position.floor().clamp(0, k - 1)
    flat = y[:, :, 0, 0]
    index = cell.flatten(1).long()
    low, high = flat.gather(1, index).reshape(x.shape), flat.gather(1, index + 1).reshape(x.shape)
    return low + (position - cell) * (high - low)


def saturation(linear: Tensor, draw: Draw, amount: float) -> Tensor:
    """Scale the distance from grey, now and then down to nearly none."""
    grey = luminance(linear)
    factor = draw.normal(0.35 * amount).exp()
    factor = torch.where(draw.chance(0.08 * amount) > 0, draw.uniform(0.05, 0.5), factor)
    return grey + (linear - grey) * factor


def photographic(x: Tensor, generator: torch.Generator, amount: float = 1.0) -> Tensor:
    """A random retouch: exposure, white balance and saturation in linear light, then a tone curve; each at times absent."""
    draw = Draw(generator, x)
    linear = srgb_to_linear(x.clamp(0, 1))
    linear = linear * torch.exp2(draw.normal(0.75 * amount) * draw.chance(0.8))
    linear = torch.where(draw.chance(0.6) > 0, white_balance(linear, draw, amount), linear)
    linear = torch.where(draw.chance(0.6) > 0, saturation(linear, draw, amount), linear)
    out = linear_to_srgb(linear.clamp(0, 1))
    return torch.where(draw.chance(0.6) > 0, tone_curve(out, draw, amount), out)


def colour_matrix(x: Tensor, generator: torch.Generator, amount: float = 1.0) -> Tensor:
    """A random affine map of colours near the identity about a random pivot: casts, mixing, contrast."""
    draw = Draw(generator, x)
    matrix = torch.eye(3).to(x) * draw.normal(0.2 * amount).exp()[:, 0] + draw.normal(0.1 * amount, 9).reshape(-1, 3, 3)
    mean = draw.uniform(0.25, 0.65)
    shifted = torch.einsum("bij,bjhw->bihw", matrix, x - mean)
    return shifted + mean + draw.normal(0.1 * amount, 3) + draw.normal(0.08 * amount)


def film_look(x: Tensor, luts: Tensor, generator: torch.Generator, amount: float = 1.0) -> Tensor:
    """A random film look (3-D LUT) at random strength.

    Args:
        luts: `(L, 3, T, T, T)`, indexed by (r, g, b).
    """
    draw = Draw(generator, x)
    pick = torch.randint(len(luts), (len(x),), generator=generator)
    graded = apply_lut(x, luts[pick.to(luts.device)])
    strength = draw.uniform(0.5, 1.15) * min(1.0, amount)
    return x + strength * (graded - x)


def change_of_light(x: Tensor, patches: Tensor, generator: torch.Generator, amount: float = 1.0) -> Tensor:
    """A measured change of light: the 3 x 3 map in linear light that takes one set of colour-checker patches to another.

    Args:
        patches: `(L, 24, 3)` in [0, 1], the same chart under L lights; brightness is evened out so that the colour changes.
    """
    i, j = torch.randint(len(patches), (2, len(x)), generator=generator).to(patches.device)
    a, b = srgb_to_linear(patches[i]), srgb_to_linear(patches[j])
    b = b * (a.mean((1, 2)) / b.mean((1, 2)).clamp_min(1e-3))[:, None, None]
    eye = torch.eye(3, device=a.device)
    matrix = torch.linalg.solve(a.mT @ a + 0.01 * eye, a.mT @ b + 0.01 * eye)
    moved = linear_to_srgb(torch.einsum("bij,bihw->bjhw", matrix, srgb_to_linear(x.clamp(0, 1))).clamp(0, 1))
    draw = Draw(generator, x)
    return x + draw.uniform(0.4, 1.0) * amount * (moved - x)


def mood(x: Tensor, generator: torch.Generator, amount: float = 1.0) -> Tensor:
    """A scene's mood, as strong as dusk, sunset, night, neon or fog are.

    Exposure down to a quarter and less, a white point far off daylight (along the Planckian locus, or of any hue), tinted shadows and
    highlights, crushed or lifted blacks, dulled whites, squeezed or stretched contrast, colours washed out or deep.
    """
    draw = Draw(generator, x)
    linear = srgb_to_linear(x.clamp(0, 1)) * torch.exp2(draw.uniform(-2.2, 0.6) * amount)
    mired = torch.where(draw.chance(0.5) > 0, draw.uniform(230, 420), draw.uniform(50, 100))
    light = planckian_gain(mired, draw.normal(0.1)) / planckian_gain(torch.full_like(mired, 154), torch.zeros_like(mired))
    light = torch.where(draw.chance(0.3) > 0, draw.normal(0.5, 3).exp(), light)
    light = torch.where(draw.chance(0.15) > 0, torch.ones_like(light), light)
    linear = linear * (light / luminance(light)) ** (amount * draw.uniform(0.4, 1.0))
    grey = luminance(linear)
    depth = torch.where(draw.chance(0.25) > 0, draw.uniform(0.2, 0.7), draw.normal(0.3).exp())
    out = linear_to_srgb((grey + (linear - grey) * depth).clamp(0, 1))
    value = luminance(out)
    out = out + draw.chance(0.5) * (1 - value) ** 3 * draw.uniform(-0.05, 0.2, 3) + draw.chance(0.4) * value**2 * draw.normal(0.08, 3)
    middle = draw.uniform(0.2, 0.5)
    out = middle + (out - middle) * torch.where(draw.chance(0.5) > 0, draw.normal(0.3).exp(), torch.ones_like(middle))
    black, white = draw.uniform(-0.08, 0.2) * draw.chance(0.5), draw.uniform(0, 0.3) * draw.chance(0.4)
    return black + out * (1 - black - white)


def stretch(x: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    """Contrast and saturation of the masked object squeezed or stretched about its mean, its brightness moved."""
    draw = Draw(generator, x)
    value = luminance(x)
    mean = (value * mask).sum((2, 3), keepdim=True) / mask.sum((2, 3), keepdim=True).clamp_min(1e-3)
    contrast = torch.where(draw.chance(0.6) > 0, draw.uniform(0.3, 0.8), draw.uniform(1.15, 1.9))
    colour = torch.where(draw.chance(0.6) > 0, draw.uniform(0.1, 0.8), draw.uniform(0.9, 1.8))
    return mean + contrast * (value - mean) + colour * (x - value) + draw.normal(0.1)


def neutralise(x: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    """The masked object as a camera in daylight would expose and balance it: grey world, middle brightness, each in part."""
    draw = Draw(generator, x)
    linear = srgb_to_linear(x.clamp(0, 1))
    mean = (linear * mask).sum((2, 3), keepdim=True) / mask.sum((2, 3), keepdim=True).clamp_min(1e-3) + 1e-3
    brightness = luminance(mean)
    balance = (brightness / mean).clamp(0.2, 5) ** draw.uniform(0.3, 1.0)
    exposure = (draw.uniform(0.12, 0.4) / brightness).clamp(0.25, 6) ** draw.uniform(0.4, 1.0)
    return linear_to_srgb((linear * balance * exposure).clamp(0, 1))
