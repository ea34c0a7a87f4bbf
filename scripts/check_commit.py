"""What pre-commit asks of a commit: a short subject with a body that says why, and no large files.

python scripts/check_commit.py message FILE        # the commit's message, as git hands it to a commit-msg hook
python scripts/check_commit.py files FILE...       # what is to be committed
"""

from __future__ import annotations

import sys
from pathlib import Path

SUBJECT = 72
LARGEST = 1_000_000
_NO_BODY = ("Merge ", "Revert ", "fixup! ", "squash! ")


def faults_of_message(text: str) -> list[str]:
    """What is wrong with a commit's message; git's own comment lines do not count."""
    lines = [line.rstrip() for line in text.split("# ------------------------ >8")[0].splitlines() if not line.startswith("#")]
    while lines and not lines[0]:
        lines.pop(0)
    subject, rest = (lines[0], lines[1:]) if lines else ("", [])
    faults = []
    if len(subject) >= SUBJECT:
        faults.append(f"the subject has {len(subject)} characters; say it in fewer than {SUBJECT}")
    if rest and rest[0]:
        faults.append("the second line is not empty; git takes it for part of the subject")
    if subject and not subject.startswith(_NO_BODY) and not any(rest):
        faults.append("there is no body; say why in a sentence or two")
    return faults


def faults_of_files(files: list[Path]) -> list[str]:
    """Which files are too large for a repository that everybody clones."""
    large = [(f, f.stat().st_size) for f in files if f.is_file() and f.stat().st_size > LARGEST]
    return [f"{f} has {size / 1e6:.1f} MB; every clone would carry it for good, so leave it out or make it smaller" for f, size in large]


def main(argv: list[str]) -> int:
    """Command line; returns the exit status."""
    if len(argv) < 2 or argv[0] not in ("message", "files"):
        print(__doc__, file=sys.stderr)
        return 2
    paths = [Path(a) for a in argv[1:]]
    faults = faults_of_message(paths[0].read_text(encoding="utf-8")) if argv[0] == "message" else faults_of_files(paths)
    for fault in faults:
        print(f"check_commit: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
