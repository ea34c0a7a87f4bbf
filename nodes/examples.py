"""The pictures that the example workflows open: put where ComfyUI's own loaders find them."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..raiha_core.atomic import replacing
from .comfy import folder_paths
from .folders import PACK

_MEDIA = PACK / "example_workflows" / "media"


def provide() -> None:
    """Copy the examples' pictures into ComfyUI's input folder, those that are not there; never replace a file.

    Where the folder cannot be written, the examples cannot run, but everything else can.
    """
    target = Path(folder_paths.get_input_directory())
    for file in sorted(_MEDIA.glob("raiha_example_*")):
        copy = target / file.name
        if copy.exists():
            continue
        try:
            with replacing(copy) as part:
                shutil.copyfile(file, part)
        except OSError:
            return
