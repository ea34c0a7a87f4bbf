"""Where the default model fails, on pictures that may be shown: a triplet folder of known changes, measured and drawn.

python benchmarks/failures.py [--model raiha-s] [--triplets FOLDER] [--sheet docs/images/failures.jpg]

The photos are public domain or CC0 and come with scikit-image. None was trained on. Every change is known, so the truth is at hand.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage import color, data

from raiha_core.evaluation import Method, TripletFolder, evaluate
from raiha_core.evaluation.comparison import comparison_sheet
from raiha_core.evaluation.methods import model_method, own_references

Pixels = NDArray[np.float64]


def ellipse(shape: tuple[int, ...], x: float, y: float, rx: float, ry: float) -> Pixels:
    """1 inside the ellipse, 0 outside."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    inside: Pixels = (((columns - x) / rx) ** 2 + ((rows - y) / ry) ** 2 < 1).astype(float)
    return inside


def espresso(photo: Pixels) -> Pixels:
    """The surface of the coffee."""
    return ellipse(photo.shape, 287, 145, 76, 44)


def sky(photo: Pixels) -> Pixels:
    """The evening sky, towers left out by their darkness."""
    bluer = photo[..., 2] - photo[..., 0] > 0.08
    return np.asarray(ndimage.binary_opening(bluer & (np.arange(len(photo))[:, None] < 330), iterations=2), float)


def suit(photo: Pixels) -> Pixels:
    """The orange suit."""
    orange = (photo[..., 0] > 0.45) & (photo[..., 0] - photo[..., 2] > 0.3) & (np.arange(len(photo))[:, None] > 190)
    closed = ndimage.binary_closing(ndimage.binary_opening(orange, iterations=2), iterations=4)
    labels, _ = ndimage.label(closed)
    largest: Pixels = (labels == np.bincount(labels.ravel())[1:].argmax() + 1).astype(float)
    return largest


def eye(photo: Pixels) -> Pixels:
    """The cat's left eye and what is around it."""
    return ellipse(photo.shape, 171, 116, 44, 38)


def cup(photo: Pixels) -> Pixels:
    """Cup and saucer."""
    return ellipse(photo.shape, 278, 205, 200, 190)


def nothing(photo: Pixels) -> Pixels:
    """No change at all."""
    return photo


def grey(photo: Pixels) -> Pixels:
    """All colour taken out."""
    return np.repeat(color.rgb2gray(photo)[..., None], 3, 2)


def other_hue(photo: Pixels) -> Pixels:
    """Hue turned by 200 degrees: another thing altogether, as likely as the real one."""
    hsv = color.rgb2hsv(photo)
    hsv[..., 0] = (hsv[..., 0] + 200 / 360) % 1
    turned: Pixels = color.hsv2rgb(hsv)
    return turned


def warmer(photo: Pixels) -> Pixels:
    """A little warmer, as by a sixth of a stop in red."""
    return (photo * [1.06, 1.0, 0.93]).clip(0, 1)


def washed_out(photo: Pixels) -> Pixels:
    """Contrast squeezed towards light grey."""
    return np.asarray(photo * 0.4 + 0.45)


@dataclass(frozen=True)
class Case:
    """One triplet: a photo of `skimage.data`, its foreground, what is done to it, and the photo offered as reference, if any."""

    name: str
    photo: str
    mask: Callable[[Pixels], Pixels]
    change: Callable[[Pixels], Pixels]
    reference: str | None = None


CASES = (
    Case("untouched sky", "rocket", sky, nothing),
    Case("untouched sky, unfit reference", "rocket", sky, nothing, "coffee"),
    Case("untouched eye", "chelsea", eye, nothing),
    Case("grey coffee", "coffee", espresso, grey),
    Case("grey coffee, unfit reference", "coffee", espresso, grey, "chelsea"),
    Case("suit of another hue", "astronaut", suit, other_hue),
    Case("cup a little warmer", "coffee", cup, warmer),
    Case("washed-out eye", "chelsea", eye, washed_out),
)


def write_triplets(root: Path) -> None:
    """Write the cases as a triplet folder that `raiha evaluate` reads."""
    for part in ("composite", "mask", "real"):
        (root / part).mkdir(parents=True, exist_ok=True)
    for case in CASES:
        real = getattr(data, case.photo)() / 255.0
        mask = ndimage.gaussian_filter(case.mask(real), 1)
        composite = real + mask[..., None] * (case.change(real) - real)
        for part, picture in (("composite", composite), ("mask", mask), ("real", real)):
            Image.fromarray((picture * 255).round().astype(np.uint8)).save(root / part / f"{case.name}.png")
        if case.reference:
            (root / "references" / case.name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(getattr(data, case.reference)()).save(root / "references" / case.name / "0.png")
    (root / "index.jsonl").write_text("\n".join(json.dumps({"name": c.name, "kind": c.mask.__name__}) for c in CASES))


def main() -> None:
    """Measure and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="raiha-s")
    parser.add_argument("--triplets", type=Path, help="keep the triplet folder here")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = arguments.triplets or Path(scratch)
        write_triplets(root)
        triplets = TripletFolder(root)
        method = Method(arguments.model, model_method(arguments.model), own_references())
        (report,) = evaluate([method], triplets, "full", metrics=("fmse",))
        for row in report.rows:
            print(f"{row.name:32} fMSE {row.before:6.0f} -> {row.metrics['fmse']:6.0f}")
        if arguments.sheet:
            comparison_sheet(list(triplets), [method], [report], "full", tile=240, columns=2).save(arguments.sheet, quality=90)


if __name__ == "__main__":
    main()
