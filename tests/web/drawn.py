"""The documentation's pictures that need no browser: thumbnails of the examples and help pictures, with the weights as they are now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from raiha_core.drift import undo_drift
from raiha_core.harmonizer import Harmonizer
from raiha_core.image import Picture, alpha_mask, from_array, read_image, read_mask
from raiha_core.inputs import as_picture
from raiha_core.paste import Placement, place
from raiha_core.score import harmony
from raiha_core.transfer import transfer_look

ROOT = Path(__file__).parents[2]
EXAMPLES, HELP = ROOT / "example_workflows", ROOT / "web" / "docs"
MEDIA = EXAMPLES / "media"
THUMBNAIL = (480, 360)


def split(before: Image.Image, after: Image.Image, mask: np.ndarray) -> Image.Image:
    """Before on the left, after on the right, with the edge through the object's middle."""
    out, x = before.convert("RGB"), round(float(np.nonzero(mask > 0.5)[1].mean()))
    out.paste(after.convert("RGB").crop((x, 0, after.width, after.height)), (x, 0))
    out.paste((255, 255, 255), (x - 1, 0, x + 2, out.height))
    return out


def thumbnail(picture: Image.Image, name: str) -> None:
    """Save the middle of a picture as an example's thumbnail."""
    width, height = THUMBNAIL
    scale = max(width / picture.width, height / picture.height)
    large = picture.convert("RGB").resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)
    x, y = (large.width - width) // 2, (large.height - height) // 2
    large.crop((x, y, x + width, y + height)).save(EXAMPLES / f"{name}.jpg", quality=88)


def row(pictures: list[Image.Image], file: Path, captions: list[str] | None = None) -> None:
    """Pictures of one size side by side, with a line under each."""
    width, height, gap, foot = *pictures[0].size, 12, 26 if captions else 0
    out = Image.new("RGB", (len(pictures) * (width + gap) - gap, height + foot), "white")
    draw = ImageDraw.Draw(out)
    for n, picture in enumerate(pictures):
        out.paste(picture.convert("RGB"), (n * (width + gap), 0))
        if captions:
            draw.text((n * (width + gap) + 2, height + 5), captions[n], "black", ImageFont.load_default(15))
    out.save(file, quality=88)


def one_node(harmonizer: Harmonizer) -> None:
    """Thumbnail of example 1, and Harmonize Composite's help picture: before and after, side by side."""
    composite = read_image(MEDIA / "raiha_example_cup.jpg")
    mask = read_mask(MEDIA / "raiha_example_cup_mask.png")
    before, after = composite.pil(), harmonizer.harmonize(composite, mask).image.pil()
    thumbnail(split(before, after, mask), "1 harmonize with one node")
    row([before, after], HELP / "RaihaHarmonizeComposite" / "before_after.jpg")


def pasted(graph: dict[str, Any]) -> tuple[Picture, np.ndarray]:
    """What Paste Object gives in an example."""
    x, y, scale, rotation, mirror, shrink, feather, _ = next(n["widgets_values"] for n in graph["nodes"] if n["type"] == "RaihaPasteObject")
    scene, cutout = (read_image(MEDIA / f"raiha_example_{name}") for name in ("scene.jpg", "cutout.png"))
    alpha = torch.from_numpy(alpha_mask(cutout))[None, None]
    placement = Placement(x, y, scale, rotation, mirror)
    patch = place(cutout.rgb_tensor(), alpha, scene.size, placement, shrink_edge=shrink, feather=feather)
    return as_picture(patch.onto(scene.rgb_tensor())[0].clamp(0, 1)), patch.mask()[0, 0].numpy()


def paste(harmonizer: Harmonizer) -> None:
    """Thumbnail of example 3."""
    picture, mask = pasted(json.loads((EXAMPLES / "3 paste an object.json").read_text()))
    thumbnail(split(picture.pil(), harmonizer.harmonize(picture, mask).image.pil(), mask), "3 paste an object")


def inpainting(harmonizer: Harmonizer) -> None:
    """Thumbnail of example 5: a picture that went through a simulated VAE, and what becomes of it with its original connected."""
    painted = read_image(MEDIA / "raiha_example_cup.jpg")
    mask = read_mask(MEDIA / "raiha_example_cup_mask.png")
    soft = np.asarray(painted.pil().filter(ImageFilter.GaussianBlur(0.6)), np.float32) / 255
    shifted = np.clip(soft * np.float32([0.86, 0.9, 0.93]) + np.float32([0.06, 0.05, 0.04]), 0, 1).astype(np.float32)
    original = from_array(painted.rgb.astype(np.float32) / 255)
    after = harmonizer.harmonize(undo_drift(from_array(shifted), original, mask), mask).image
    thumbnail(split(from_array(shifted).pil(), after.pil(), mask), "5 after inpainting")


def stitching(harmonizer: Harmonizer) -> None:
    """Thumbnail of example 6, the crop marked."""
    graph = json.loads((EXAMPLES / "6 crop, harmonise, stitch.json").read_text())
    width, height, x, y = next(n["widgets_values"] for n in graph["nodes"] if n["type"] == "ImageCrop")
    picture, mask = pasted(graph)
    part = np.s_[y : y + height, x : x + width]
    after = picture.pil()
    after.paste(harmonizer.harmonize(picture.with_rgb(np.ascontiguousarray(picture.rgb[part])), mask[part]).image.pil(), (x, y))
    drawn = split(picture.pil(), after, mask)
    ImageDraw.Draw(drawn).rectangle((x, y, x + width - 1, y + height - 1), outline=(255, 210, 60), width=3)
    thumbnail(drawn, "6 crop, harmonise, stitch")


def look() -> None:
    """Thumbnail of example 7, and Transfer Look's help picture: original, version, result."""
    original, version = (Image.open(MEDIA / f"raiha_example_portrait{name}.jpg").convert("RGB") for name in ("", "_relit"))
    result, enlarged = transfer_look(original, version), version.resize(original.size, Image.Resampling.BICUBIC)
    row([original, enlarged, result], HELP / "RaihaTransferLook" / "transfer.jpg")
    middle = original.width // 2
    enlarged.paste(result.crop((middle, 0, *result.size)), (middle, 0))
    enlarged.paste((255, 255, 255), (middle - 1, 0, middle + 2, enlarged.height))
    thumbnail(enlarged, "7 transfer of a look")


def scores(harmonizer: Harmonizer) -> None:
    """Harmony Score's help picture: a cup in four lights, sorted."""
    composite, mask = read_image(MEDIA / "raiha_example_cup.jpg"), read_mask(MEDIA / "raiha_example_cup_mask.png")
    real = read_image(ROOT / "raiha_core" / "demo_data" / "gallery" / "coffee.jpg").pil().resize(composite.pil().size)
    lights = ((1, 1, 1), (0.62, 0.68, 0.85), (1.25, 1.0, 0.6))
    whole = np.asarray(real, np.float32) / 255
    lit = [np.where(mask[..., None] > 0, np.clip(whole * np.float32(light), 0, 1), whole).astype(np.float32) for light in lights]
    pictures = [from_array(image) for image in lit] + [composite]
    ranked = sorted(((harmony(harmonizer, p, mask).score, p) for p in pictures), key=lambda pair: -pair[0])
    small = [p.pil().resize((300, 200), Image.Resampling.LANCZOS) for _, p in ranked]
    row(small, HELP / "RaihaHarmonyScore" / "ranked.jpg", [f"{score:.0f}" for score, _ in ranked])


def all_of_them(harmonizer: Harmonizer) -> None:
    """Draw everything in this file."""
    for draw in (one_node, paste, inpainting, stitching, scores):
        draw(harmonizer)
    look()
