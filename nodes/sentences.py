"""What the core says, for people who have nodes instead of a command line."""

from __future__ import annotations

import re

from ..raiha_core.errors import RaihaError

_COMMAND = re.compile(r"`raiha |--rebuild|--repair|`pip install raiha|raiha\[")
_HERE = "in Load Reference Index turn update on, or rebuild where that does not help, and run again"


def here(error: RaihaError) -> RaihaError:
    """The same mistake with what can be done about it in ComfyUI, where the core names a command or one of its options."""
    text = str(error)
    command = _COMMAND.search(text)
    if command is None:
        return error
    # What to do comes after the last colon or semicolon before the command.
    told = re.split(r"[:;] (?:(?![:;] ).)*$", text[: command.start()])[0].rstrip(" ,(")
    return RaihaError(f"{told[:1].upper()}{told[1:]}; {_HERE}.")


def without_commands(note: str) -> str:
    """A note of what was left out, without the option of the command line that would take it in."""
    return re.sub(r"; --follow-links takes them in", "; put them into models/raiha/galleries by themselves", note)
