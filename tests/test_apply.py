"""Transforms applied in strips: the same numbers as at once, on any number of threads, and nothing beside the mask."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from raiha_core import apply
from raiha_core.apply import PlacedTransform, apply_transform
from raiha_core.image import Box, Picture
from raiha_core.models import AffineMap
from raiha_core.parallel import each


@pytest.fixture
def threads():
    """Two threads, also where the tests are told to use one."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield 2
    torch.set_num_threads(before)


def some_map(rows: int, columns: int) -> AffineMap:
    noise = torch.randn(12, rows, columns, generator=torch.Generator().manual_seed(rows))
    return AffineMap(torch.eye(3, 4).reshape(12, 1, 1) + 0.1 * noise)


@pytest.mark.parametrize("cells", [(1, 1), (1, 5), (2, 1), (7, 3), (24, 24)])
@pytest.mark.parametrize("white", [1.0, 255.0])
def test_strips_of_a_map_are_the_map(cells, white):
    transform = some_map(*cells)
    rgb = torch.rand(1, 3, 90, 40, generator=torch.Generator().manual_seed(0))
    x, y = torch.linspace(-0.3, 1.3, 40), torch.linspace(-0.3, 1.3, 90)
    strips, part = transform.along(x, white), slice(5, 31)
    for rows in (slice(0, 90), slice(17, 18), slice(30, 61)):
        whole = transform(rgb[..., rows, part], x[part], y[rows]) * white
        torch.testing.assert_close(strips(rgb[..., rows, part] * white, y[rows], part), whole, rtol=1e-5, atol=1e-5 * white)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_threads_and_strips_make_no_difference(threads, monkeypatch, dtype):
    random = np.random.default_rng(3)
    white = 1 if dtype == np.float32 else np.iinfo(dtype).max
    picture = Picture((random.random((130, 70, 3)) * white).astype(dtype))
    mask = np.zeros((130, 70), np.float32)
    mask[20:111, 9:55] = random.random((91, 46)).round(1)
    placed = PlacedTransform(some_map(4, 4), Box(10, 0, 120, 60))
    monkeypatch.setattr(apply, "STRIP", 7 * 70)
    many = apply_transform(picture, mask, placed).rgb
    torch.set_num_threads(1)
    one = apply_transform(picture, mask, placed).rgb
    assert (many == one).all()
    monkeypatch.setattr(apply, "STRIP", 2**20)
    assert (apply_transform(picture, mask, placed).rgb == one).all()
    assert (one[mask == 0] == picture.rgb[mask == 0]).all() and (one != picture.rgb).any()


def test_work_in_parallel_leaves_torch_as_it_was_and_raises_what_it_meets(threads):
    names, together = set(), threading.Barrier(2, timeout=60)

    def work(item: int) -> None:
        names.add((threading.current_thread().name, torch.get_num_threads()))
        together.wait()  # only two at once come past this

    each(work, range(8))
    assert len(names) == 2 and {n for _, n in names} == {1}
    assert torch.get_num_threads() == threads
    with pytest.raises(ZeroDivisionError):
        each(lambda item: 1 // item, [1, 0, 2])


@pytest.mark.parametrize(("strength", "value"), [(1.0, 126), (1.5, 138), (2.0, 151)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_more_than_in_full_goes_further_the_same_way(strength: float, value: int, dtype: type) -> None:
    """A tenth brighter, which is 25.5 of 255: one and a half of it, and twice."""
    unit = np.iinfo(dtype).max // 255
    picture, mask = Picture(np.full((6, 6, 3), 100 * unit, dtype)), np.ones((6, 6), np.float32)
    brighter = AffineMap((torch.eye(3, 4) + 0.1 * torch.eye(4)[3]).reshape(12, 1, 1))
    made = apply_transform(picture, mask, PlacedTransform(brighter, Box(0, 0, 6, 6)), strength).rgb
    assert made.dtype == dtype and np.abs(made.astype(float) / unit - value).max() <= 1
