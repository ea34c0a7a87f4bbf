"""Load Reference Index: from a gallery of photos, or a finished index."""

from __future__ import annotations

from ..raiha_core.errors import RaihaError
from ..raiha_core.references import ReferenceIndex
from . import folders, indexes
from .comfy import RaihaIndex, Steps, io, schema
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
            search_aliases=["raiha", "gallery", "photo search", "retrieval", "faiss"],
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
                    "allow_empty",
                    default=False,
                    optional=True,
                    tooltip="Believe it where most photos of the gallery are gone at once. Off: that is asked about, since a drive may be "
                    "unplugged.",
                ),
            ],
            outputs=[
                RaihaIndex.Output("index", display_name="index", tooltip="For Retrieve References."),
                io.String.Output("info", display_name="info", tooltip="How many photos there are, and which could not be read."),
            ],
        )

    @classmethod
    def validate_inputs(cls, source: str) -> bool | str:
        """Say what is wrong before anything runs; ComfyUI checks the encoder itself."""
        try:
            if source.startswith(folders.PHOTOS_OF):
                folders.gallery_path(source)
            elif not source.startswith(folders.INDEX_OF) or not folders.index_path(source, "embedded").is_dir():
                return f"{source!r} is neither a gallery nor an index; choose one from the list."
        except RaihaError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, source: str, encoder: str, update: bool, allow_empty: bool = False) -> str:
        """Runs again when the index or, if it is to be kept up to date, its gallery has changed."""
        try:
            seen = indexes.state(folders.index_path(source, _name(encoder)))
            photos = source.startswith(folders.PHOTOS_OF) and update
            return seen + (indexes.gallery_state(folders.gallery_path(source)) if photos else "")
        except RaihaError as error:
            return str(error)

    @classmethod
    def execute(cls, source: str, encoder: str = AUTO, update: bool = True, allow_empty: bool = False) -> io.NodeOutput:
        """Build or update what needs it, open the index."""
        directory = folders.index_path(source, _name(encoder))
        wanted = None if encoder == AUTO else encoder
        steps = Steps(1)
        before = indexes.state(directory)
        if source.startswith(folders.PHOTOS_OF) and (update or not folders.is_index(directory)):
            directory.parent.mkdir(parents=True, exist_ok=True)
            gallery = folders.gallery_path(source)
            with indexes.installed():
                ReferenceIndex.build(gallery, directory, _name(encoder), progress=steps.reach, allow_empty=allow_empty).close()
            indexes.wrote(directory, before)
        index = indexes.opened(directory, wanted)
        if not len(index):
            raise RaihaError(f"There are no readable photos in {source!r}; put some into the folder (JPEG, PNG, WebP, TIFF, AVIF).")
        return io.NodeOutput(IndexHandle(index, folders.index_key(directory)), describe(index))


def _name(encoder: str) -> str:
    return "embedded" if encoder == AUTO else encoder


def describe(index: ReferenceIndex) -> str:
    """What is in an index, for people."""
    info, failed = index.info(), index.failures()
    lines = [f"{info['images']} photos, {info['bytes'] / 1e6:.1f} MB, encoder {info['encoder']['id']}, updated {info['updated']}"]
    lines += [f"left out: {line}" for line in info["left_out"]]
    lines += [f"not readable: {path.name}: {why}" for path, why in failed[:10]]
    return "\n".join(lines + ([f"and {len(failed) - 10} more"] if len(failed) > 10 else []))
