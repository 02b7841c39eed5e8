"""Time how long the commands that need no TensorFlow take to start: best and median of ten.

python benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

COMMANDS = (["--help"], ["list"], ["benchmark", "--help"], ["predict", "--help"])
RUNS = 10


def seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    command = [sys.executable, "-m", "edgenets", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    print("| command | best, s | median, s |")
    print("|---|---|---|")
    for arguments in COMMANDS:
        runs = [seconds(arguments) for _ in range(RUNS)]
        name = " ".join(["edgenets", *arguments])
        print(f"| `{name}` | {min(runs):.2f} | {statistics.median(runs):.2f} |")


if __name__ == "__main__":
    main()
