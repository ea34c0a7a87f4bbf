"""Results of an evaluation: rows per picture, means per group and per foreground area."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any

from ..errors import RaihaError

AREA_BINS = ((0.0, 0.05), (0.05, 0.15), (0.15, 1.0))
"""Shares of the picture that the foreground covers, as the field reports them: lower bound excluded, upper included."""


def bin_name(bounds: tuple[float, float]) -> str:
    """For example `5-15 %`."""
    return f"{bounds[0] * 100:g}-{bounds[1] * 100:g} %"


@dataclass(frozen=True)
class Row:
    """One picture.

    Attributes:
        name: of the item.
        group: its kind or subset.
        area: share of the picture that the foreground covers, in [0, 1].
        metrics: metric -> value; empty if the method failed.
        before: fMSE of what the method was given.
        seconds: the method's time for this picture.
        error: why the method failed, or None.
        made: share of the needed change that was made (`share_made`), or None.
    """

    name: str
    group: str
    area: float
    metrics: dict[str, float]
    before: float
    seconds: float
    error: str | None = None
    made: float | None = None

    @property
    def worse(self) -> bool:
        """Whether the foreground is farther from the truth than before."""
        return not self.error and self.metrics.get("fmse", 0.0) > self.before


@dataclass
class Report:
    """What one method did on one data set.

    Attributes:
        method: its name.
        rows: one per picture, failed ones included; means leave those out and `summary` counts them.
        untouched: whether the method was given the real photos instead of the composites.
        model: whether the method is a model.
    """

    method: str
    rows: list[Row] = field(default_factory=list)
    untouched: bool = False
    model: bool = False

    @property
    def failures(self) -> list[Row]:
        """The pictures on which the method failed."""
        return [row for row in self.rows if row.error is not None]

    def values(self, metric: str, group: str | None = None) -> list[float]:
        """A metric's values over the pictures that worked, of one group or of all."""
        return [r.metrics[metric] for r in self.rows if r.error is None and group in (None, r.group)]

    def mean(self, metric: str = "fmse", group: str | None = None) -> float:
        """Mean over pictures.

        Raises:
            RaihaError: the method worked on none.
        """
        return fmean(self._some(metric, group))

    def median(self, metric: str = "fmse", group: str | None = None) -> float:
        """Median over pictures; errors as `mean`."""
        return median(self._some(metric, group))

    def _some(self, metric: str, group: str | None) -> list[float]:
        values = self.values(metric, group)
        if not values:
            where = f" of {group}" if group else ""
            reason = f" ({self.failures[0].error})" if self.failures else ""
            raise RaihaError(f"{self.method} worked on no picture{where}{reason}, so it has no mean.")
        return values

    @property
    def groups(self) -> list[str]:
        """The groups that occur, in order of first appearance."""
        return list(dict.fromkeys(row.group for row in self.rows if row.group))

    def summary(self, group: str | None = None) -> dict[str, Any] | None:
        """Counts, means, medians, shares made worse and of the needed change, seconds per picture; None where the method worked on none."""
        return _summary([r for r in self.rows if group in (None, r.group)])

    def by_area(self) -> dict[str, dict[str, Any] | None]:
        """Summaries by foreground area (`AREA_BINS`)."""
        return {bin_name((low, high)): _summary([r for r in self.rows if low < r.area <= high]) for low, high in AREA_BINS}

    def worst(self, count: int = 10, metric: str = "fmse") -> list[Row]:
        """The pictures with the largest error, largest first."""
        return sorted((r for r in self.rows if r.error is None), key=lambda r: -r.metrics[metric])[:count]

    def to_dict(self, worst: int = 10) -> dict[str, Any]:
        """Everything as plain values for JSON."""
        return {
            "untouched": self.untouched,
            "all": self.summary(),
            "groups": {group: self.summary(group) for group in self.groups},
            "by_area": self.by_area(),
            "worst": [{"name": r.name, "fmse": r.metrics["fmse"], "before": r.before, "area": r.area} for r in self.worst(worst)],
            "failures": [{"name": r.name, "error": r.error} for r in self.failures],
        }


def _summary(rows: Sequence[Row]) -> dict[str, Any] | None:
    good = [r for r in rows if r.error is None]
    if not good:
        return None

    def each(take: Callable[[list[float]], float]) -> dict[str, float]:
        return {metric: take([r.metrics[metric] for r in good]) for metric in good[0].metrics}

    made = [r.made for r in good if r.made is not None]
    return {
        "pictures": len(rows),
        "failed": len(rows) - len(good),
        "mean": each(fmean),
        "median": each(median),
        "worse": sum(r.worse for r in good) / len(good),
        "made": fmean(made) if made else None,
        "seconds": fmean(r.seconds for r in good),
    }
