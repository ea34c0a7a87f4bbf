from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
tomllib = pytest.importorskip("tomllib")


def test_requirements_leave_torch_alone() -> None:
    names = [re.split(r"[<>=!~\[; ]", line)[0] for line in (ROOT / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert names and not {"torch", "torchvision", "torchaudio"} & set(names)
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert "torch" in declared, "torch may be required by the library but never pinned"
    assert set(names) <= {re.split(r"[<>=!~\[; ]", d)[0] for d in declared}


def test_command_is_installed() -> None:
    done = subprocess.run([sys.executable, "-m", "raiha_core", "--help"], capture_output=True, text=True, check=True)
    for name in ("harmonize", "index", "retrieve", "train", "evaluate", "convert", "demo"):
        assert name in done.stdout


def test_the_readmes_two_commands_exist() -> None:
    readme, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    for command in ("demo", "test"):
        assert f"make {command}" in readme and re.search(rf"^{command}:", makefile, re.MULTILINE)


def test_every_link_in_the_readme_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)|src=\"([^\"]+)\"", (ROOT / "README.md").read_text())
    local = [a or b for a, b in links if not (a or b).startswith("http")]
    assert local and not [x for x in local if not (ROOT / x).exists()]
