"""Kill either of two workers of a training, again and again, and compare with an undisturbed one.

    python benchmarks/kill_workers.py [--kills N] [--out DIR]

Each worker is killed N times with SIGKILL, each time a moment after an epoch's end that is drawn
anew; then the same command is given again. It passes when every call was ended in a sentence, no
epoch but the one amid which the kill came was trained twice, and the weights are those of the
undisturbed training, bit for bit.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

EPOCH = re.compile(r"^train (\d+)/", re.MULTILINE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=5, help="of each worker")
    parser.add_argument("--out", type=Path, default=Path("runs/kill_workers"))
    arguments = parser.parse_args()
    shutil.rmtree(arguments.out, ignore_errors=True)
    epochs = 2 * arguments.kills + 2
    undisturbed, killed = arguments.out / "undisturbed", arguments.out / "killed"
    for line in start(undisturbed, epochs).stderr or ():
        print(line, end="", file=sys.stderr)
    rng, done = random.Random(0), 0
    for kill in range(2 * arguments.kills):
        done = kill_after_an_epoch(start(killed, epochs), kill % 2, rng.uniform(0, 1.5), done)
        print(f"worker {kill % 2} was killed with {done} epochs done", flush=True)
    training = start(killed, epochs)
    _, said = training.communicate()
    trained = [int(number) for number in EPOCH.findall(said)]
    if training.returncode or trained != list(range(done + 1, epochs + 1)):
        sys.exit(f"the last call trained the epochs {trained} after {done}")
    weights = [(folder / "weights.safetensors").read_bytes() for folder in (undisturbed, killed)]
    if weights[0] != weights[1]:
        sys.exit("the weights differ from those of the undisturbed training")
    print("no epoch was trained twice, and the weights are those of the undisturbed training")


def start(out: Path, epochs: int) -> subprocess.Popen[str]:
    command = [
        *(sys.executable, "-m", "edgenets", "train", "mobilenet_v1", "width=0.25"),
        *("resolution=16", "output_stride=8", "--data", "digits", "--epochs", str(epochs)),
        *("--workers", "2", "--out", str(out)),
    ]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def kill_after_an_epoch(
    training: subprocess.Popen[str], worker: int, seconds: float, done: int
) -> int:
    """Kill a worker so many seconds after the next epoch's end; return how many epochs are done."""
    assert training.stderr is not None
    trained: list[int] = []
    for line in training.stderr:
        trained += map(int, EPOCH.findall(line))
        if trained:
            break
    time.sleep(seconds)
    workers = Path(f"/proc/{training.pid}/task/{training.pid}/children").read_text().split()
    os.kill(int(workers[worker]), signal.SIGKILL)
    said = training.stderr.read()
    trained += map(int, EPOCH.findall(said))
    if training.wait() != 1 or f"worker {worker} ended with status -9" not in said:
        sys.exit(f"after the kill of worker {worker} the command said: {said}")
    if trained != list(range(done + 1, done + 1 + len(trained))):
        sys.exit(f"the epochs {trained} were trained after {done}")
    return trained[-1]


if __name__ == "__main__":
    main()
