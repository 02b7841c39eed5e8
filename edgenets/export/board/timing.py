"""Time single inferences of one file, or of several in one process and in random order.

Times are milliseconds of `invoke` alone, read from the system's monotonic clock.

Source: MLPerf Tiny and MLPerf Mobile rules (single stream, warm-up, minimum duration and count).
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from .interpreter import SEED, OpenFile, describe_runtime, load_runtime
from .machine import (
    describe_device,
    forget_peak_memory,
    kilobytes,
    look,
    np,
    seconds_since,
)
from .protocol import MAX_RUNS, report

WINDOW_SECONDS = 0.1
WINDOW_RUNS = 3
STABLE_WITHIN = 0.02
WARM_UP_SECONDS = 5.0
MOST_LOOKS = 1000
SECONDS_PER_REPORT = 0.5
"""Between two looks at the machine, which are also reports of progress."""


def time_files(
    request: dict[str, Any],
    files: Sequence[str],
    min_seconds: float,
    min_runs: int,
    openings: int = 1,
) -> dict[str, Any]:
    """Time single inferences of the files: all open in this process, in random order each round.

    Args:
        request: `files`, `threads`, `delegate`.
        files: names; the same one may come twice.
        min_seconds: that the timed runs of all files take together, at least.
        min_runs: of each file, at least; `MAX_RUNS` at most.
        openings: how often the files are opened anew. Where in memory a file comes to lie changes
            its latency; with several openings that is part of what is measured.

    Returns:
        `device`, `runtime`; `conditions`: before, during, after; `warm_up`; and `files`: for each
        its `samples_ms` in order, `load_ms`, `first_ms`, `peak_memory_bytes`; `opening_runs`: how
        many of the samples each opening has.

    Raises:
        RunnerError: an interpreter refuses a file.
    """
    load_runtime()
    shuffle = random.Random(SEED).shuffle
    np.random.default_rng()  # loads what the inputs need, before memory is looked at
    before = look(0.0)
    measured: list[dict[str, Any]] = [{"samples_ms": []} for _ in files]
    warm_up = {"runs": 0, "stable": True}
    during = Looks()
    opening_runs: list[int] = []
    begin = time.perf_counter()

    for opening in range(openings):
        nets = []
        for name, row in zip(files, measured, strict=True):
            net, figures = _open(name, request)
            nets.append(net)
            if opening == 0:
                row.update(figures)
            report(opening, openings, 0.0)
        warm = _warm_up(nets)
        warm_up["runs"] += warm["runs"]
        warm_up["stable"] = warm_up["stable"] and warm["stable"]
        during.take(seconds_since(begin))
        for net in nets:  # not counted, as after each look
            net.time()
        rounds = _time_rounds(
            nets,
            min_seconds / openings,
            -(-min_runs // openings),
            MAX_RUNS // openings,
            shuffle,
            partial(report, opening, openings),
            lambda: during.take(seconds_since(begin)),
        )
        opening_runs.append(len(rounds[0]))
        for row, samples_ms in zip(measured, rounds, strict=True):
            row["samples_ms"] += samples_ms
    return {
        "device": describe_device(),
        "runtime": describe_runtime(nets[0].runtime, request),
        "files": measured,
        "opening_runs": opening_runs,
        "warm_up": warm_up,
        "conditions": {
            "before": before,
            "during": during.taken,
            "after": look(seconds_since(begin)),
        },
    }


class Looks:
    """Looks at the machine in even distances, however long it is measured: fewer, farther apart.

    Attributes:
        taken: those that are kept, fewer than `MOST_LOOKS`.
    """

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self._due, self._apart = 0, 1

    def take(self, seconds: float) -> None:
        """Look, if it is time; `seconds` since the measurement began."""
        self._due += 1
        if self._due < self._apart:
            return
        self._due = 0
        self.taken.append(look(seconds))
        if len(self.taken) == MOST_LOOKS:
            del self.taken[::2]
            self._apart *= 2


def _open(name: str, request: dict[str, Any]) -> tuple[OpenFile, dict[str, Any]]:
    """Open a file and run it a few times; return what loading cost in time and memory."""
    forget_peak_memory()
    memory_before = kilobytes("/proc/self/status", "VmRSS")
    net = OpenFile(name, request["files"][name], request)
    first_ms = net.time()
    for _ in range(WINDOW_RUNS):
        net.time()
    peak = kilobytes("/proc/self/status", "VmHWM")
    return net, {
        "load_ms": net.load_ms,
        "first_ms": first_ms,
        "peak_memory_bytes": max(0, peak - memory_before) if peak and memory_before else None,
    }


def _time_rounds(
    nets: Sequence[Any],
    min_seconds: float,
    min_runs: int,
    max_runs: int,
    shuffle: Callable[[list[int]], None],
    report: Callable[[float], None],
    watch: Callable[[], None],
) -> list[list[float]]:
    samples_ms: list[list[float]] = [[] for _ in nets]
    order = list(range(len(nets)))
    begin = looked = time.perf_counter()
    while len(samples_ms[0]) < max_runs:
        shuffle(order)
        for i in order:
            samples_ms[i].append(nets[i].time())
        runs, seconds = len(samples_ms[0]), seconds_since(begin)
        if runs >= min_runs and seconds >= min_seconds:
            break
        if seconds_since(looked) >= SECONDS_PER_REPORT:
            report(min(runs / min_runs, seconds / max(min_seconds, 1e-9)))
            watch()
            for net in nets:  # not counted: what looked around has displaced the caches
                net.time()
            looked = time.perf_counter()
    return samples_ms


def _warm_up(nets: Sequence[Any]) -> dict[str, Any]:
    """Run until the medians of two successive windows agree for each net, or time is over."""
    begin = time.perf_counter()
    runs = 0
    last: list[float] = []
    nothing: Callable[..., None] = lambda *_: None  # noqa: E731
    while True:
        windows = _time_rounds(
            nets, WINDOW_SECONDS, WINDOW_RUNS, MAX_RUNS, nothing, nothing, nothing
        )
        runs += len(windows[0])
        medians = [statistics.median(window) for window in windows]
        if last:
            pairs = zip(medians, last, strict=True)
            stable = all(abs(new - old) <= STABLE_WITHIN * new for new, old in pairs)
            if stable or seconds_since(begin) > WARM_UP_SECONDS:
                return {"runs": runs, "stable": stable}
        last = medians
