"""Run the main job on the digits with seeds 0 to 4 and print the table of docs/evidence/results.md.

    python benchmarks/digits_seeds.py [--out runs/seeds]

About two minutes a seed on two cores; finished seeds are not run again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

SEEDS = range(5)


def run_seed(seed: int, out: Path) -> dict:
    command = [sys.executable, "-m", "edgenets", "run", "--set", f"seed={seed}", "--json"]
    result = subprocess.run(
        [*command, "--out", str(out / f"seed-{seed}")], check=True, stdout=subprocess.PIPE
    )
    return json.loads(result.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/seeds"))
    out = parser.parse_args().out
    print("| seed | float top-1 | pruned | shared | int8 file | loss, points | zeros | stored |")
    print("|---|---|---|---|---|---|---|---|")
    floats, losses = [], []
    for seed in SEEDS:
        report = run_seed(seed, out)
        stages = {stage["name"]: stage for stage in report["stages"]}
        top1 = {name: 100 * stage["top1"] for name, stage in stages.items()}
        floats.append(top1["train"])
        losses.append(top1["train"] - top1["export"])
        shown = ("train", "prune", "share", "export")
        accuracies = " | ".join(f"{top1[name]:.2f}" for name in shown)
        print(
            f"| {seed} | {accuracies} | {losses[-1]:+.2f} | {stages['export']['sparsity']:.1%} | "
            f"{report['reduction']['stored_vs_float']:.2f}x |",
            flush=True,
        )
    print(
        f"\nMean over {len(floats)} seeds, 360 test images each: float {sum(floats) / 5:.2f} %, "
        f"loss to int8 {sum(losses) / 5:+.2f} points."
    )


if __name__ == "__main__":
    main()
