"""The oldest versions that pyproject.toml allows, as pip's constraints: what `make lowest` tests with.

python scripts/lowest_versions.py > lowest.txt

torch and the extras have no lower bound and are left out.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def lowest(text: str) -> list[str]:
    """`NAME==VERSION` for every `"NAME>=VERSION"` among the `dependencies` of a pyproject.toml.

    Read by its lines, since Python 3.10 has no TOML parser.
    """
    dependencies = re.search(r"^dependencies = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    found = re.findall(r'"([A-Za-z0-9_.\-]+)>=([0-9][0-9a-z.]*)"', dependencies.group(1) if dependencies else "")
    return [f"{name}=={version}" for name, version in found]


if __name__ == "__main__":
    sys.stdout.write("\n".join(lowest((ROOT / "pyproject.toml").read_text(encoding="utf-8"))) + "\n")
