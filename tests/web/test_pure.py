"""What of web/ runs without a browser, tested by node where there is one: `node --test`, no npm."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_pure_parts() -> None:
    node = shutil.which("node")
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout if node else "v0"
    if not node or int(re.findall(r"\d+", version)[0]) < 20:
        pytest.skip("needs node 20 or later")
    files = sorted(str(p) for p in (ROOT / "tests" / "web").glob("*.test.js"))
    done = subprocess.run([node, "--test", *files], cwd=ROOT, capture_output=True, text=True)
    passed = re.search(r"^# pass (\d+)|^ℹ pass (\d+)", done.stdout, re.MULTILINE)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert passed and int(passed.group(1) or passed.group(2)) >= len(files), done.stdout[-500:]
