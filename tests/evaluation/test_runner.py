"""The loop, reports, references, sheets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from raiha_core import RaihaError
from raiha_core.evaluation import (
    ALL,
    IHarmony4,
    Method,
    Report,
    Row,
    TripletFolder,
    evaluate,
    evaluate_model,
    load_item,
    own_references,
    positive_crop,
    synthetic_references,
)
from raiha_core.evaluation.comparison import comparison_sheet
from raiha_core.evaluation.tables import render, to_json, write_csv
from raiha_core.models import AffineMap, HarmonizationModel, Prediction

Array = NDArray[Any]


def same(composite: Array, mask: Array, references: Sequence[Any]) -> Array:
    return composite


def fails_on_large(composite: Array, mask: Array, references: Sequence[Any]) -> Array:
    if mask.mean() > 0.1:
        raise ZeroDivisionError("too large\nfor me")
    return composite.astype(np.float64) * 0.5


class Brighter(HarmonizationModel):
    """Doubles every colour, which needs no training."""

    architecture, input_size, crops = "brighter", 16, False

    def predict(
        self, composite: Any, mask: Any, references: Any = None, *, attention: bool = False, caution: float | None = None
    ) -> Prediction:
        matrix = torch.zeros(12, 1, 1)
        matrix[[0, 5, 10]] = 2.0
        return Prediction(AffineMap(matrix))


def test_composite_at_full_resolution_by_hand(triplets: Path) -> None:
    data = TripletFolder(triplets)
    report = evaluate_model(same, data, "full", metrics=ALL)
    for row, item in zip(report.rows, data, strict=True):
        composite, mask, real = (np.asarray(Image.open(p), np.float64) for p in (item.composite, item.mask, item.real))
        squared = (composite - real) ** 2
        assert row.metrics["mse"] == pytest.approx(squared.mean())
        assert row.metrics["fmse"] == row.before == pytest.approx(squared.sum() / (3 * (mask > 0).sum()))
        assert row.area == pytest.approx((mask > 0).mean()) and not row.worse
    assert report.mean() == pytest.approx(np.mean([r.before for r in report.rows]))
    assert report.median("mse", "lut") == pytest.approx(np.median([r.metrics["mse"] for r in report.rows[1::2]]))


def test_the_protocol_resizes_everything(triplets: Path) -> None:
    item = TripletFolder(triplets)[2]
    loaded = load_item(item, 256)
    assert loaded.composite.shape == loaded.real.shape == (256, 256, 3) and loaded.mask.shape == (256, 256)
    # The share of the foreground survives, and soft edges lie between.
    assert loaded.inside.mean() == pytest.approx(float((np.asarray(Image.open(item.mask)) > 0).mean()), rel=0.05)
    assert 0 < ((loaded.mask > 0) & (loaded.mask < 1)).mean() < 0.2 and loaded.mask.max() == 1


def test_a_models_weights_and_mode_are_left_alone(triplets: Path) -> None:
    model = Brighter().train()
    data = TripletFolder(triplets)
    report = evaluate_model(model, data, "full", limit=2)
    assert model.training and len(report.rows) == 2 and report.method == "brighter"
    loaded = load_item(data[0], "full")
    expected = np.clip(loaded.composite[loaded.inside].astype(float) * 2, 0, 255) - loaded.real[loaded.inside]
    assert report.rows[0].metrics["fmse"] == pytest.approx((expected**2).mean())


def test_untouched_starts_from_the_real_photo(triplets: Path) -> None:
    data = TripletFolder(triplets)
    assert evaluate_model(same, data, untouched=True).mean() == 0
    harm = evaluate_model(Brighter(), data, untouched=True)
    assert harm.mean() > 100 and harm.summary()["worse"] == 1  # type: ignore[index]


def test_failures_are_rows_and_counts(triplets: Path) -> None:
    data = TripletFolder(triplets)
    (triplets / "mask" / "pic_1.png").write_bytes(b"no picture")
    good, bad = evaluate([Method("same", same), Method("bad", fails_on_large)], data, "full")
    assert [r.name for r in good.failures] == ["pic_1"]
    large = {r.name for r in good.rows if r.area > 0.1}
    assert large and {r.name for r in bad.failures} == {"pic_1", *large}
    assert next(r for r in bad.rows if r.name in large).error == "ZeroDivisionError: too large"
    summary = bad.summary()
    assert summary is not None and summary["failed"] == 1 + len(large) and summary["pictures"] == 6
    text = render([good, bad], "T")
    assert "ZeroDivisionError: too large" in text and "no picture" not in text
    with pytest.raises(RaihaError, match="failed on"):
        evaluate_model(fails_on_large, data)


def test_wrong_results_are_refused(triplets: Path) -> None:
    data = TripletFolder(triplets)
    for run, says in ((lambda c, m, r: c[:5], "shape"), (lambda c, m, r: c * np.nan, "NaN")):
        assert says in str(evaluate([Method("x", run)], data, limit=1)[0].failures[0].error)


def test_sizes_must_agree_at_full_resolution(triplets: Path) -> None:
    Image.new("RGB", (20, 20)).save(triplets / "real" / "pic_0.png")
    data = TripletFolder(triplets)
    with pytest.raises(RaihaError, match="20 x 20 pixels, its composite 48 x 40"):
        load_item(data[0], "full")
    assert load_item(data[0], 64).real.shape == (64, 64, 3)


def test_empty_masks_are_refused(triplets: Path) -> None:
    Image.new("L", (48, 40)).save(triplets / "mask" / "pic_0.png")
    with pytest.raises(RaihaError, match="no foreground"):
        load_item(TripletFolder(triplets)[0])


def test_names_must_differ(triplets: Path) -> None:
    with pytest.raises(RaihaError, match="same name"):
        evaluate([Method("a", same), Method("a", same)], TripletFolder(triplets))
    with pytest.raises(RaihaError, match="fmse"):
        evaluate([Method("a", same)], TripletFolder(triplets), metrics=("mse",))


def test_report_by_area_worst_and_share_made_worse() -> None:
    rows = [
        Row(f"p{i}", "", area, {"mse": 1.0, "fmse": fmse}, 10.0, 0.1)
        for i, (area, fmse) in enumerate([(0.01, 5.0), (0.05, 20.0), (0.051, 30.0), (0.15, 10.0), (0.6, 2.0)])
    ]
    report = Report("m", [*rows, Row("broken", "", 0.3, {}, 10.0, 0.0, "reason")])
    areas = report.by_area()
    assert list(areas) == ["0-5 %", "5-15 %", "15-100 %"]
    assert [s and s["mean"]["fmse"] for s in areas.values()] == [12.5, 20.0, 2.0]
    assert [r.name for r in report.worst(2)] == ["p2", "p1"]
    assert report.to_dict()["all"]["worse"] == pytest.approx(2 / 5)
    assert report.to_dict()["failures"] == [{"name": "broken", "error": "reason"}]
    with pytest.raises(RaihaError, match="no picture of nowhere"):
        report.mean(group="nowhere")


def test_positive_crops_hold_more_than_half_of_the_mask() -> None:
    real = np.zeros((100, 200, 3), np.uint8)
    inside = np.zeros((100, 200), bool)
    inside[10:40, 150:190] = True
    real[inside] = 255
    flipped, whole = 0, 0
    for seed in range(40):
        crop = positive_crop(real, inside, np.random.default_rng(seed))
        white = crop[..., 0] > 0
        whole += crop.shape == real.shape
        assert crop.shape in (real.shape, (77, 153, 3))
        assert 2 * white.sum() > inside.sum()
        flipped += bool(np.argwhere(white)[:, 1].mean() < crop.shape[1] / 2)
    assert 8 < flipped < 32 and whole < 10


def test_synthetic_references_are_fixed_and_show_something_else(triplets: Path) -> None:
    data = TripletFolder(triplets)
    real = {item.name: load_item(item, "full").real for item in data}
    crops, others = synthetic_references("positive-crop", data), synthetic_references("misleading", data)
    labels = {item.real: item.label for item in data}
    for item in data:
        inside = load_item(item, "full").inside
        first, again = crops(item, real[item.name], inside)[0], crops(item, real[item.name], inside)[0]
        assert (first == again).all()
        (photo,) = others(item, real[item.name], inside)
        assert photo != item.real and labels[photo] != item.label
        assert [photo] == others(item, real[item.name], inside)
    with pytest.raises(RaihaError, match="no 'kind' references"):
        synthetic_references("kind", data)


def test_misleading_references_never_come_from_the_same_photo(iharmony4: Path) -> None:
    data = IHarmony4(iharmony4)
    others = synthetic_references("misleading", data, seed=5)
    for item in data:
        loaded = load_item(item)
        assert others(item, loaded.real, loaded.inside)[0] != item.real
    single = IHarmony4(iharmony4 / "HCOCO")
    with pytest.raises(RaihaError, match="only one photo"):
        synthetic_references("misleading", single)


def test_references_reach_the_method(triplets: Path) -> None:
    seen: list[int] = []

    def run(composite: Array, mask: Array, references: Sequence[Any]) -> Array:
        seen.append(len(references))
        return composite

    evaluate_model(run, TripletFolder(triplets), references=own_references(1))
    assert seen == [1, 0, 0, 0, 0, 0]


def test_tables_json_and_csv(triplets: Path, tmp_path: Path) -> None:
    data = TripletFolder(triplets)
    methods = [Method("composite", same), Method("m", fails_on_large, model=True), Method("composite", same, untouched=True)]
    reports = evaluate(methods, data, 64)
    text = render(reports, "Title", ["a note"])
    for part in ("Title\na note", "edit: 3 pictures", "lut: 3 pictures", "All: 6 pictures", "Worst ten of m", "Untouched photos"):
        assert part in text
    assert "made worse" in text and "made worse" not in text.split("Untouched photos")[1]
    result = to_json(reports, dataset="d")
    assert result["dataset"] == "d" and set(result["methods"]) == {"composite", "m"} and set(result["untouched"]) == {"composite"}
    write_csv(tmp_path / "x.csv", reports)
    lines = (tmp_path / "x.csv").read_text().splitlines()
    assert len(lines) == 1 + 18 and lines[0].startswith("method,untouched,name,group,area,fmse_before,psnr")


def test_contact_sheet(triplets: Path) -> None:
    data = TripletFolder(triplets)
    methods = [Method("m", fails_on_large, own_references(), model=True), Method("same", same)]
    reports = evaluate(methods, data, 64)
    sheet = comparison_sheet(data.items, methods, reports, 64, title="t", tile=64, columns=2)
    assert sheet.size == (2 * (5 * 70 + 6), 60 + 3 * 92)
    pixels = np.asarray(sheet)
    assert (pixels == (255, 0, 200)).all(-1).sum() > 50  # outlines
    loaded = load_item(data[0], 64)
    assert (pixels[60:124, 6:70] == loaded.composite).all() and (pixels[60:124, 286:350] == loaded.real).all()
    with pytest.raises(RaihaError, match="no pictures"):
        comparison_sheet([], methods, reports)
