"""What a commit must be, and that the hooks which ask for it can be called."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def check(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("check_commit")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Masks: soft edges blend\n\nThey were cut at a half, which left a seam.\n", ""),
        ("x" * 71 + "\n\nWhy.\n", ""),
        ("x" * 72 + "\n\nWhy.\n", "72 characters"),
        ("Masks: soft edges blend\n", "no body"),
        ("Masks: soft edges blend\n\n# Please enter the message\n# On branch main\n", "no body"),
        ("Masks: soft\nedges blend\n\nWhy.\n", "second line"),
        ("\n\nMasks: soft edges blend\n\nWhy.\n", ""),
        ("Merge branch 'house'\n", ""),
        ("", ""),
    ],
)
def test_messages(check: ModuleType, text: str, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "message").write_text(text)
    assert check.main(["message", str(tmp_path / "message")]) == bool(word)
    assert word in capsys.readouterr().err


def test_large_files_stay_out(check: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"x" * 1000)
    large.write_bytes(b"x" * 1_500_000)
    assert check.main(["files", str(small)]) == 0
    assert check.main(["files", str(small), str(large), str(tmp_path / "gone")]) == 1
    assert "large has 1.5 MB" in capsys.readouterr().err


def test_every_hook_calls_what_is_there() -> None:
    yaml = pytest.importorskip("yaml")
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    for hook in hooks:
        program, *rest = shlex.split(hook["entry"])
        assert program == "ruff" or (program == "python" and (ROOT / rest[0]).is_file())
    assert {"ruff-check", "ruff-format", "architecture", "subject"} <= {hook["id"] for hook in hooks}
