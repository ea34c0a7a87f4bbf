"""`raiha retrieve`: find references for a composite in an index."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..errors import RaihaError
from .pairing import check_results
from .quiet import without_decoders_noise

_SHEETS = (".png", ".jpg", ".jpeg", ".webp")
_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("composite", type=_FILE)
@click.argument("mask", type=_FILE)
@click.option("--index", "directory", required=True, type=_FILE, help="Folder of the reference index.")
@click.option("--top-k", default=1, show_default=True, help="How many references.")
@click.option("--weight", default=None, type=float, help="Share of the light in the score, 0 to 1.")
@click.option("--min-content", default=0.0, show_default=True, help="Lowest content score, 0 to 1.")
@click.option("--min-illumination", default=0.3, show_default=True, help="Lowest illumination score, 0 to 1.")
@click.option("--pin", multiple=True, help="Id or path of a photo to return first; may be repeated.")
@click.option("--exclude", multiple=True, help="Id or path of a photo never to return; may be repeated.")
@click.option("--resize-mask", is_flag=True, help="Scale a mask of another size.")
@click.option("--page", default=None, type=click.IntRange(1), help="Page or frame of files of several; default the first.")
@click.option("--gallery", type=_FILE, default=None, help="Where the photos lie now, if the gallery was moved.")
@click.option("--sheet", type=_FILE, default=None, help="Write a contact sheet with scores, a PNG or JPEG.")
@click.option("--device", default=None, help="Where the encoder runs, for example cpu or cuda.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def command(
    composite: Path,
    mask: Path,
    directory: Path,
    top_k: int,
    weight: float | None,
    min_content: float,
    min_illumination: float,
    pin: tuple[str, ...],
    exclude: tuple[str, ...],
    resize_mask: bool,
    page: int | None,
    gallery: Path | None,
    sheet: Path | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Find photos that show something like the foreground of COMPOSITE under light like its background's.

    MASK is white where the foreground is, of the same size as COMPOSITE.
    """
    import torch

    from ..image import atomically, check_output, fit_noted_mask, read_image
    from ..image.masks import read_noted_mask
    from ..image.view import full_view
    from ..references import ReferenceIndex, contact_sheet
    from ..references.index import DEFAULT_WEIGHT

    if sheet is not None:
        if sheet.suffix.lower() not in _SHEETS:
            raise RaihaError(f"cannot write a contact sheet as {sheet.suffix or 'a file without suffix'}: use {', '.join(_SHEETS)}")
        check_output(sheet)
        check_results([sheet], [composite, mask])
    with without_decoders_noise():
        image = read_image(composite, page)
        fitted, said = fit_noted_mask(read_noted_mask(mask, page), image, resize_mask)
    picture, area = full_view(image, fitted), torch.from_numpy(fitted)[None, None]
    with ReferenceIndex.open(directory, device=device, gallery=gallery) as index:
        found = index.retrieve(
            picture,
            area,
            top_k,
            weight=DEFAULT_WEIGHT if weight is None else weight,
            min_content=min_content,
            min_illumination=min_illumination,
            pinned=pin,
            excluded=exclude,
            query_path=composite,
        )
        if sheet is not None:
            drawn = contact_sheet(picture, area, found)
            atomically(sheet, lambda file: drawn.save(file))
    notices = [*image.notices, *said, *found.notices]
    if as_json:
        keys = ("id", "content", "illumination", "score", "region", "size", "pinned")
        rows = [{"path": str(r.path), **{key: getattr(r, key) for key in keys}} for r in found]
        click.echo(json.dumps({"references": rows, "notices": notices}))
        return
    for notice in notices:
        click.echo(f"raiha: {notice}", err=True)
    if not found:
        click.echo("no photo fits: lower the minimum scores, or add photos to the index", err=True)
    for r in found:
        click.echo(
            f"{r.score:.3f}  content {r.content:.3f}  illumination {r.illumination:.3f}  {r.id}  {r.path}{'  (pinned)' if r.pinned else ''}"
        )
