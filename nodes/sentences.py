"""What the core says, for people who have nodes instead of a command line."""

from __future__ import annotations

import re
from typing import Any

from ..raiha_core.errors import RaihaError

_INDEX = "in Load Reference Index choose the photos as the source, turn update on, or rebuild where that does not help, and run again"
_ENCODER = (
    "in Load Reference Index set the encoder to automatic, connect the vision model that the index was made with, or choose the photos"
)
_CHECKPOINT = "choose another model, or a checkpoint that holds its encoder"
_ADVICE = r"(?:(?![:;] ).)*"
"""What to do comes after the last colon or semicolon."""

_WAYS = (
    (r"offered only when pinned", "not offered; to use one all the same, connect it to reference_images"),
    (r"say so with --allow-empty.*", "switch allow_empty on in Load Reference Index"),
    (r"say where it lies now \(`--gallery`\), or build .* lies now", "or, in Load Reference Index, choose the folder where it lies now"),
    (r"--follow-links takes them in", "put what they lead to into models/raiha/galleries"),
    (r"pip install 'raiha\[\w+\]'", "install that package into ComfyUI's Python"),
    (r"with `(pip install \w+)`", r"into ComfyUI's Python, with \1"),
    (r"make it anew of other folders with --rebuild", "choose another source in Load Reference Index"),
    (rf"(?<=[:;] ){_ADVICE}(?:`raiha convert|`--prior`).*?(?=\.?$)", _CHECKPOINT),
    (rf"(?<=: )use {_ADVICE}--rebuild", _ENCODER),
    (r"The content encoder 'clip_vision:(\w+).*?(?=\.?$)", r"The index was made with a vision model (\1); connect that one to clip_vision"),
    (rf"(?:^|(?<=[:;] )){_ADVICE}(?:`raiha |--rebuild|--repair){_ADVICE}", _INDEX),
    (r", (?:run|build) (?:`raiha |the index anew with --rebuild).*", f"; {_INDEX}"),
)
"""What the core proposes, and what it is here; the first that fits is taken."""


def in_comfyui(text: str) -> str:
    """A sentence with what can be done in ComfyUI, where the core names a command or one of its options."""
    for proposed, way in _WAYS:
        said, count = re.subn(proposed, way, text)
        if count:
            return said
    return text


def here(error: RaihaError) -> RaihaError:
    """The same mistake, said by `in_comfyui`."""
    text, said = str(error), in_comfyui(str(error))
    return error if said == text else RaihaError(f"{said[:1].upper()}{said[1:].removesuffix('.')}.")


_LONGEST = 80


def shown(value: Any) -> str:
    """A value as a sentence can hold it: in one line, and of what is no text or number only the type."""
    if value is None or isinstance(value, str | int | float):
        text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return f"a {type(value).__name__}"
