"""All of speed in one run, as ratios and with growth: prediction, pictures beside peers, the command, clips, very large pictures.

python benchmarks/speed.py [--quick] [--only prediction pictures command clips large]

Each part is a benchmark of its own beside this file. `--quick` takes minutes in place of hours: sizes and lengths up to a few. Where
COMFYUI_DIR is a ComfyUI, its node ColorTransfer is among the peers.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
WHOLE = {
    "prediction": [["prediction.py"]],
    "pictures": [["harmonize.py", "--megapixels", "1", "4", "12", "24", "50", "100", "200"]],
    "command": [["command.py"]],
    "clips": [["clips.py", "--frames", "1", "16", "64", "256"]],
    "large": [["large.py"]],
}
QUICK = {
    "prediction": [["prediction.py", "--references", "1", "4", "--repeats", "8"]],
    "pictures": [["harmonize.py", "--megapixels", "1", "12"]],
    "command": [["command.py", "--megapixels", "1", "24", "--pictures", "10"]],
    "clips": [["clips.py", "--frames", "1", "16", "--ways", "python", "comfyui"]],
    "large": [["large.py", "--cases", "200 MP, 8-bit JPEG"]],
}


def run(command: list[str], threads: int) -> bool:
    """One benchmark, with its output below its name; whether it went well."""
    print(f"\n`{' '.join(command)}`\n", flush=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    return subprocess.run([sys.executable, str(HERE / command[0]), *command[1:]], env=environment, check=False).returncode == 0


def main() -> int:
    """Run what is asked for; 1 where a part failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", default=list(WHOLE), choices=list(WHOLE))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="cores that torch may use")
    given = parser.parse_args()
    parts = QUICK if given.quick else WHOLE
    return 0 if all([run(command, given.threads) for name in given.only for command in parts[name]]) else 1


if __name__ == "__main__":
    sys.exit(main())
