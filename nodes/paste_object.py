"""Paste Object: a cut-out on a background, and the mask that Harmonize Composite wants."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..raiha_core.errors import RaihaError
from ..raiha_core.image import to_8_bit
from ..raiha_core.paste import Patch, Placement, place
from .comfy import Steps, checked, folder_paths, io, model_management, schema
from .masks import WHITE

AUTO, OBJECT, TRANSPARENT = "automatic", "white is the object", "white is transparent"
SUBFOLDER = "raiha"
PREVIEW = 640
"""Longest side of the pictures that the widget shows."""


class PasteObject(io.ComfyNode):
    """Sockets to core types and back."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What the node looks like."""
        return schema(
            node_id="RaihaPasteObject",
            display_name="Paste Object",
            description="Pastes a cut-out on a background: drag it in the node's picture. Gives the composite and its full-size mask.",
            search_aliases=[
                "raiha",
                "paste",
                "composite",
                "overlay",
                "place object",
                "image blend",
                "insert",
                "layer",
                "compose",
                "粘贴",
                "抠图",
                "合成",
            ],
            inputs=[
                io.Image.Input("background", tooltip="The scene: a picture, or the frames of a clip."),
                io.Image.Input("object", tooltip="The cut-out: a picture, or a clip as long as the background's. RGBA needs no mask."),
                io.Float.Input(
                    "x", default=0.5, min=-1.0, max=2.0, step=0.001, tooltip="Middle of the object: 0 is the left edge, 1 the right."
                ),
                io.Float.Input(
                    "y", default=0.5, min=-1.0, max=2.0, step=0.001, tooltip="Middle of the object: 0 is the top, 1 the bottom."
                ),
                io.Float.Input(
                    "scale",
                    default=0.5,
                    min=0.005,
                    max=10.0,
                    step=0.001,
                    tooltip="Size of the object's picture: 1 just fits into the background, whatever their resolutions are.",
                ),
                io.Float.Input("rotation", default=0.0, min=-360.0, max=360.0, step=0.5, tooltip="In degrees, clockwise."),
                io.Boolean.Input(
                    "mirror", default=False, tooltip="Swap left and right, for example so that the light comes from the same side."
                ),
                io.Int.Input(
                    "shrink_edge",
                    default=1,
                    min=0,
                    max=64,
                    tooltip="Pixels that are taken off the object's edge: against a bright or dark seam of its old background.",
                ),
                io.Float.Input("feather", default=1.0, min=0.0, max=100.0, step=0.5, tooltip="Pixels over which the edge fades inwards."),
                io.Combo.Input(
                    "mask_reading",
                    options=[AUTO, OBJECT, TRANSPARENT],
                    default=AUTO,
                    tooltip="Load Image gives a mask that is white where a picture is transparent, others are white at the object. "
                    "Automatic tells them apart by the picture's border.",
                ),
                io.Mask.Input(
                    "object_mask",
                    optional=True,
                    tooltip="Its mask: the MASK of the Load Image that loads the cut-out, or one that you made (white is the object).",
                ),
            ],
            outputs=[
                io.Image.Output("composite", display_name="image", tooltip="The background with the object; for Harmonize Composite."),
                io.Mask.Output(
                    "mask", display_name="mask", tooltip="White where the object is, in the background's size; for Harmonize Composite."
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    @checked()
    def execute(
        cls,
        background: Tensor,
        object: Tensor,
        object_mask: Tensor | None = None,
        x: float = 0.5,
        y: float = 0.5,
        scale: float = 0.5,
        rotation: float = 0.0,
        mirror: bool = False,
        shrink_edge: int = 1,
        feather: float = 1.0,
        mask_reading: str = AUTO,
    ) -> io.NodeOutput:
        """Paste frame by frame; an object that is the same for all frames is placed once."""
        alphas, notices = alpha_of(object, object_mask, mask_reading)
        count = _count(len(background), len(object), len(alphas))
        size, placement = (background.shape[1], background.shape[2]), Placement(x, y, scale, rotation, mirror)
        device = model_management.intermediate_device()
        images = torch.empty(count, *background.shape[1:], dtype=background.dtype, device=device)
        masks = torch.empty(count, *size, device=device)
        steps, patch, seen, why = Steps(count), None, [], None
        for i in range(count):
            if i == 0 or max(len(object), len(alphas)) > 1:
                try:
                    patch = _placed(object, alphas, i, size, placement, shrink_edge, feather)
                except RaihaError as error:  # in a clip, the object may leave the picture
                    patch, why = None, error
            if not bool(torch.isfinite(background[min(i, len(background) - 1)]).all()):
                raise RaihaError(
                    "The background holds NaN or infinite values; repair them first, since no colour can be computed from them."
                )
            images[i] = _pasted(background[min(i, len(background) - 1)], patch).to(images)
            masks[i] = patch.mask()[0, 0] if patch else 0
            seen += [i] if patch else []
            steps.step()
        if why is not None and not seen:
            raise why
        shown = for_widget(*(batch[min(seen[0], len(batch) - 1)] for batch in (background, object, alphas)))
        shown["placement"] = dataclasses.asdict(placement)
        return io.NodeOutput(images, masks, ui={"raiha_paste": [shown], "raiha_notices": notices})


def alpha_of(image: Tensor, mask: Tensor | None, reading: str) -> tuple[Tensor, list[str]]:
    """The object's alpha `(B, H, W)`, white at the object, and what the user should know of how it was read.

    Raises:
        RaihaError: there is none, or it does not fit.
    """
    if not len(image):
        raise RaihaError("The object is an empty batch; connect at least one image.")
    height, width = image.shape[1:3]
    own = _snapped(image[..., 3].float()) if image.shape[-1] == 4 else None
    if mask is None:
        if own is None or bool((own >= 1).all()):
            raise RaihaError("The object has no transparency; connect object_mask, for example the MASK of the Load Image that loads it.")
        return own, []
    mask = (mask[None] if mask.ndim == 2 else mask[:, 0] if mask.ndim == 4 and mask.shape[1] == 1 else mask).float()
    if mask.shape[1:] == (64, 64) != (height, width) and not mask.any():
        raise RaihaError(
            "The object's mask is empty, as Load Image gives it for a picture without transparency; connect the MASK of the Load Image "
            "that loads the object, or paint the object white in the Mask Editor."
        )
    if mask.ndim != 3:
        sides = " x ".join(map(str, mask.shape))
        raise RaihaError(f"The object_mask has the shape {sides}; connect a mask with a number, a height and a width.")
    if mask.shape[1:] != (height, width):
        sides = " x ".join(map(str, reversed(mask.shape[1:])))
        raise RaihaError(
            f"The object is {width} x {height} but its mask is {sides}; connect the mask that belongs to the object's picture."
        )
    if not bool(torch.isfinite(mask).all()):
        raise RaihaError("The object's mask holds NaN or infinite values; repair it first.")
    mask, notices = _snapped(mask), []
    if reading == TRANSPARENT or (reading == AUTO and _white_outside(mask)):
        mask = 1 - mask
        if reading == AUTO:
            notices.append("Read the mask's white as transparent, as Load Image gives it.")
    return mask if own is None else mask * own, notices


def _snapped(mask: Tensor) -> Tensor:
    """In [0, 1], what is nearly black or white made so: white comes as 254 / 255 from some versions of ComfyUI."""
    return torch.where(mask >= WHITE, 1.0, torch.where(mask <= 1 - WHITE, 0.0, mask))


def _white_outside(mask: Tensor) -> bool:
    """Whether a mask's border is mostly white, though not all of the mask is: then white is what is not the object."""
    border = torch.cat([mask[:, 0], mask[:, -1], mask[:, 1:-1, 0], mask[:, 1:-1, -1]], 1)
    return float(border.mean()) > 0.5 and float(mask.min()) < 0.5


def _count(backgrounds: int, objects: int, alphas: int) -> int:
    """How many frames there will be: of what there is one of, it serves all.

    Raises:
        RaihaError: the numbers do not fit.
    """
    if not backgrounds:
        raise RaihaError("The background is an empty batch; connect at least one image.")
    count = max(backgrounds, objects, alphas)
    for number, what in ((backgrounds, "backgrounds"), (objects, "objects"), (alphas, "object masks")):
        if number not in (1, count):
            raise RaihaError(f"There are {number} {what} for {count} frames; give one for all of them or one for each.")
    return count


def _placed(object: Tensor, alphas: Tensor, i: int, size: tuple[int, int], placement: Placement, shrink_edge: int, feather: float) -> Patch:
    """One frame's object at its place.

    Raises:
        RaihaError: there is nothing of it to be seen.
    """
    alpha = alphas[min(i, len(alphas) - 1)][None, None]
    colours = object[min(i, len(object) - 1)][None, ..., :3].permute(0, 3, 1, 2).float()
    if not bool(torch.isfinite(colours).all()):
        raise RaihaError("The object holds NaN or infinite values; repair them first, since no colour can be computed from them.")
    return place(colours, alpha.to(colours), size, placement, shrink_edge=shrink_edge, feather=feather)


def _pasted(frame: Tensor, patch: Patch | None) -> Tensor:
    """A frame `(H, W, C)` with the object; a transparent background becomes opaque where the object is."""
    if patch is None:
        return frame
    colours = patch.onto(frame[None, ..., :3].permute(0, 3, 1, 2).to(patch.alpha.device))[0].permute(1, 2, 0)
    if frame.shape[-1] == 3:
        return colours
    mask = patch.mask()[0, 0, :, :, None].to(frame)
    return torch.cat([colours.to(frame), torch.maximum(frame[..., 3:], mask)], -1)


def for_widget(background: Tensor, object: Tensor, alpha: Tensor) -> dict[str, Any]:
    """The two pictures that `web/placer.js` shows, kept small in ComfyUI's temporary folder, and their true sizes."""
    cut = torch.cat([object[..., :3].float(), alpha[..., None].to(object.device)], -1)
    return {
        "background": _saved(background[..., :3].float()),
        "object": _saved(cut),
        "background_size": [background.shape[1], background.shape[0]],
        "object_size": [object.shape[1], object.shape[0]],
    }


def _saved(image: Tensor) -> dict[str, str]:
    """A small PNG of a picture `(H, W, C)`, named by what it shows, so that the same picture is written once."""
    height, width = image.shape[:2]
    scale = min(1.0, PREVIEW / max(height, width))
    side = max(1, round(height * scale)), max(1, round(width * scale))
    small = F.interpolate(image.permute(2, 0, 1)[None].cpu(), size=side, mode="bilinear", antialias=True)[0].permute(1, 2, 0)
    samples = to_8_bit(small.clamp(0, 1).numpy())
    name = f"paste_{hashlib.sha256(samples.tobytes()).hexdigest()[:16]}.png"
    folder = Path(folder_paths.get_temp_directory()) / SUBFOLDER
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / name).exists():
        Image.fromarray(samples).save(folder / name, compress_level=1)
    return {"filename": name, "subfolder": SUBFOLDER, "type": "temp"}
