"""The one exception that reaches users: a sentence that says what is wrong and what to do."""

from __future__ import annotations

import os


class RaihaError(ValueError):
    """A mistake or circumstance that the user can mend.

    The message is one sentence (or two short ones) naming what is wrong and what to do; the command
    line prints it as it stands and exits with status 2, the nodes show it on the node.
    """


def of_system(error: Exception) -> str | None:
    """What the operating system refused, in a sentence; None for other errors, and where it says of nothing that the user named."""
    if not isinstance(error, OSError) or error.filename is None or not error.strerror:
        return None
    return f"{os.fsdecode(error.filename)!s:.200} cannot be used ({error.strerror}); check the path and its rights."


class EmptyMaskError(RaihaError):
    """A mask without foreground: a mistake of one picture, but usual among the frames of a sequence."""
