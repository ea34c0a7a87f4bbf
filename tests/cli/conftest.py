"""The command line as a user meets it: status, what it prints, and its one line of complaint."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from raiha_core.cli import main


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs `raiha` with arguments; gives its status and what it wrote to stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main([str(a) for a in arguments])
        return (status, *capsys.readouterr())

    return run


@pytest.fixture
def one_line() -> Callable[[str], str]:
    """The one line that stderr holds, which is Raiha's."""

    def of(err: str) -> str:
        lines = [line for line in err.splitlines() if line.strip()]
        assert len(lines) == 1, err
        assert lines[0].startswith("raiha: ")
        return lines[0]

    return of
