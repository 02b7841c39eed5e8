"""Compare what exports and a run cost with another checkout: processor time, side by side.

python benchmarks/export_cost.py /path/to/another/checkout [--runs N]

Each command is run with either checkout in turn; what its child processes use counts. Least and
median of N.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
NET = ("mobilenet_v1", "width=0.25", "resolution=96")
DATA = ("--data", "digits")
TRAIN = ("train", *NET, *DATA, "--epochs", "1")
SHORT = (
    "model={name: mobilenet_v1, width: 0.25, resolution: 32, output_stride: 8}",
    "train.epochs=1",
    "compress=[{stage: prune, sparsity: 0.5, epochs: 1}]",
    "benchmark.min_seconds=0.1",
)


def processor_seconds(checkout: Path, *arguments: str) -> float:
    """Return what a command of a checkout takes, and all that it starts."""
    before = os.times()
    command = [sys.executable, "-m", "edgenets", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(  # elsewhere: `-m` looks into the current folder first
        command, env=environment, cwd=tempfile.gettempdir(), capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr[-1000:]}")
    after = os.times()
    used = after.children_user - before.children_user
    return used + after.children_system - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    options.other = options.other.resolve()
    with tempfile.TemporaryDirectory() as folder:
        model, out = f"{folder}/model", f"{folder}/out"
        processor_seconds(HERE, *TRAIN, "--out", model)
        export = ("export", model, "--out", f"{folder}/net.tflite")
        commands = {
            "export --format int8": (*export, *DATA),
            "export --format fp32": (*export, "--format", "fp32"),
            "run, shortened": ("run", *(part for pair in SHORT for part in ("--set", pair))),
        }
        print("| command | other: least, s | median, s | here: least, s | median, s | here/other |")
        print("|---|---|---|---|---|---|")
        for name, arguments in commands.items():
            taken: dict[Path, list[float]] = {options.other: [], HERE: []}
            for number in range(options.runs):
                for checkout, times in taken.items():
                    own = ("--out", f"{out}{number}{len(str(checkout))}") if name[0] == "r" else ()
                    times.append(processor_seconds(checkout, *arguments, *own))
            figures = [f(times) for times in taken.values() for f in (min, statistics.median)]
            figures.append(figures[2] / figures[0])  # of the least: others' work only adds
            print(f"| {name} | {' | '.join(f'{figure:.2f}' for figure in figures)} |", flush=True)


if __name__ == "__main__":
    main()
