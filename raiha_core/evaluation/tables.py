"""Reports as tables for people and as one object for programs."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import RaihaError
from ..image import atomically
from .report import AREA_BINS, Report, bin_name

TITLES = {"psnr": "PSNR", "mse": "MSE", "fmse": "fMSE", "fpsnr": "fPSNR", "ssim": "SSIM", "ciede": "dE00"}
_DIGITS = {"mse": 1, "fmse": 1, "ssim": 4}
_FAILED = "-"


def _grid(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    try:
        from tabulate import tabulate
    except ImportError:
        raise RaihaError("Tables need tabulate; install it with: pip install 'raiha[bench]'.") from None
    return str(tabulate(rows, headers, tablefmt="pipe", disable_numparse=True, colalign=("left",) + ("right",) * (len(headers) - 1)))


def _number(value: float, metric: str) -> str:
    return f"{value:.{_DIGITS.get(metric, 2)}f}"


def group_table(reports: Sequence[Report], group: str | None = None) -> str:
    """Means of one group, or of all pictures: a row per method, Markdown."""
    shown = [m for m in TITLES if any(m in r.metrics for report in reports for r in report.rows)]
    # On untouched photos whatever changes a pixel makes it worse.
    untouched = all(report.untouched for report in reports)
    headers = ["method", *(TITLES[m] for m in shown), "median fMSE", *([] if untouched else ["made worse", "change made"]), "failed", "s"]
    rows = []
    for report in reports:
        s = report.summary(group)
        if s is None:
            count = sum(group in (None, row.group) for row in report.rows)
            rows.append([report.method, *[_FAILED] * (len(headers) - 3), str(count), _FAILED])
            continue
        means = [_number(s["mean"][m], m) for m in shown]
        worse = [] if untouched else [f"{s['worse']:.0%}", _FAILED if s["made"] is None else f"{s['made']:.2f}"]
        rows.append([report.method, *means, _number(s["median"]["fmse"], "fmse"), *worse, str(s["failed"]), f"{s['seconds']:.3f}"])
    return _grid(rows, headers)


def area_table(reports: Sequence[Report]) -> str:
    """Mean MSE and fMSE by the share of the picture that the foreground covers, Markdown."""
    bins = [bin_name(b) for b in AREA_BINS]
    counts = {name: (s or {"pictures": 0})["pictures"] for name, s in reports[0].by_area().items()}
    headers = ["method", *(f"{TITLES[m]} {b} ({counts[b]})" for b in bins for m in ("mse", "fmse"))]
    rows = []
    for report in reports:
        by_area = report.by_area()
        cells = []
        for b in bins:
            mean = (by_area[b] or {}).get("mean", {})
            cells += [_number(mean[m], m) if m in mean else _FAILED for m in ("mse", "fmse")]
        rows.append([report.method, *cells])
    return _grid(rows, headers)


def overview_table(reports: Sequence[Report]) -> str:
    """Mean fMSE of every method in every group, Markdown."""
    groups = reports[0].groups
    rows = []
    for report in reports:
        summaries = [report.summary(g) for g in (*groups, None)]
        rows.append([report.method, *(_number(s["mean"]["fmse"], "fmse") if s else _FAILED for s in summaries)])
    return _grid(rows, ["mean fMSE", *groups, "all"])


def _worst_lines(report: Report) -> list[str]:
    rows = [
        [row.name, row.group, f"{row.area:.1%}", _number(row.before, "fmse"), _number(row.metrics["fmse"], "fmse")]
        for row in report.worst()
    ]
    return [f"Worst ten of {report.method}", "", _grid(rows, ["picture", "group", "area", "fMSE before", "fMSE after"]), ""]


def _failure_lines(reports: Sequence[Report]) -> list[str]:
    lines = []
    for report in reports:
        for row in report.failures[:5]:
            lines.append(f"{report.method} failed on {row.name}: {row.error}")
        if len(report.failures) > 5:
            lines.append(f"{report.method} failed on {len(report.failures) - 5} more")
    return [*lines, ""] if lines else []


def render(reports: Sequence[Report], title: str, notes: Sequence[str] = ()) -> str:
    """The whole result as Markdown: a table per group, all, by area, worst ten of the models, untouched photos, failures.

    Args:
        reports: as `evaluate` gives them.
        title: the first line.
        notes: sentences below it.
    """
    harmonised = [r for r in reports if not r.untouched]
    untouched = [r for r in reports if r.untouched]
    lines = [title, *notes, ""]
    if harmonised:
        groups = harmonised[0].groups
        for group in groups if len(groups) > 1 else ():
            count = sum(row.group == group for row in harmonised[0].rows)
            lines += [f"{group}: {_pictures(count)}", "", group_table(harmonised, group), ""]
        lines += [f"All: {_pictures(len(harmonised[0].rows))}", "", group_table(harmonised), ""]
        if len(groups) > 1:
            lines += [overview_table(harmonised), ""]
        lines += ["By the foreground's share of the picture (pictures in brackets)", "", area_table(harmonised), ""]
        for report in harmonised:
            if report.model and report.values("fmse"):
                lines += _worst_lines(report)
    if untouched:
        lines += ["Untouched photos (the composite is the real photo, so every error is harm done)", "", group_table(untouched), ""]
    return "\n".join([*lines, *_failure_lines(reports)]).rstrip()


def _pictures(count: int) -> str:
    return f"{count} picture" + ("s" if count != 1 else "")


def to_json(reports: Sequence[Report], **facts: Any) -> dict[str, Any]:
    """The whole result as plain values: `facts`, then `methods` and `untouched`, by name."""
    return {
        **facts,
        "methods": {r.method: r.to_dict() for r in reports if not r.untouched},
        "untouched": {r.method: r.to_dict() for r in reports if r.untouched},
    }


def write_csv(file: Path, reports: Sequence[Report]) -> None:
    """Write one line per picture and method; failed ones carry their error.

    Raises:
        RaihaError: the file cannot be written.
    """
    metrics = [m for m in TITLES if any(m in row.metrics for r in reports for row in r.rows)]

    def write(part: Path) -> None:
        with part.open("w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out)
            writer.writerow(["method", "untouched", "name", "group", "area", "fmse_before", *metrics, "made", "seconds", "error"])
            for r in reports:
                for row in r.rows:
                    values = [f"{row.metrics[m]:.6g}" if m in row.metrics else "" for m in metrics]
                    made = "" if row.made is None else f"{row.made:.4f}"
                    head = [r.method, int(r.untouched), row.name, row.group, f"{row.area:.6f}", f"{row.before:.6g}"]
                    writer.writerow([*head, *values, made, f"{row.seconds:.4f}", row.error or ""])

    atomically(file, write)
