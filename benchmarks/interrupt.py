"""Kill a run with SIGKILL in each stage, start it again, and compare with an undisturbed run.

    python benchmarks/interrupt.py [--stages train,prune,share,qat,export,benchmark] [--out DIR]

A run is killed once in every named stage: in a training stage after its first checkpoint. It passes
when the run then completes, no finished stage was made again, and report.json equals the other
run's in everything but what was timed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

CONFIG = """\
model: {name: mobilenet_v1, width: 0.25, resolution: 32, output_stride: 8}
train: {epochs: 12}
compress:
  - {stage: prune, epochs: 3}
  - {stage: qat, epochs: 3}
  - {stage: share, epochs: 3}
benchmark: {min_seconds: 2}
"""
STAGES = ("train", "prune", "qat", "share", "export", "benchmark")
TRAINING = ("train", "prune", "qat", "share")
TIMED = ("seconds", "latency_ms", "benchmark")
TIMEOUT_SECONDS = 600


def start(config: Path, out: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "edgenets", "run", str(config), "--out", str(out), "--json"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)


def finish(config: Path, out: Path) -> None:
    if start(config, out).wait(TIMEOUT_SECONDS) != 0:
        sys.exit(f"the run in {out} failed")


def kill_in(stage: str, config: Path, out: Path) -> None:
    """Start the run and kill it, with all it started, in the middle of `stage`."""
    wanted = "checkpoint.safetensors" if stage in TRAINING else "key"
    process = start(config, out)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not list(out.glob(f"stages/.*-{stage}.partial/{wanted}")):
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"the run in {out} ended before it could be killed in {stage}")
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    print(f"killed in {stage}", flush=True)


def finished_stages(out: Path) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for file in out.glob("stages/[!.]*/stage.json")}


def without_times(report: dict) -> dict:
    kept = {key: value for key, value in report.items() if key not in TIMED}
    kept["stages"] = [{**stage, "seconds": None} for stage in report["stages"]]
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stages", default=",".join(STAGES))
    parser.add_argument("--out", type=Path, default=Path("runs/interrupt"))
    parser.add_argument("--config", type=Path, help="another config than the built-in one")
    arguments = parser.parse_args()
    out = arguments.out
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    config = arguments.config or out / "interrupt.yaml"
    if not arguments.config:
        config.write_text(CONFIG)
    finish(config, out / "undisturbed")
    before: dict[str, int] = {}
    for stage in arguments.stages.split(","):
        kill_in(stage, config, out / "killed")
        after = finished_stages(out / "killed")
        if any(after.get(file) != made for file, made in before.items()):
            sys.exit(f"a finished stage was made again after the kill in {stage}")
        before = after
    finish(config, out / "killed")
    after = finished_stages(out / "killed")
    if any(after[file] != made for file, made in before.items()):
        sys.exit("a finished stage was made again by the last run")
    reports = [
        without_times(json.loads((out / name / "report.json").read_text()))
        for name in ("undisturbed", "killed")
    ]
    if reports[0] != reports[1]:
        differing = [key for key in reports[0] if reports[0][key] != reports[1][key]]
        sys.exit(f"the reports differ in {', '.join(differing)}")
    print("the killed run completed, repeated nothing, and its report equals the undisturbed one")


if __name__ == "__main__":
    main()
