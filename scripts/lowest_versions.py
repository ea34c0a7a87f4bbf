"""The oldest versions that pyproject.toml allows, as pip's constraints: what `make lowest` tests with.

python scripts/lowest_versions.py > lowest.txt

torch and torchvision have no lower bound and are left out, and so are the tools of the extra `test`, which are to be new.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def lowest(text: str) -> list[str]:
    """`NAME==VERSION` for every `"NAME>=VERSION"` among the `dependencies` and the extras, but `test`, of a pyproject.toml.

    Read by its lines, since Python 3.10 has no TOML parser.
    """
    dependencies = re.search(r"^dependencies = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    extras = re.search(r"^\[project\.optional-dependencies\]\n(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL)
    asked = dependencies.group(1) if dependencies else ""
    asked += re.sub(r"^test = .*$", "", extras.group(1), flags=re.MULTILINE) if extras else ""
    found = re.findall(r'"([A-Za-z0-9_.\-]+)(?:\[[a-z,]+\])?>=([0-9][0-9a-z.]*)"', asked)
    return list(dict.fromkeys(f"{name}=={version}" for name, version in found))


if __name__ == "__main__":
    sys.stdout.write("\n".join(lowest((ROOT / "pyproject.toml").read_text(encoding="utf-8"))) + "\n")
