"""`raiha evaluate`: measure models and baselines on data with truth."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import RaihaError

if TYPE_CHECKING:
    from ..evaluation import Dataset, Item, Method, Report, Resolution

FILE = click.Path(path_type=Path)
OWN = "own"


@dataclass(frozen=True)
class Options:
    """What is asked for besides the data set."""

    models: tuple[str, ...]
    device: str | None
    references: tuple[str, ...]
    max_references: int | None
    baselines: bool
    untouched: bool
    seed: int
    masks: bool = False
    index: Path | None = None
    top_k: tuple[int, ...] = ()


def _resolution(context: click.Context, parameter: click.Parameter, value: str) -> Resolution:
    if value == "full":
        return "full"
    if not value.isdecimal() or not 16 <= int(value) <= 4096:
        raise click.BadParameter(f"{value!r} is neither 'full' nor a side from 16 to 4096 pixels.")
    return int(value)


@click.command()
@click.argument("dataset", type=FILE)
@click.option("--iharmony4", is_flag=True, help="DATASET has iHarmony4's layout (found out by itself where it is plain).")
@click.option(
    "--references",
    "-r",
    multiple=True,
    is_flag=False,
    flag_value=OWN,
    metavar="[FILE.jsonl|positive-crop|misleading]",
    help="Also run the models with references: the data set's own, a list of the paper's kind, or made ones. Write it after DATASET.",
)
@click.option("--max-references", type=click.IntRange(1), default=None, help="At most so many per picture (the paper's evaluation: 1).")
@click.option("--baselines", is_flag=True, help="Also Reinhard, color-matcher's methods, histogram matching, Poisson blending.")
@click.option("--untouched", is_flag=True, help="Also harmonise the real photos: how far a method moves what is right already.")
@click.option("--masks", is_flag=True, help="Also run the models with masks as people make them: feathered, grown, shrunk.")
@click.option("--pasted", is_flag=True, help="Instead of DATASET's composites, objects pasted elsewhere, made from its photos and masks.")
@click.option("--keep", type=FILE, default=None, help="With --pasted: write the pictures to this folder, a triplet folder.")
@click.option("--index", type=FILE, default=None, help="Also run the models with references retrieved from this index.")
@click.option(
    "--top-k", type=click.IntRange(1), multiple=True, default=(1, 4), show_default=True, help="With --index: how many; may be repeated."
)
@click.option("--resolution", default="256", show_default=True, callback=_resolution, help="Side to resize to, or 'full'.")
@click.option("--model", multiple=True, default=("raiha-s",), show_default=True, help="Name or file; may be repeated; 'none' for no model.")
@click.option("--device", default=None, help="For example cpu or cuda; default cpu.")
@click.option("--limit", type=click.IntRange(1), default=None, help="Only so many pictures, spread evenly over the data set.")
@click.option("--pictures", type=FILE, default=None, help="Write contact sheets: the worst ten here, random ones to NAME-random.")
@click.option("--random-pictures", type=click.IntRange(1, 200), default=24, show_default=True, help="How many on the random sheet.")
@click.option("--per-image", type=FILE, default=None, help="Write every picture's values to this CSV file.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="For made references and the random sheet.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def command(
    dataset: Path,
    iharmony4: bool,
    references: tuple[str, ...],
    max_references: int | None,
    baselines: bool,
    untouched: bool,
    masks: bool,
    pasted: bool,
    keep: Path | None,
    index: Path | None,
    top_k: tuple[int, ...],
    resolution: Resolution,
    model: tuple[str, ...],
    device: str | None,
    limit: int | None,
    pictures: Path | None,
    random_pictures: int,
    per_image: Path | None,
    seed: int,
    as_json: bool,
) -> int:
    """Measure models and baselines on DATASET, a triplet folder or iHarmony4.

    MSE, PSNR, SSIM over the picture; fMSE, fPSNR, CIEDE2000 over the foreground; per kind or subset and by foreground area.
    """
    from ..evaluation import open_dataset
    from ..evaluation.metrics import require_skimage

    require_skimage()
    _check_outputs(pictures, per_image)
    models = () if model == ("none",) else model
    options = Options(models, device, references, max_references, baselines, untouched, seed, masks, index, top_k)
    data = open_dataset(dataset, iharmony4 or None)
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as opened:
        if pasted:
            from ..training.pasted import write_pasted

            side = 256 if resolution == "full" else -(-resolution // 32) * 32
            data, limit = write_pasted(data, keep or Path(temporary), side, limit=limit), None
        data = _with_listed_references(data, options)
        methods = [*build_methods(data, options), *_retrieving(options, opened)]
        return _run(data, methods, resolution, limit, pictures, random_pictures, per_image, seed, as_json)


def _run(
    data: Dataset,
    methods: list[Method],
    resolution: Resolution,
    limit: int | None,
    pictures: Path | None,
    random_pictures: int,
    per_image: Path | None,
    seed: int,
    as_json: bool,
) -> int:
    from ..evaluation import evaluate

    if pictures is not None and len(methods) < 2:
        raise RaihaError("There is nothing to draw; name a model or --baselines with --pictures.")
    reports = evaluate(methods, data, resolution, limit=limit, progress=_progress)
    if not any(row.error is None for report in reports for row in report.rows):
        raise RaihaError(f"Nothing could be measured; the first reason: {reports[0].failures[0].error}")
    if per_image is not None:
        from ..evaluation.tables import write_csv

        write_csv(per_image, reports)
    sheets = _write_sheets(pictures, data.limited(limit), methods, reports, resolution, random_pictures, seed) if pictures else []
    _print(data, reports, resolution, sheets, as_json)
    return 0


def _check_outputs(pictures: Path | None, per_image: Path | None) -> None:
    from ..image import check_output

    if pictures is not None:
        check_output(pictures)
    if per_image is not None and not per_image.parent.is_dir():
        raise RaihaError(f"The folder {per_image.parent} does not exist; create it or choose another file for --per-image.")


def _progress(items: Sequence[Item]) -> Any:
    from tqdm import tqdm

    return tqdm(items, desc="evaluate", unit="picture", disable=None)


def _with_listed_references(data: Dataset, options: Options) -> Dataset:
    from ..evaluation.methods import SYNTHETIC

    files = [Path(r) for r in options.references if r not in (OWN, *SYNTHETIC)]
    if not files:
        return data
    if len(files) > 1 or OWN in options.references:
        raise RaihaError("Give one reference list only, and not the data set's own references besides.")
    if files[0].is_dir():
        raise RaihaError(f"The reference list {files[0]} is a folder; write DATASET before --references, or give a JSON lines file.")
    return data.with_references(files[0], options.max_references)


def build_methods(data: Dataset, options: Options) -> list[Method]:
    """Everything that is to be evaluated: composite, baselines, models without and with references, then on untouched photos.

    Raises:
        RaihaError: a model or library is missing, or references are wanted where there are none.
    """
    from ..evaluation import Method, model_method, own_references, synthetic_references
    from ..evaluation.baselines import baselines, unchanged
    from ..evaluation.loose import LOOSE, with_loose_mask
    from ..evaluation.methods import SYNTHETIC

    plain = baselines() if options.baselines else []
    if options.references and not options.models:
        raise RaihaError("References serve models only; name a model, or leave --references out.")
    guided: list[Method] = []
    for name, short in _short_names(options.models).items():
        run = model_method(name, options.device)
        plain.append(Method(short, run, model=True))
        if options.masks:
            guided += [Method(f"{short}, mask {what}", with_loose_mask(run, change), model=True) for what, change in LOOSE.items()]
        for mode in dict.fromkeys(options.references):
            if mode in SYNTHETIC:
                guided.append(Method(f"{short} + {mode}", run, synthetic_references(mode, data, options.seed), model=True))
            elif any(item.references for item in data):
                guided.append(Method(f"{short} + references", run, own_references(options.max_references), model=True))
            else:
                raise RaihaError(
                    f"{data.root} has no references; give a list (FILE.jsonl), or positive-crop or misleading, made from its photos."
                )
    again = [Method(m.name, m.run, untouched=True, model=m.model) for m in plain] if options.untouched else []
    if options.untouched and not again:
        raise RaihaError("With --untouched name a model or --baselines.")
    return [Method("composite", unchanged), *plain, *guided, *again]


def _retrieving(options: Options, opened: contextlib.ExitStack) -> list[Method]:
    """The models with references from an index, which stays open as long as `opened`."""
    if options.index is None:
        return []
    from ..evaluation import Method, model_method
    from ..evaluation.methods import retrieved_references
    from ..references import ReferenceIndex

    index = opened.enter_context(ReferenceIndex.open(options.index))
    methods = []
    for name, short in _short_names(options.models).items():
        run = model_method(name, options.device)  # once, however many references are asked for
        methods += [
            Method(f"{short} + {k} retrieved", run, retrieved_references(index, k), model=True) for k in dict.fromkeys(options.top_k)
        ]
    return methods


def _short_names(models: Sequence[str]) -> dict[str, str]:
    """Model -> how the table calls it: a file's stem where that is unique."""
    stems = {m: Path(m).stem if Path(m).suffix else m for m in models}
    return {m: s if list(stems.values()).count(s) == 1 else m for m, s in stems.items()}


def _write_sheets(
    file: Path,
    items: Sequence[Item],
    methods: Sequence[Method],
    reports: Sequence[Report],
    resolution: Resolution,
    count: int,
    seed: int,
) -> list[str]:
    import random

    from ..evaluation.comparison import comparison_sheet
    from ..image import atomically

    chosen = [(m, r) for m, r in zip(methods, reports, strict=True) if m.model and not m.untouched and r.values("fmse")]
    # Without a model, the baselines are what there is to see.
    chosen = chosen or [(m, r) for m, r in zip(methods, reports, strict=True) if not m.untouched and r.values("fmse")][1:4]
    if not chosen:
        raise RaihaError(f"No method worked on any picture ({reports[-1].failures[0].error}), so there is nothing to draw.")
    shown, theirs = [m for m, _ in chosen], [r for _, r in chosen]
    by_name = {item.name: item for item in items}
    worst = [by_name[row.name] for row in theirs[0].worst(10)]
    readable = [by_name[row.name] for row in theirs[0].rows if row.error is None]
    some = random.Random(seed).sample(readable, min(count, len(readable)))
    written = []
    for path, subset, title in (
        (file, worst, f"The worst {len(worst)} of {theirs[0].method}"),
        (file.with_stem(f"{file.stem}-random"), some, f"{len(some)} random pictures"),
    ):
        wide = len(subset) > 12
        drawn = comparison_sheet(subset, shown, theirs, resolution, title=title, columns=1 + wide, tile=192 if wide else 256)
        atomically(path, lambda part, drawn=drawn: drawn.save(part))  # type: ignore[misc]
        written.append(str(path))
    return written


def _print(data: Dataset, reports: Sequence[Report], resolution: Resolution, sheets: Sequence[str], as_json: bool) -> None:
    from ..evaluation.tables import render, to_json

    if as_json:
        facts = {"dataset": str(data.root), "resolution": resolution, "pictures": len(reports[0].rows)}
        click.echo(json.dumps(to_json(reports, **facts, missing=list(data.missing), note=data.note, sheets=list(sheets))))
        return
    notes = [data.note] if data.note else []
    if data.missing:
        notes.append(f"{len(data.missing)} listed files are not there, for example {data.missing[0]}")
    where = "full resolution" if resolution == "full" else f"{resolution} x {resolution}"
    click.echo(render(reports, f"{data.root} at {where}", notes))
    for sheet in sheets:
        click.echo(f"wrote {sheet}")
