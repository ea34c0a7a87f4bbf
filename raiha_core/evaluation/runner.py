"""The loop: read an item, let every method work on it, measure, forget it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import RaihaError
from ..image import read_image, read_mask, to_8_bit
from .datasets import Dataset, Item
from .methods import Harmonise, MaskArray, Method, ReferenceSource, model_method
from .metrics import ALL, FAST, Image8, foreground_mse, foreground_of, measure, share_made
from .report import Report, Row

if TYPE_CHECKING:
    from ..harmonizer import Harmonizer
    from ..models import HarmonizationModel

Resolution = int | Literal["full"]
"""The side of the square to which pictures are resized (the field's protocol: 256), or `full` for their own size."""


@dataclass(frozen=True)
class Loaded:
    """An item's pictures at the resolution of the evaluation.

    Attributes:
        composite: `(H, W, 3)` uint8.
        mask: `(H, W)` float32 in [0, 1], as methods get it.
        real: `(H, W, 3)` uint8.
        inside: `(H, W)`, True where the mask is above 0.5: where errors count as the foreground's.
    """

    composite: Image8
    mask: MaskArray
    real: Image8
    inside: NDArray[np.bool_]


def load_item(item: Item, resolution: Resolution = 256) -> Loaded:
    """Read an item and bring it to the resolution: bilinear with antialiasing (Pillow), the aspect ratio given up, as iHarmony4 does.

    Raises:
        RaihaError: a file cannot be read, sizes differ at full resolution, or the mask is empty.
    """
    composite, real = (to_8_bit(read_image(path).rgb) for path in (item.composite, item.real))
    mask = read_mask(item.mask)
    if resolution == "full":
        for what, size in (("mask", mask.shape), ("real photo", real.shape[:2])):
            if size != composite.shape[:2]:
                height, width = composite.shape[:2]
                raise RaihaError(
                    f"The {what} of {item.name} has {size[1]} x {size[0]} pixels, its composite {width} x {height}; "
                    "repair the data set, or evaluate at 256."
                )
    else:
        size = (resolution, resolution)
        composite, real = (np.asarray(Image.fromarray(p).resize(size, Image.Resampling.BILINEAR)) for p in (composite, real))
        # Overshoot does not happen with a triangle filter, but rounding may leave 1 + 1e-7.
        mask = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.BILINEAR)).clip(0, 1)
    if not mask.max() > 0:
        raise RaihaError(f"The mask {item.mask} has no foreground; repair the data set.")
    return Loaded(composite, mask, real, foreground_of(mask))


def run_method(method: Method, item: Item, loaded: Loaded) -> tuple[Image8, list[Any], float]:
    """The method's result for an item, its references, and the seconds that it took.

    Raises:
        RaihaError: the result is no picture of the composite's size, or what the method raises.
    """
    references = list(method.references(item, loaded.real, loaded.inside)) if method.references else []
    given = loaded.real if method.untouched else loaded.composite
    started = time.perf_counter()
    result = method.run(given.copy(), loaded.mask.copy(), references)
    seconds = time.perf_counter() - started
    if result.shape != given.shape:
        raise RaihaError(f"{method.name} gave a result of shape {result.shape} for a picture of shape {given.shape}.")
    if result.dtype != np.uint8:
        if not np.isfinite(result).all():
            raise RaihaError(f"{method.name} gave NaN or infinite values.")
        result = np.clip(np.rint(result), 0, 255).astype(np.uint8)
    return result, references, seconds


def _row(method: Method, item: Item, loaded: Loaded, metrics: tuple[str, ...]) -> Row:
    area = float(loaded.inside.mean())
    before = 0.0 if method.untouched else foreground_mse(loaded.composite, loaded.real, loaded.inside)
    try:
        result, _, seconds = run_method(method, item, loaded)
        made = None if method.untouched else share_made(result, loaded.composite, loaded.real, loaded.inside)
        return Row(item.name, item.group, area, measure(result, loaded.real, loaded.inside, metrics), before, seconds, made=made)
    except Exception as error:  # a baseline may raise anything on a degenerate picture; the report counts and names it
        reason = str(error).splitlines()[0] if str(error) else "no message"
        text = reason if isinstance(error, RaihaError) else f"{type(error).__name__}: {reason}"
        return Row(item.name, item.group, area, {}, before, 0.0, text)


def evaluate(
    methods: Sequence[Method],
    dataset: Dataset,
    resolution: Resolution = 256,
    *,
    metrics: tuple[str, ...] = ALL,
    limit: int | None = None,
    progress: Callable[[Sequence[Item]], Any] | None = None,
) -> list[Report]:
    """Evaluate methods side by side; every picture is read once and forgotten.

    Args:
        methods: what to evaluate; names must differ.
        dataset: the items.
        resolution: see `Resolution`.
        metrics: see `measure`; must contain `fmse`.
        limit: evaluate at most this many items, spread evenly over the data set.
        progress: wraps the items, for example `tqdm`.

    Returns:
        one report per method, in their order. A method's failure, and an item that cannot be read, are rows with an error.

    Raises:
        RaihaError: two methods share a name, or `fmse` is not among the metrics.
    """
    if len({(m.name, m.untouched) for m in methods}) < len(methods):
        raise RaihaError("Two of the methods have the same name; name each model once.")
    if "fmse" not in metrics:
        raise RaihaError("The metrics must contain fmse, by which worst cases are found.")
    reports = [Report(m.name, untouched=m.untouched, model=m.model) for m in methods]
    items = dataset.limited(limit)
    for item in items if progress is None else progress(items):
        try:
            loaded = load_item(item, resolution)
        except RaihaError as error:
            for report in reports:
                report.rows.append(Row(item.name, item.group, 0.0, {}, 0.0, 0.0, str(error)))
            continue
        for method, report in zip(methods, reports, strict=True):
            report.rows.append(_row(method, item, loaded, metrics))
    return reports


def evaluate_model(
    model: str | Path | HarmonizationModel | Harmonizer | Harmonise,
    dataset: Dataset,
    resolution: Resolution = 256,
    *,
    metrics: tuple[str, ...] = FAST,
    references: ReferenceSource | None = None,
    untouched: bool = False,
    limit: int | None = None,
    device: str | None = None,
) -> Report:
    """Evaluate one model, for example during training: by default only the metrics that cost next to nothing.

    Args:
        model: name, file, loaded model, `Harmonizer`, or any callable `(composite, mask, references) -> picture`.
        dataset: the items.
        resolution: see `Resolution`.
        metrics: see `measure`; `metrics.ALL` adds SSIM and CIEDE2000.
        references: where references come from, see `methods`; None gives none.
        untouched: give the model the real photos: the error is the harm that it does to harmonious pictures.
        limit: at most this many items, spread evenly.
        device: for a model given by name or file.

    Returns:
        the report; a model that was in training mode is in training mode again.

    Raises:
        RaihaError: as `load_model` and `evaluate`, or the model failed on a picture.
    """
    from ..harmonizer import Harmonizer
    from ..models import HarmonizationModel

    training = isinstance(model, HarmonizationModel) and model.training
    loads = isinstance(model, str | Path | HarmonizationModel | Harmonizer)
    run: Harmonise = model_method(model, device) if loads else model  # type: ignore[arg-type, assignment]
    name = str(model) if isinstance(model, str | Path) else getattr(model, "architecture", "model")
    try:
        report = evaluate([Method(name, run, references, untouched, model=True)], dataset, resolution, metrics=metrics, limit=limit)[0]
    finally:
        if training and isinstance(model, HarmonizationModel):
            model.train()
    if report.failures:
        first = report.failures[0]
        raise RaihaError(f"The model failed on {len(report.failures)} of {len(report.rows)} pictures, first on {first.name}: {first.error}")
    return report
