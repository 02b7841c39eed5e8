"""What a sweep saves by halving, what Ray costs, and that it goes on after any kill.

    python benchmarks/sweep.py halving SWEEP.yaml --out DIR [--workers 2]
    python benchmarks/sweep.py kill SWEEP.yaml --out DIR [--times 5] [--seed 0]
    python benchmarks/sweep.py ray SWEEP.yaml --out DIR [--workers 2]

`halving` does the sweep twice, once with all points run to their end, and compares the passes over
the training images and what was found. `kill` lets a sweep be killed at random times, gone on with,
and held against one that was not disturbed. `ray` does it by processes and by as many Ray nodes of
one CPU on this machine, and gives the times; with storage, these nodes share no folder. Stopped at
any time, the same command goes on; of `ray`, DIR must be new.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

import edgenets as en
from edgenets.pipeline.sweep.front import is_more_accurate
from edgenets.pipeline.sweep.store import Store
from edgenets.units import format_bytes, format_interval, format_percent

COMMAND = "from edgenets.cli.main import main; main()"


def halving(file: Path, out: Path, workers: int) -> None:
    values = yaml.safe_load(file.read_text())
    out.mkdir(parents=True, exist_ok=True)
    everything = out / "all.yaml"
    everything.write_text(yaml.safe_dump({**values, "halving": {"rungs": 0}}))
    found = {
        name: en.sweep(config, out=out / name, workers=workers).to_json()
        for name, config in (("halved", file), ("all", everything))
    }
    best = {name: best_of(result) for name, result in found.items()}
    for name, result in found.items():
        print(f"{name}: {result['epochs']} passes; {in_words(best[name])}")
    ratio = found["halved"]["epochs"] / found["all"]["epochs"]
    worse = is_more_accurate(best["all"], best["halved"])
    print(f"passes: {ratio:.3f} of all; accuracy: {'surely lower' if worse else 'not told apart'}")


def best_of(result: dict[str, Any]) -> dict[str, Any]:
    """Return the row to take for the first target."""
    row: dict[str, Any] = result["trials"][result["chosen"][result["config"]["targets"][0]]]
    return row


def in_words(row: dict[str, Any]) -> str:
    return (
        f"{row['net']} {row['arguments']} {row['recipe']}: top-1 {format_percent(row['top1'])} "
        f"({format_interval(row['ci95'])}), stored {format_bytes(row['stored_bytes'])}"
    )


def kill(file: Path, out: Path, times: int, seed: int) -> None:
    undisturbed = en.sweep(file, out=out / "undisturbed")
    chance = random.Random(seed)
    command = [sys.executable, "-c", COMMAND, "sweep", str(file), "--out", str(out / "killed")]
    kills = 0
    while kills < times:
        seconds = chance.uniform(10, 60)
        process = subprocess.Popen(command, start_new_session=True)
        try:
            if process.wait(timeout=seconds) == 0:
                break
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            print(f"killed after {seconds:.0f} s", flush=True)
            time.sleep(1)
    killed = en.sweep(file, out=out / "killed")
    same = [a == b for a, b in zip(undisturbed, killed, strict=True)]
    print(f"{kills} kills; {sum(same)} of {len(same)} trials are the same")
    print(f"epochs told twice: {twice(out / 'killed')}")


def twice(folder: Path) -> int:
    """Return how many epochs of trainings were completed more than once."""
    store, told = Store(folder), Counter[tuple[str, str]]()
    for trial in store.trials():
        log = store.folder_of(trial) / "log"
        lines = re.findall(r"^(\w+ \d+/\d+): loss", log.read_text(), re.MULTILINE)
        # Compression is a point's own; the training before it, that of all points of one net.
        told.update(
            (trial.point.net_key if line.startswith("train ") else trial.name, line)
            for line in lines
        )
    return sum(count > 1 for count in told.values())


def compare_with_ray(file: Path, out: Path, workers: int) -> None:
    print(
        "| by | to the first count | then, for each trial | processor in all |\n|---|---|---|---|"
    )
    timed(
        "processes", out / "processes", lambda folder: en.sweep(file, out=folder, workers=workers)
    )
    from ray.cluster_utils import Cluster

    for name, storage in (
        ("Ray, one folder", None),
        ("Ray, storage", f"file://{out.absolute()}/s"),
    ):

        def on_ray(folder: Path, storage: str | None = storage) -> None:
            cluster = Cluster()
            try:
                for i in range(workers):
                    cache = str(out.absolute() / f"cache{i}")
                    cluster.add_node(num_cpus=1, env_vars={"EDGENETS_CACHE": cache})
                en.sweep(file, out=folder, ray=cluster.address, storage=storage)
            finally:
                cluster.shutdown()

        timed(name, out / name.replace(", ", "-").replace(" ", "-"), on_ray)


def timed(name: str, folder: Path, sweep: Callable[[Path], Any]) -> None:
    """Print when the first point was counted, how long a trial took from then on, and of what."""
    began, first, used = time.monotonic(), list[float](), {0: 0.0}
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.25):
            used.update(processor_seconds(os.getpid()))
            journal = folder / "sweep.journal"  # begun when the folder is a sweep's
            if not first and journal.exists() and any(t.counted for t in Store(folder).trials()):
                first.append(time.monotonic() - began)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        sweep(folder)
    finally:
        seconds = time.monotonic() - began
        over.set()
        looker.join()
    each = (seconds - first[0]) / len(Store(folder).trials())
    print(f"| {name} | {first[0]:.1f} s | {each:.1f} s | {sum(used.values()):.0f} s |", flush=True)


def processor_seconds(process: int) -> dict[int, float]:
    """Return the processor time of each process that one has started, however indirectly."""
    used = {}
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it has ended
            for child in map(int, task.read_text().split()):
                fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
                used[child] = sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
                used |= processor_seconds(child)
    return used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("halving", "kill", "ray"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.what == "halving":
        halving(given.file, given.out, given.workers or 1)
    elif given.what == "ray":
        compare_with_ray(given.file, given.out, given.workers or 2)
    else:
        kill(given.file, given.out, given.times, given.seed)


if __name__ == "__main__":
    main()
