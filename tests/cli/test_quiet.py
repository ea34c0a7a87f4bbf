"""What decoders print behind Python's back stays off stderr, and nothing else does."""

from __future__ import annotations

import os
import sys

import pytest

from raiha_core.cli.quiet import without_decoders_noise


def test_only_what_is_printed_meanwhile_is_swallowed(capfd: pytest.CaptureFixture[str]) -> None:
    print("before", file=sys.stderr)
    with without_decoders_noise():
        os.write(2, b"TIFFReadDirectory: Warning, Unknown field\n")
    print("after", file=sys.stderr)
    assert capfd.readouterr().err == "before\nafter\n"


def test_errors_come_through(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), without_decoders_noise():
        raise ZeroDivisionError
    os.write(2, b"still there\n")
    assert capfd.readouterr().err == "still there\n"
