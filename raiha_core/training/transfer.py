"""Colour transfers between two sets of pixels: how iHarmony4's composites were made, batched and weighted.

Every function takes `source` `(B, 3, N)` with weights `(B, 1, N)` and `target` `(B, 3, M)` with weights `(B, 1, M)`, sRGB
in [0, 1], and returns the source with the target's colours, `(B, 3, N)`, not clamped.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..image.colour import lab_to_srgb, linear_to_srgb, srgb_to_lab, srgb_to_linear
from ..models.raiha_s.colour_statistics import moments

# Ruderman, Cronin & Chiao (1998), as used by Reinhard et al. (2001): linear RGB -> LMS, then log and a rotation.
_LMS = torch.tensor([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
_LAB = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, -2.0], [1.0, -1.0, 0.0]]) * torch.tensor([[3.0], [6.0], [2.0]]).rsqrt()


def _mix(matrix: Tensor, x: Tensor) -> Tensor:
    return torch.einsum("ij,bjn->bin", matrix.to(x), x)


def to_ruderman(rgb: Tensor) -> Tensor:
    """sRGB to the decorrelated l-alpha-beta space, `(B, 3, N)`; colours below 1/500 of white are lifted."""
    return _mix(_LAB, _mix(_LMS, srgb_to_linear(rgb.clamp(0, 1)) + 0.002).log())


def from_ruderman(lab: Tensor) -> Tensor:
    """Inverse of `to_ruderman`."""
    return linear_to_srgb(_mix(torch.linalg.inv(_LMS), _mix(torch.linalg.inv(_LAB), lab).clamp(-8, 2).exp()) - 0.002)


def _flat_lab(rgb: Tensor) -> Tensor:
    return srgb_to_lab(rgb[..., None])[..., 0]


def _flat_rgb(lab: Tensor) -> Tensor:
    return lab_to_srgb(lab[..., None])[..., 0]


def reinhard(source: Tensor, ws: Tensor, target: Tensor, wt: Tensor, space: str = "ruderman") -> Tensor:
    """Match mean and spread per channel in a decorrelated space (Reinhard et al., 2001); `space` is `ruderman` or `lab`."""
    there, back = (to_ruderman, from_ruderman) if space == "ruderman" else (_flat_lab, _flat_rgb)
    s, t = there(source), there(target)
    (ms, cs), (mt, ct) = moments(s, ws), moments(t, wt)
    ratio = (ct.diagonal(dim1=1, dim2=2) / cs.diagonal(dim1=1, dim2=2).clamp_min(1e-6)).clamp(0.04, 9).sqrt()
    return back((s - ms[:, :, None]) * ratio[:, :, None] + mt[:, :, None])


def _power(matrix: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    power: Tensor = vectors * values.clamp_min(1e-6).pow(exponent)[:, None, :] @ vectors.mT
    return power


def monge_kantorovich(source: Tensor, ws: Tensor, target: Tensor, wt: Tensor) -> Tensor:
    """The linear map that matches mean and covariance at the least cost (Pitie & Kokaram, 2007)."""
    (ms, cs), (mt, ct) = moments(source, ws), moments(target, wt)
    ridge = 2e-4 * torch.eye(3, device=source.device)
    cs, ct = cs + ridge, ct + ridge
    root, inverse = _power(cs, 0.5), _power(cs, -0.5)
    t = inverse @ _power(root @ ct @ root, 0.5) @ inverse
    moved: Tensor = t @ (source - ms[:, :, None]) + mt[:, :, None]
    return moved


def covariance_rotation(source: Tensor, ws: Tensor, target: Tensor, wt: Tensor) -> Tensor:
    """Match principal axes and spreads in RGB (Xiao & Ma, 2006)."""
    (ms, cs), (mt, ct) = moments(source, ws), moments(target, wt)
    vs, us = torch.linalg.eigh(cs + 2e-4 * torch.eye(3, device=source.device))
    vt, ut = torch.linalg.eigh(ct + 2e-4 * torch.eye(3, device=source.device))
    # Axes are matched by rank; their signs so that the map turns colours as little as possible.
    sign = torch.sign((us * ut).sum(1)).where((us * ut).sum(1) != 0, torch.ones_like(vs))
    t = (ut * (sign * (vt / vs).clamp(0.04, 9).sqrt())[:, None, :]) @ us.mT
    moved: Tensor = t @ (source - ms[:, :, None]) + mt[:, :, None]
    return moved


def histogram_match(source: Tensor, ws: Tensor, target: Tensor, wt: Tensor, bins: int = 64) -> Tensor:
    """Match each channel's distribution by cumulative histograms; any number of channels, any range."""
    low = torch.minimum(source.amin(2), target.amin(2))[:, :, None]
    span = (torch.maximum(source.amax(2), target.amax(2))[:, :, None] - low).clamp_min(1e-5)

    def cumulative(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        position = (x - low) / span * (bins - 1e-3)
        votes = torch.zeros(*x.shape[:2], bins, device=x.device).scatter_add_(2, position.long(), w.expand_as(x).contiguous())
        total = torch.nn.functional.pad(votes.cumsum(2) / votes.sum(2, keepdim=True).clamp_min(1e-6), (1, 0))
        return total + torch.linspace(0, 1e-4, bins + 1, device=x.device), position

    cs, at = cumulative(source, ws)
    ct, _ = cumulative(target, wt)
    cell = at.long()
    rank = cs.gather(2, cell) + (at - cell) * (cs.gather(2, cell + 1) - cs.gather(2, cell))
    upper = torch.searchsorted(ct, rank.contiguous()).clamp(1, bins)
    c0, c1 = ct.gather(2, upper - 1), ct.gather(2, upper)
    return low + span * (upper - 1 + ((rank - c0) / (c1 - c0).clamp_min(1e-8)).clamp(0, 1)) / bins


def random_rotations(n: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Uniformly random rotations `(n, 3, 3)`, from normalised Gaussian quaternions."""
    q = torch.nn.functional.normalize(torch.randn(n, 4, generator=generator), dim=1).to(device)
    w, x, y, z = q.unbind(1)
    rows = [
        1 - 2 * (y * y + z * z),
        2 * (x * y - z * w),
        2 * (x * z + y * w),
        2 * (x * y + z * w),
        1 - 2 * (x * x + z * z),
        2 * (y * z - x * w),
    ]
    rows += [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]
    return torch.stack(rows, 1).reshape(n, 3, 3)


def iterative_distribution_transfer(
    source: Tensor, ws: Tensor, target: Tensor, wt: Tensor, generator: torch.Generator, rounds: int = 4
) -> Tensor:
    """Match the whole colour distribution by 1-D matches along random axes (Pitie et al., 2005)."""
    x = source
    for _ in range(rounds):
        turn = random_rotations(len(x), generator, x.device)
        x = turn.mT @ histogram_match(turn @ x, ws, turn @ target, wt, bins=48)
    return x


def histogram_match_lab(source: Tensor, ws: Tensor, target: Tensor, wt: Tensor) -> Tensor:
    """`histogram_match` of luminance and chroma in a YCbCr-like space (Fecker et al., 2008)."""
    ycc = torch.tensor([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])
    return _mix(torch.linalg.inv(ycc), histogram_match(_mix(ycc, source), ws, _mix(ycc, target), wt))


METHODS = 7


def transfer(method: int, source: Tensor, ws: Tensor, target: Tensor, wt: Tensor, generator: torch.Generator) -> Tensor:
    """One of the `METHODS` transfers by number; see the functions above."""
    if method in (0, 1):
        return reinhard(source, ws, target, wt, "ruderman" if method else "lab")
    if method == 2:
        return monge_kantorovich(source, ws, target, wt)
    if method == 3:
        return covariance_rotation(source, ws, target, wt)
    if method == 4:
        return histogram_match(source, ws, target, wt)
    if method == 5:
        return histogram_match_lab(source, ws, target, wt)
    if method == 6:
        return iterative_distribution_transfer(source, ws, target, wt, generator)
    raise ValueError(f"transfer method {method} is not in 0..{math.floor(METHODS - 1)}")
