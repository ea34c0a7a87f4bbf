from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raiha_core.models.raiha_s.colour_statistics import described, fit_affine, moments
from raiha_core.training import transfer as t


def clouds(seed: int, b: int = 2, n: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """Two colour clouds inside the gamut, `(b, 3, n)`."""
    g = torch.Generator().manual_seed(seed)
    source = 0.5 + 0.07 * torch.randn(b, 3, n, generator=g)
    mix = torch.eye(3) + 0.3 * torch.rand(b, 3, 3, generator=g)
    target = 0.45 + mix @ (0.06 * torch.randn(b, 3, n, generator=g))
    return source.clamp(0.05, 0.95), target.clamp(0.05, 0.95)


ones = torch.ones(2, 1, 400)


def test_monge_kantorovich_matches_mean_and_covariance() -> None:
    source, target = clouds(0)
    mean, covariance = moments(t.monge_kantorovich(source, ones, target, ones), ones)
    torch.testing.assert_close(mean, moments(target, ones)[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(covariance, moments(target, ones)[1], atol=3e-4, rtol=0)


@pytest.mark.parametrize("space", ["ruderman", "lab"])
def test_reinhard_matches_its_spaces_moments(space: str) -> None:
    source, target = clouds(1)
    there = t.to_ruderman if space == "ruderman" else t._flat_lab
    (ma, ca), (mb, cb) = (moments(there(x), ones) for x in (t.reinhard(source, ones, target, ones, space), target))
    torch.testing.assert_close(ma, mb, atol=0.05 * float(mb.abs().max()), rtol=0)
    torch.testing.assert_close(ca.diagonal(dim1=1, dim2=2), cb.diagonal(dim1=1, dim2=2), atol=1e-3, rtol=0.1)


def test_ruderman_is_inverted() -> None:
    source, _ = clouds(2)
    torch.testing.assert_close(t.from_ruderman(t.to_ruderman(source)), source, atol=1e-4, rtol=0)


@pytest.mark.parametrize("match", [t.histogram_match, t.histogram_match_lab])
def test_histogram_match_moves_the_quantiles(match: object) -> None:
    source, target = clouds(3)
    moved = match(source, ones, target, ones)  # type: ignore[operator]
    q = torch.tensor([0.1, 0.5, 0.9])
    tolerance = 0.02 if match is t.histogram_match else 0.06
    torch.testing.assert_close(moved.quantile(q, 2), target.quantile(q, 2), atol=tolerance, rtol=0)


def test_iterative_transfer_beats_one_linear_map_on_two_clusters() -> None:
    g = torch.Generator().manual_seed(0)
    source = 0.5 + 0.05 * torch.randn(1, 3, 600, generator=g)
    side = (torch.rand(1, 1, 600, generator=g) > 0.5).float()
    target = 0.5 + 0.3 * (side - 0.5) * torch.tensor([1.0, -1.0, 0.5])[None, :, None] + 0.02 * torch.randn(1, 3, 600, generator=g)
    w = torch.ones(1, 1, 600)
    moved = t.iterative_distribution_transfer(source, w, target, w, torch.Generator().manual_seed(1), rounds=6)
    linear = t.monge_kantorovich(source, w, target, w)

    def gap(x: torch.Tensor) -> float:
        axis = torch.nn.functional.normalize(torch.tensor([1.0, -1.0, 0.5]), dim=0)
        p, q = (torch.einsum("c,bcn->bn", axis, y).sort(1).values for y in (x, target))
        return float((p - q).abs().mean())

    assert gap(moved) < 0.6 * gap(linear)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), method=st.integers(0, t.METHODS - 1))
def test_every_method_gives_finite_colours_and_ignores_what_has_no_weight(seed: int, method: int) -> None:
    source, target = clouds(seed)
    weight = ones.clone()
    weight[..., 200:] = 0
    strange = source.clone()
    strange[..., 200:] = torch.rand(2, 3, 200)
    a = t.transfer(method, source, weight, target, ones, torch.Generator().manual_seed(seed))
    b = t.transfer(method, strange, weight, target, ones, torch.Generator().manual_seed(seed))
    assert a.isfinite().all() and a.shape == source.shape
    if method not in (4, 5, 6):  # those share bins whose range follows all colours
        torch.testing.assert_close(a[..., :200], b[..., :200], atol=1e-4, rtol=0)


def test_fit_affine_recovers_a_known_map() -> None:
    source, _ = clouds(5)
    a = torch.tensor([[1.2, 0.1, 0.0], [0.0, 0.8, 0.1], [0.05, 0.0, 1.1]])
    target = a @ (source - 0.5) + 0.4
    matrix, shift = fit_affine(source, target, ones, 1e-7)
    torch.testing.assert_close(matrix, a.expand(2, 3, 3), atol=1e-2, rtol=0)
    torch.testing.assert_close(shift, (target - source).mean(2), atol=1e-5, rtol=0)
    stiff, _ = fit_affine(source, target, ones, 1e3)
    torch.testing.assert_close(stiff, torch.eye(3).expand(2, 3, 3), atol=1e-3, rtol=0)


def test_description_has_its_length_and_sees_colour() -> None:
    from raiha_core.models.raiha_s.colour_statistics import DESCRIPTOR

    source, target = clouds(6)
    a, b = (described(colours, [ones])[0][1] for colours in (source, target))
    assert a.shape == (2, DESCRIPTOR)
    torch.testing.assert_close(a[:, :3], source.mean(2), atol=1e-5, rtol=0)
    assert (a - b).abs().max() > 0.05
    histogram = a[:, 9 : 9 + 16] ** 2
    torch.testing.assert_close(histogram.sum(1), torch.ones(2), atol=1e-2, rtol=0)
