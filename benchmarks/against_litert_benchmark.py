"""Compare `edgenets benchmark` with LiteRT's own `litert-benchmark`, runs alternating.

    python benchmarks/against_litert_benchmark.py FILE.tflite ...

Prints for each file both medians (the median over the rounds) and how far apart they are. LiteRT's
tool rounds to 0.01 ms, which is 8 % of a small net's latency; it is run without that.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from edgenets.export.measure.benchmark import benchmark_file

# LiteRT's tool, but that `round` leaves numbers as they are.
UNROUNDED = (
    "from ai_edge_litert.tools import benchmark_litert_model as tool;"
    "tool.round = lambda value, digits: value;"
    "tool.main()"
)
WARM_UP_RUNS = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.tflite")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print("| file | edgenets, ms | litert-benchmark, ms | difference |")
    print("|---|---|---|---|")
    for path in arguments.files:
        ours, theirs = [], []
        for _ in range(arguments.rounds):
            result = benchmark_file(path)
            ours.append(result.latency_ms.median)
            theirs.append(litert_median_ms(path, len(result.samples_ms)))
        difference = median(ours) / median(theirs) - 1
        print(
            f"| {path.name} | {median(ours):.4g} ({min(ours):.4g} to {max(ours):.4g}) "
            f"| {median(theirs):.4g} ({min(theirs):.4g} to {max(theirs):.4g}) "
            f"| {difference:+.1%} |",
            flush=True,
        )


def litert_median_ms(path: Path, runs: int) -> float:
    """Return the median that LiteRT's tool measures on one thread, in a process of its own."""
    with tempfile.NamedTemporaryFile(suffix=".json") as result:
        command = [sys.executable, "-c", UNROUNDED, f"--model={path}", f"--num_runs={runs}"]
        command += [f"--warmup_runs={WARM_UP_RUNS}", f"--result_json={result.name}"]
        subprocess.run(command, check=True, capture_output=True)
        return float(json.loads(Path(result.name).read_text())["latency"]["median_ms"])


if __name__ == "__main__":
    main()
