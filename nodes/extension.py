"""What ComfyUI is given."""

from __future__ import annotations

from . import examples, folders, thumbnails
from .comfy import ComfyExtension, io
from .harmonize_composite import HarmonizeComposite
from .harmony_score import HarmonyScore
from .load_reference_index import LoadReferenceIndex
from .paste_object import PasteObject
from .retrieve_references import RetrieveReferences
from .transfer_look import TransferLook
from .visualize_attention import VisualizeAttention


class RaihaExtension(ComfyExtension):
    """The nodes, three kinds of folders, one route."""

    async def on_load(self) -> None:
        """Register folders and the route, provide the examples' pictures."""
        from server import PromptServer

        folders.register()
        examples.provide()
        thumbnails.register(PromptServer.instance.routes)

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """The nodes, in the order of the menu."""
        return [
            PasteObject,
            HarmonizeComposite,
            LoadReferenceIndex,
            RetrieveReferences,
            VisualizeAttention,
            TransferLook,
            HarmonyScore,
        ]
