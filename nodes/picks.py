"""The gallery widget's value: which photos the user pinned and which are not to come up."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from ..raiha_core.errors import RaihaError

_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Picks:
    """Ids of photos, in the order in which they were clicked."""

    pinned: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()


def parse(text: str | None) -> Picks:
    """Read the JSON string `{"pinned": [ids], "excluded": [ids]}`; an empty one means none.

    Raises:
        RaihaError: it is something else.
    """
    try:
        value = json.loads(text or "{}") if text is None or isinstance(text, str) else None
        pinned, excluded = value.get("pinned", []), value.get("excluded", [])
        ids = [*pinned, *excluded]
        if isinstance(pinned, list) and isinstance(excluded, list) and all(isinstance(i, str) and _ID.fullmatch(i) for i in ids):
            return Picks(tuple(pinned), tuple(excluded))
    except (ValueError, AttributeError):
        pass
    raise RaihaError('The picks are not of the form {"pinned": [ids], "excluded": [ids]}; press Clear in the gallery.')
