"""`raiha demo`: the bundled example, offline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from PIL import Image

    from ..harmonizer import Harmonizer
    from ..references import Reference, ReferenceIndex

DATA = Path(__file__).resolve().parent.parent / "demo_data"


@dataclass(frozen=True)
class Example:
    """One bundled composite.

    Attributes:
        made_of: the gallery's photos that it was made from, which must not help it.
        chosen: photos that are taken as references whatever their scores, as a user pins them.
        retrieved: how many more are retrieved.
    """

    made_of: tuple[str, ...]
    chosen: tuple[str, ...] = ()
    retrieved: int = 0


EXAMPLES = {
    "dusk": Example(("astronaut", "rocket"), chosen=("grace_hopper_dusk",)),
    "astronaut": Example(("astronaut",), retrieved=1),
    "cup": Example(("coffee",)),  # nothing in the gallery shows a cup
}


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo_out"), show_default=True, help="Folder for the pictures.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def command(out: Path, as_json: bool) -> None:
    """Harmonise the bundled composites with and without retrieved references and write pictures."""
    from ..errors import RaihaError
    from ..harmonizer import Harmonizer
    from ..references import ReferenceIndex

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RaihaError(f"The folder {out} cannot be made ({error.strerror}); choose another with --out.") from None
    harmonizer = Harmonizer()
    try:
        index = ReferenceIndex.build(DATA / "gallery", out / "gallery.index")
    except RaihaError:  # an earlier version's, with another encoder
        index = ReferenceIndex.build(DATA / "gallery", out / "gallery.index", rebuild=True)
    with index:
        rows = [_run(name, out, harmonizer, index) for name in EXAMPLES]
    if as_json:
        click.echo(json.dumps({"out": str(out), "examples": rows}))
        return
    for row in rows:
        references = ", ".join(row["references"]) or "none that fit"
        click.echo(f"{row['name']}: {row['seconds']:.1f} s; references: {references}; see {row['side_by_side']}")


def _run(name: str, out: Path, harmonizer: Harmonizer, index: ReferenceIndex) -> dict[str, Any]:
    import time

    import torch

    from ..attention import render_attention
    from ..image import atomically, fit_mask, read_image, read_mask, write_image
    from ..inputs import reference_picture

    composite, mask_file = DATA / f"{name}_composite.jpg", DATA / f"{name}_mask.png"
    picture = read_image(composite)
    mask = fit_mask(read_mask(mask_file), picture.size)
    started = time.monotonic()
    plain = harmonizer.harmonize(picture, mask)
    seconds = time.monotonic() - started
    example = EXAMPLES[name]
    made_of, chosen = ([DATA / "gallery" / f"{photo}.jpg" for photo in photos] for photos in (example.made_of, example.chosen))
    where = torch.from_numpy(mask)[None, None]
    found: list[Reference] = []
    if count := example.retrieved + len(chosen):
        found = list(
            index.retrieve(picture.rgb_tensor(), where, count, min_content=0.12, query_path=composite, pinned=chosen, excluded=made_of)
        )
    references = [reference_picture(r) for r in found]
    guided = harmonizer.harmonize(picture, mask, references, attention=True)
    for suffix, image in (("composite", picture), ("result", plain.image), ("result_with_references", guided.image)):
        write_image(out / f"{name}_{suffix}.png", image)
    drawn = render_attention(
        guided.attention[0], picture, mask, references, box=guided.transform[0].box, labels=[r.path.name for r in found]
    )
    atomically(out / f"{name}_attention.png", lambda part: drawn.save(part))
    panels = {"composite": picture.pil(), "harmonised": plain.image.pil()}
    if references:
        panels["with the reference below"] = guided.image.pil()
    sheet = side_by_side(panels, found)
    target = out / f"{name}_side_by_side.png"
    atomically(target, lambda part: sheet.save(part))
    return {
        "name": name,
        "seconds": seconds,
        "references": [f"{r.path.name} (content {r.content:.2f}, light {r.illumination:.2f})" for r in found],
        "side_by_side": str(target),
    }


def side_by_side(panels: dict[str, Image.Image], found: Sequence[Reference] = (), height: int = 420) -> Image.Image:
    """Pictures in a row with captions, and thumbnails of the references under them.

    Args:
        panels: caption -> picture; all are scaled to one height.
        found: the references to show in a strip, if any.
        height: of the panels, in pixels.
    """
    from PIL import Image, ImageDraw, ImageFont

    font, gap = ImageFont.load_default(18), 12
    scaled = {c: p.convert("RGB").resize((max(1, round(p.width * height / p.height)), height)) for c, p in panels.items()}
    strip = 110 if found else 0
    width = sum(p.width for p in scaled.values()) + gap * (len(scaled) + 1)
    sheet = Image.new("RGB", (width, height + 46 + (strip + gap if strip else 0)), "white")
    draw, x = ImageDraw.Draw(sheet), gap
    for caption, panel in scaled.items():
        draw.text((x, 8), caption, fill="black", font=font)
        sheet.paste(panel, (x, 36))
        x += panel.width + gap
    x = gap
    for reference in found:
        thumbnail = reference.thumbnail.copy()
        thumbnail.thumbnail((strip * 2, strip))
        sheet.paste(thumbnail, (x, height + 36 + gap))
        text = f"{reference.path.name}\ncontent {reference.content:.2f}\nlight {reference.illumination:.2f}"
        draw.text((x + thumbnail.width + 8, height + 36 + gap), text, fill="black", font=ImageFont.load_default(14))
        x += thumbnail.width + 190
    return sheet
