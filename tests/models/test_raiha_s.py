from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raiha_core.models import AffineMap, RaihaS, apply_affine, load_model
from raiha_core.models.raiha_s.evidence import observe

IDENTITY = torch.tensor([1.0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0])


@pytest.fixture(scope="module")
def model() -> RaihaS:
    torch.manual_seed(0)
    return RaihaS(64).eval()


@pytest.fixture
def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(1)
    mask = torch.zeros(2, 1, 64, 64)
    mask[:, :, 20:40, 12:44] = 1
    return torch.rand(2, 3, 64, 64, generator=g), mask


def test_untrained_it_starts_near_the_identity(model: RaihaS, inputs: tuple[torch.Tensor, torch.Tensor]) -> None:
    composite, mask = inputs
    out = model(composite, mask)
    result = model.render(out, composite, mask)
    assert out.matrix.shape == (2, 12, 8, 8) and (result - composite).abs().mean() < 0.05
    assert torch.equal(result * (1 - mask), composite * (1 - mask))


def test_attention_looks_at_background_and_references_only(model: RaihaS, inputs: tuple[torch.Tensor, torch.Tensor]) -> None:
    composite, mask = inputs
    refs = [torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)]
    found = model.predict(composite[:1], mask[:1], refs, attention=True).attention
    assert found is not None and found.panels == 3 and found.grid == (8, 8)
    torch.testing.assert_close(found.weights.sum(1), torch.ones(len(found.queries)))
    summed = found.summed()
    assert summed.shape == (3, 8, 8) and float(summed[0].flatten()[found.queries].abs().max()) == 0
    assert float(summed[1:].sum()) > 0


def test_the_order_of_references_does_not_matter(model: RaihaS, inputs: tuple[torch.Tensor, torch.Tensor]) -> None:
    composite, mask = inputs
    refs = torch.rand(2, 3, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    a, b = model(composite, mask, refs).matrix, model(composite, mask, refs.flip(1)).matrix
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_a_foreground_believed_to_be_untouched_is_left_alone(model: RaihaS, inputs: tuple[torch.Tensor, torch.Tensor]) -> None:
    torch.manual_seed(4)
    sure = RaihaS(64).eval()
    torch.nn.init.normal_(sure.overall.weight, 0, 0.5)
    composite, mask = inputs
    moved = (sure.render(sure(composite, mask), composite, mask) - composite).detach().abs().max()
    with torch.no_grad():
        sure.trusts.bias[1] = -30.0
    out = sure(composite, mask)
    assert float(moved) > 0.05 and out.touched.shape == (2,) and float(out.touched.detach().max()) < -20
    torch.testing.assert_close(sure.render(out, composite, mask), composite, atol=1e-5, rtol=0)


def test_steps_at_the_edge_are_carried_inside() -> None:
    from raiha_core.models.raiha_s.edges import edge_colours, spread_inside

    mask = torch.zeros(1, 1, 96, 96)
    mask[..., 24:72, 24:72] = 1
    composite = torch.full((1, 3, 96, 96), 0.5)
    composite[:, 0] += 0.2 * mask[:, 0]
    carried = spread_inside(edge_colours(composite, mask))
    assert carried.shape == (1, 4, 12, 12)
    torch.testing.assert_close(carried[0, 0, 3:9, 3:9], torch.full((6, 6), -0.2), atol=5e-3, rtol=0)
    assert float(carried[0, 1:3].abs().max()) < 2e-3
    assert float(carried[0, 3, 6, 6]) == 0  # nothing is known in the middle but by hearsay


@pytest.mark.parametrize(("white", "black"), [(0.98, 0.01), (0.4, 0.0)])
def test_white_that_is_not_quite_white_is_white(inputs: tuple[torch.Tensor, torch.Tensor], white: float, black: float) -> None:
    composite, mask = (x[:1] for x in inputs)
    shipped = load_model("raiha-s")
    clean, dirty = (shipped.predict(composite, m).transform for m in (mask, black + (white - black) * mask))
    assert isinstance(clean, AffineMap) and isinstance(dirty, AffineMap)
    torch.testing.assert_close(clean.matrix, dirty.matrix, atol=1e-4, rtol=1e-3)


def test_several_together_are_predicted_as_each_alone(inputs: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Masks that are faint or feathered too, colours beyond white, and with references."""
    composites = inputs[0] * 1.3
    masks = torch.cat([0.5 * inputs[1][:1], torch.nn.functional.avg_pool2d(inputs[1][1:], 9, 1, 4)])
    references = [torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))]
    shipped = load_model("raiha-s")
    for i, together in enumerate(shipped.predict_batch(composites, masks, references)):
        alone = shipped.predict(composites[i : i + 1], masks[i : i + 1], references).transform
        assert isinstance(together, AffineMap) and isinstance(alone, AffineMap)
        torch.testing.assert_close(together.matrix, alone.matrix, atol=1e-4, rtol=1e-3)


def test_how_soft_a_mask_is_does_not_say_where_the_object_ends() -> None:
    from raiha_core.models.raiha_s.evidence import shown_mask
    from raiha_core.training.masks import feathered

    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 16:48, 16:48] = 1
    for soft in (feathered(mask, torch.tensor([5.0])), 0.3 * mask, 0.9 * feathered(mask, torch.tensor([3.0]))):
        assert float(((shown_mask(soft) > 0.5) != (mask > 0.5)).float().mean()) < 0.01
    assert torch.equal(shown_mask(mask), mask)


def test_the_more_caution_the_less_is_made_of_what_is_doubted(model: RaihaS, inputs: tuple[torch.Tensor, torch.Tensor]) -> None:
    out = model(*inputs)
    identity = torch.eye(3, 4).reshape(1, 12, 1, 1)

    def made(touched: float, caution: float) -> float:
        proposed = out._replace(touched=torch.full((2,), touched))
        return float(((model.cautious(proposed, caution) - identity).norm() / (out.matrix - identity).norm()).detach())

    assert made(-5.0, 0.0) == pytest.approx(1)
    assert made(0.0, 1.0) == pytest.approx(0.25, abs=1e-3) and made(0.0, 0.5) == pytest.approx(0.5, abs=1e-3)
    assert made(6.0, 1.0) > 0.99 and made(-6.0, 1.0) < 0.01


def test_a_reference_that_is_not_trusted_changes_nothing(inputs: tuple[torch.Tensor, torch.Tensor]) -> None:
    composite, mask = inputs
    torch.manual_seed(3)
    model = RaihaS(64).eval()
    refs = torch.rand(2, 1, 3, 64, 64, generator=torch.Generator().manual_seed(5))

    def distance(logit: float) -> float:
        with torch.no_grad():
            model.trust[-1].bias.fill_(logit)  # type: ignore[operator, union-attr]
            model.trust[-1].weight.zero_()  # type: ignore[operator, union-attr]
        # The tokens alone: that there are references at all is told to the head beside.
        scene = model._scene(composite, mask)
        offered = model._offered(model._encoded(refs.flatten(0, 1)), len(refs), scene)
        with_it, without = (model._attend(scene, looked, False)[0] for looked in (offered, None))
        return float((with_it - without).detach().abs().max())

    assert distance(-40.0) < 1e-5 < 1e-2 < distance(5.0)


def test_nothing_said_of_the_edge_is_nothing_known_of_it(inputs: tuple[torch.Tensor, torch.Tensor]) -> None:
    seen = observe(*inputs)
    kept = seen.without_edge(torch.tensor([1.0, 0.0]))
    for name in ("weight", "spread", "steps"):
        before, after = getattr(seen, name), getattr(kept, name)
        assert torch.equal(after[0], before[0]) and float(after[1].abs().max()) == 0 < float(before[1].abs().max())
    assert torch.equal(kept.colours, seen.colours)


@pytest.mark.parametrize(("window", "stride"), [(7, 1), (8, 8), (24, 8), (8, 4)])
def test_window_means_are_those_of_pooling_layers(window: int, stride: int) -> None:
    from raiha_core.models.pooling import window_mean

    x = torch.rand(2, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    for inside in (True, False):
        expected = torch.nn.functional.avg_pool2d(x, window, stride, (window - stride) // 2, count_include_pad=not inside)
        torch.testing.assert_close(window_mean(x, window, stride, inside), expected, atol=1e-6, rtol=1e-5)


def test_window_maxima_are_those_of_pooling_layers() -> None:
    from raiha_core.models.pooling import block_max, window_max

    x = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(window_max(x, 5), torch.nn.functional.max_pool2d(x, 5, 1, 2))
    assert torch.equal(window_max(x[..., :2], 7), torch.nn.functional.max_pool2d(x[..., :2], 7, 1, 3))
    assert torch.equal(block_max(x, 8), torch.nn.functional.max_pool2d(x, 8))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_what_predicts_answers_as_what_is_trained(inputs: tuple[torch.Tensor, torch.Tensor], count: int) -> None:
    composite, mask = inputs
    shipped = load_model("raiha-s")
    assert isinstance(shipped, RaihaS)
    references = [torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(k)) for k in range(count)]
    stacked = torch.stack(references, 1).expand(2, -1, -1, -1, -1) if count else None
    trained = shipped(composite, mask, stacked, attention=True)  # keeps gradients, attends densely
    assert trained.matrix.requires_grad
    for _ in range(2):  # the second time references are remembered
        together = shipped.predict_batch(composite, mask, references or None, caution=0.0)
        for i, transform in enumerate(together):
            alone = shipped.predict(composite[i : i + 1], mask[i : i + 1], references or None, attention=True, caution=0.0)
            assert isinstance(alone.transform, AffineMap) and isinstance(transform, AffineMap) and alone.attention is not None
            torch.testing.assert_close(alone.transform.matrix, trained.matrix[i].detach(), atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(transform.matrix, trained.matrix[i].detach(), atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(alone.attention.weights, trained.weights[i].detach(), atol=1e-5, rtol=1e-3)


def test_weights_that_were_changed_are_what_predicts(inputs: tuple[torch.Tensor, torch.Tensor]) -> None:
    composite, mask = (x[:1] for x in inputs)
    reference = [torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))]
    shipped = load_model("raiha-s")

    def matrix() -> torch.Tensor:
        found = shipped.predict(composite, mask, reference).transform
        assert isinstance(found, AffineMap)
        return found.matrix

    before, state = matrix(), {k: v.clone() for k, v in shipped.state_dict().items()}
    with torch.no_grad():
        shipped.get_parameter("backbone.stem.0.0.weight").mul_(1.5)  # folded, and behind what is remembered of the reference
    changed = matrix()
    assert float((changed - before).abs().max()) > 1e-3
    shipped.load_state_dict(state)
    assert torch.equal(matrix(), before)


def test_a_reference_is_encoded_once(inputs: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    composite, mask = (x[:1] for x in inputs)
    references = [torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(k)) for k in range(2)]
    encode, seen = RaihaS._encoded, []
    monkeypatch.setattr(RaihaS, "_encoded", lambda self, r: seen.append(len(r)) or encode(self, r))  # type: ignore[func-returns-value]
    shipped = load_model("raiha-s")
    for _ in range(3):
        shipped.predict(composite, mask, references)
        shipped.predict_batch(composite, mask, [references[1].clone()])
    assert seen == [1, 1]


def test_a_map_sampled_on_a_grid_is_the_map_at_those_pixels() -> None:
    from raiha_core.models.base import sample_map

    matrix = torch.rand(2, 12, 8, 8, generator=torch.Generator().manual_seed(0))
    full = torch.nn.functional.interpolate(matrix, size=(64, 64), mode="bilinear", align_corners=False)
    torch.testing.assert_close(sample_map(matrix, 64, 4, 1, 3), full[..., 1::4, 3::4], atol=1e-5, rtol=1e-4)


def test_one_surface_cut_by_the_mask_shows_one_step() -> None:
    from raiha_core.models.raiha_s.edges import STEP_BINS, STEPS, step_histogram

    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 16:48, 16:48] = 1
    surface = torch.rand(1, 3, 1, 1).expand(1, 3, 64, 64) * 0.5
    for change, bins in ((0.0, (7, 8)), (0.25, (3, 4))):  # brightness steps 0 and -0.25, on a square-root scale from -0.81 to 0.81
        shares = step_histogram(surface + change * mask, mask).square()[0]
        assert shares.shape == (STEPS,) and float(shares[list(bins)].sum()) > 0.95
        assert float(shares[STEP_BINS + 7 : STEP_BINS + 9].sum()) > 0.95  # no step of chroma


def test_a_picture_does_not_depend_on_its_batch(model: RaihaS, inputs: tuple[torch.Tensor, torch.Tensor]) -> None:
    composite, mask = inputs
    torch.testing.assert_close(model(composite, mask).matrix[:1], model(composite[:1], mask[:1]).matrix, atol=1e-5, rtol=1e-4)


def test_every_parameter_learns(inputs: tuple[torch.Tensor, torch.Tensor]) -> None:
    torch.manual_seed(0)
    model = RaihaS(64).train()
    model.edgeless = 0.0  # else what the edge says may be dropped for both
    for last in (
        model.overall,
        model.local[-1],
        model.trusts,
        model.across,
        model.pixels[-1],
        model.wide.up,
        model.steps[-1],
        model.doubt[-1],
        model.deeper[-1],
        model.outline.offset[-1],
    ):
        torch.nn.init.normal_(last.weight, 0, 0.05)  # type: ignore[arg-type]
    composite, mask = inputs
    out = model(composite, mask, torch.rand(2, 2, 3, 64, 64))
    ((model.render(out, composite, mask) - 0.3).square().mean() + out.touched.mean() + out.outline.contour[:, :, 3].mean()).backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or float(p.grad.abs().max()) == 0]
    assert not silent


def test_within_its_budget() -> None:
    assert sum(p.numel() for p in RaihaS().parameters()) <= 4_000_000


def test_the_shipped_weights_load_and_are_small() -> None:
    from raiha_core.models.registry import WEIGHTS

    model = load_model("raiha-s")
    assert isinstance(model, RaihaS)
    assert (WEIGHTS / "raiha-s.safetensors").stat().st_size <= 12_000_000


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 9), columns=st.integers(1, 9), height=st.integers(1, 30), width=st.integers(1, 30))
def test_affine_map_interpolates_like_grid_sample(rows: int, columns: int, height: int, width: int) -> None:
    g = torch.Generator().manual_seed(rows * 100 + columns)
    matrix = torch.rand(12, rows, columns, generator=g)
    rgb = torch.rand(1, 3, height, width, generator=g)
    x, y = (torch.arange(width) + 0.5) / width, (torch.arange(height) + 0.5) / height
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[None] * 2 - 1
    sampled = torch.nn.functional.grid_sample(matrix[None], grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(AffineMap(matrix)(rgb, x, y), apply_affine(rgb, sampled), atol=1e-5, rtol=1e-4)


def test_the_identity_leaves_colours_alone() -> None:
    rgb = torch.rand(1, 3, 5, 7)
    x, y = torch.linspace(-1, 2, 7), torch.linspace(-1, 2, 5)
    torch.testing.assert_close(AffineMap(IDENTITY[:, None, None].expand(12, 3, 4))(rgb, x, y), rgb)


def test_a_checkpoint_round_trip(model: RaihaS, tmp_path: Path, inputs: tuple[torch.Tensor, torch.Tensor]) -> None:
    from raiha_core.models import save_model

    save_model(model, tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors")
    assert again.input_size == 64
    torch.testing.assert_close(again(*inputs).matrix, model(*inputs).matrix)  # type: ignore[operator]
