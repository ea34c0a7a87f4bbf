"""Load Reference Index: from a gallery of photos, or a finished index."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..raiha_core.content import ContentEncoder
from ..raiha_core.errors import RaihaError
from ..raiha_core.image import to_8_bit
from ..raiha_core.references import ReferenceIndex
from ..raiha_core.references.manifest import exists as is_index
from . import folders, indexes
from .clip_vision import ClipVisionEncoder
from .comfy import RaihaIndex, Steps, checked, io, schema
from .mending import built, mended
from .sentences import in_comfyui, shown
from .types import IndexHandle

AUTO = "automatic"
ENCODERS = [AUTO, "embedded", "open_clip:ViT-B-32/laion2b_s34b_b79k", "dinov2:vit_base_patch14_reg4_dinov2.lvd142m"]


class LoadReferenceIndex(io.ComfyNode):
    """Sockets to core types and back."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What the node looks like."""
        return schema(
            node_id="RaihaLoadReferenceIndex",
            display_name="Load Reference Index",
            description=(
                "Makes your photos searchable by what they show and by their light. Put folders of photos into models/raiha/galleries."
            ),
            search_aliases=["raiha", "gallery", "photo search", "retrieval", "faiss", "图库", "以图搜图"],
            inputs=[
                io.Combo.Input(
                    "source",
                    options=folders.sources(),
                    default=folders.PHOTOS_OF + folders.EXAMPLE,
                    tooltip="'photos:' are folders in models/raiha/galleries, 'index:' finished indexes in models/raiha/indexes.",
                ),
                io.Combo.Input(
                    "encoder",
                    options=ENCODERS,
                    default=AUTO,
                    tooltip=(
                        "What compares the photos' content. Automatic: the index's own, and 'embedded', which ships with the pack, for a "
                        "new one. The others are stronger, and are downloaded when they are first used (0.3 to 0.6 GB)."
                    ),
                ),
                io.Boolean.Input(
                    "update", default=True, tooltip="Before every run, look for new, changed and deleted photos. Only these are read again."
                ),
                io.Boolean.Input(
                    "rebuild",
                    default=False,
                    optional=True,
                    tooltip="Make the index anew from all of its photos. Turn it off again afterwards.",
                ),
                io.Boolean.Input(
                    "allow_empty",
                    default=False,
                    optional=True,
                    tooltip="Believe it where most photos of the gallery are gone at once. Off: that is asked about, since a drive may be "
                    "unplugged.",
                ),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="A vision model that you have (CLIP, SigLIP, DINO), from Load CLIP Vision, in place of the encoder.",
                ),
                io.Image.Input(
                    "images",
                    optional=True,
                    tooltip="A batch of pictures as the gallery, in place of the source: nothing to put into a folder.",
                ),
            ],
            outputs=[
                RaihaIndex.Output("index", display_name="index", tooltip="For Retrieve References."),
                io.String.Output("info", display_name="info", tooltip="How many photos there are, and which could not be read."),
            ],
        )

    @classmethod
    def validate_inputs(cls, source: str | None = None) -> bool | str:
        """Say what is wrong before anything runs; ComfyUI checks the encoder itself. What is linked is not known yet."""
        try:
            if source is not None:
                _check(source)
        except RaihaError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(
        cls, source: str | None = None, encoder: str | None = AUTO, update: bool | None = True, rebuild: bool | None = False, **_: Any
    ) -> str:
        """Runs again when the index or, if it is to be kept up to date, its gallery has changed; linked values are not known here."""
        try:
            seen = ""
            for one in folders.sources() if source is None else [source]:
                seen += indexes.state(folders.index_path(one, _name(encoder or AUTO)))
                photos = one.startswith(folders.PHOTOS_OF) and (update is None or update)
                seen += indexes.gallery_state(folders.gallery_path(one)) if photos else ""
            return seen
        except RaihaError as error:
            return str(error)

    @classmethod
    @checked("source")
    def execute(
        cls,
        source: str,
        encoder: str = AUTO,
        update: bool = True,
        rebuild: bool = False,
        allow_empty: bool = False,
        clip_vision: Any = None,
        images: Tensor | None = None,
    ) -> io.NodeOutput:
        """Build or update what needs it, open the index."""
        chosen: str | ContentEncoder = ClipVisionEncoder(clip_vision) if clip_vision is not None else _name(encoder)
        name = chosen if isinstance(chosen, str) else chosen.id
        gallery: Path | None = None
        if images is not None:
            gallery, source = kept(images), "images"
            directory = gallery.parent / "indexes" / hashlib.sha256(name.encode()).hexdigest()[:8]
        else:
            _check(source)
            directory = folders.index_path(source, name)
            gallery = folders.gallery_path(source) if source.startswith(folders.PHOTOS_OF) else None
        if rebuild and gallery is None:
            raise RaihaError(f"{source!r} cannot be made anew, since its photos are not here; choose a source that begins with 'photos:'.")
        steps, said = Steps(1), ""
        before = indexes.state(directory)
        with indexes.installed():
            if gallery is not None and (update or rebuild or not is_index(directory)):
                directory.parent.mkdir(parents=True, exist_ok=True)
                said = built(gallery, directory, chosen, rebuild, steps.reach, allow_empty=allow_empty)
                indexes.wrote(directory, before)
            index, more = _opened(directory, None if chosen == "embedded" and encoder == AUTO else chosen, gallery)
        if not len(index):
            raise RaihaError(f"There are no readable photos in {source!r}; put some into the folder (JPEG, PNG, WebP, TIFF, AVIF).")
        lines = [line for line in (said, more, summary(index)) if line]
        return io.NodeOutput(IndexHandle(index, folders.index_key(directory)), "\n".join(lines))


def _check(source: str) -> None:
    """Refuse what is no source.

    Raises:
        RaihaError: it is neither a gallery nor an index.
    """
    if source.startswith(folders.PHOTOS_OF):
        folders.gallery_path(source)
    elif not source.startswith(folders.INDEX_OF) or not folders.index_path(source, "embedded").is_dir():
        raise RaihaError(f"{shown(source)} is neither a gallery nor an index; choose one from the list.")


def _opened(directory: Path, encoder: Any, gallery: Path | None) -> tuple[ReferenceIndex, str]:
    """An open index, mended first if it does not open; and what had to be mended."""
    try:
        return indexes.opened(directory, encoder), ""
    except RaihaError:
        said = mended(directory)
        if not said:
            raise
        return indexes.opened(directory, encoder), said


def kept(images: Tensor) -> Path:
    """A batch of pictures as a folder of photos, in ComfyUI's temporary folder, named by what they show."""
    if not len(images):
        raise RaihaError("The batch of images is empty; connect at least one picture.")
    if not bool(torch.isfinite(images).all()):
        raise RaihaError("The images hold NaN or infinite values; repair them first.")
    samples = [to_8_bit(image[..., :3].float().clamp(0, 1).cpu().numpy()) for image in images]
    digest = hashlib.sha256(b"".join(s.tobytes() for s in samples) + str(tuple(images.shape)).encode()).hexdigest()[:16]
    folder = folders.batch_folder(digest) / "photos"
    folder.mkdir(parents=True, exist_ok=True)
    for n, sample in enumerate(samples, 1):
        file = folder / f"image {n}.png"
        if not file.exists():
            Image.fromarray(sample).save(file, compress_level=1)
    return folder


def _name(encoder: str) -> str:
    return "embedded" if encoder == AUTO else encoder


def summary(index: ReferenceIndex) -> str:
    """What is in an index, for people."""
    info, failed = index.info(), index.failures()
    lines = [f"{info['images']} photos, {info['bytes'] / 1e6:.1f} MB, encoder {info['encoder']['id']}, updated {info['updated']}"]
    lines += [f"left out: {in_comfyui(line)}" for line in info["left_out"]]
    lines += [in_comfyui(line) for line in info["not_offered"]]
    lines += [f"not readable: {path.name}: {in_comfyui(why)}" for path, why in failed[:10]]
    return "\n".join(lines + ([f"and {len(failed) - 10} more"] if len(failed) > 10 else []))
