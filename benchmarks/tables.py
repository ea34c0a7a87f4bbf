"""Tables in documents, between two marks, each made anew by the benchmark that prints it."""

from __future__ import annotations

import re
from pathlib import Path


def section(document: Path, name: str, text: str) -> None:
    """Replace what stands between `<!-- NAME -->` and `<!-- /NAME -->` in a document."""
    whole = document.read_text(encoding="utf-8")
    pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
    document.write_text(re.sub(pattern, lambda m: f"{m[1]}{text}\n{m[2]}", whole, flags=re.DOTALL), encoding="utf-8")
