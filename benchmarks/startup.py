"""Time how long commands take that need no TensorFlow, or tell a mistake before they load it.

python benchmarks/startup.py

Best and median of ten, and the least processor time of all their threads.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

from edgenets.models.weights.sources import PRETRAINED

SQUEEZENET = str(PRETRAINED / "cifar10_squeezenet")
TO = ("--out", "never-written")
RUNS = 10
COMMANDS = (["--help"], ["list"], ["benchmark", "--help"], ["predict", "--help"])
MISTAKES = (
    ["run", "--set", "train.epoch=5"],
    ["run", "missing.yaml"],
    ["run", "--set", "data.source=missing"],
    ["train", "mobilnet_v1", "--data", "digits", *TO],
    ["train", "mobilenet_v1", "--data", "digits", "--weights", "missing.h5", *TO],
    ["train", "mobilenet_v1", "--data", "digits", "--teacher", "missing", *TO],
    ["compress", SQUEEZENET, "--recipe", "int9", "--data", "digits", *TO],
)


def seconds(arguments: list[str], status: int) -> tuple[float, float]:
    """Return the time on the clock and of the processor that a command takes."""
    before, start = os.times(), time.perf_counter()
    command = [sys.executable, "-m", "edgenets", *arguments]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    taken, after = time.perf_counter() - start, os.times()
    if done.returncode != status:
        raise SystemExit(f"{command} ended with {done.returncode}, not {status}")
    used = after.children_user - before.children_user
    return taken, used + after.children_system - before.children_system


def main() -> None:
    print("| command | best, s | median, s | processor, s |")
    print("|---|---|---|---|")
    for status, commands in enumerate((COMMANDS, MISTAKES)):
        for arguments in commands:
            clock, processor = zip(*(seconds(arguments, status) for _ in range(RUNS)), strict=True)
            name = " ".join(["edgenets", *arguments]).replace(SQUEEZENET, "MODEL_DIR")
            times = (min(clock), statistics.median(clock), min(processor))
            print(f"| `{name}` | {' | '.join(f'{each:.2f}' for each in times)} |")


if __name__ == "__main__":
    main()
