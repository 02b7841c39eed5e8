"""Latency and memory of a `.tflite` file on a device, measured in a fresh process of its own.

The process (`board/runner.py`) imports NumPy and the interpreter and little else, so that its
memory is the runtime's. It notes its resident memory, opens the file, fills the inputs with random
numbers from a fixed seed, times the first inference, warms up, and then times single inferences:
`invoke` alone, one thread unless asked.

- Warm-up goes on until the medians of two successive windows (at least 0.1 s and 3 runs each)
  differ by at most 2 %, but not longer than 5 s; `warm_up` says how many runs and which it was.
- Timed runs go on for at least 2 s and 100 runs, and end at 10,000 runs.
- The confidence interval of the median is `statistics.median_interval`.
- Peak memory is the process's peak resident memory after the first runs less its resident memory
  before it opened the file: activations, the interpreter's copies of weights, the pages of the file
  and of the interpreter's library that were used. Linux only; null elsewhere.
- Whether the machine was steady is `stability.judge`.
- Two files are compared in one process, in random order run by run, and opened anew `OPENINGS`
  times; the interval of the ratio is `statistics.ratio_of_medians`.

docs/reference/benchmark.md says why.

Source: MLPerf Tiny and MLPerf Mobile rules (single stream, warm-up, minimum duration and count).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

import edgenets
from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.export.devices.device import LOCAL, Device
from edgenets.export.devices.interpreter import refuse_compiled
from edgenets.export.devices.local import EmulatedSession
from edgenets.export.devices.opening import check_device, open_device
from edgenets.export.devices.session import Report, Session
from edgenets.export.measure import instructions, statistics
from edgenets.export.measure.defaults import MIN_RUNS, MIN_SECONDS, THREADS
from edgenets.export.measure.per_op import group_parts, profile_operators, time_in_turn
from edgenets.export.measure.stability import judge
from edgenets.export.metadata import check_end
from edgenets.files import read_bytes
from edgenets.progress import Advance, progress_bar
from edgenets.results.benchmark import Benchmark, FailedBenchmark, Latency, StoredFile

OPENINGS = 10


def benchmark_file(
    path: Path,
    threads: int = THREADS,
    min_seconds: float = MIN_SECONDS,
    *,
    min_runs: int = MIN_RUNS,
    versus: Path | None = None,
    delegate: str | None = None,
    device: Device = LOCAL,
    setup: bool = False,
    per_op: bool = False,
    patience_seconds: float | None = None,
) -> Benchmark:
    """Measure latency and peak memory of a `.tflite` file; the module's docstring has the method.

    Args:
        path: of the file.
        threads: of the interpreter.
        min_seconds: that the timed runs take, at least.
        min_runs: timed runs, at least.
        versus: another file to compare with.
        delegate: "edgetpu", or None.
        device: where; on an emulated one nothing is timed (see `instructions.measure`).
        setup: install what the board lacks first.
        per_op: measure operators, too.
        patience_seconds: as for `open_device`.

    Returns:
        `edgenets` (version), `model` (name, sha256, size_bytes), `device`, `runtime` (name,
        version, delegate, numpy), `threads`, `latency_ms` (median, mean, p90, p99, ci95),
        `samples_ms` in order, `warm_up` (runs, stable), `stability` (as `judge` returns it),
        `load_ms`, `first_ms`, `peak_memory_bytes`; `instructions`, `energy_mj` and `ops`, which are
        null, null and empty where they are not measured. With `per_op` also what
        `per_op.profile_operators` returns. With `versus` also that: the other's `model`,
        `latency_ms`, `samples_ms`, `load_ms`, `first_ms` and `peak_memory_bytes`; `opening_runs`,
        how many samples each opening has; `ratio`: its median over this file's, with `ci99`;
        `faster`: "this", "other", or null where the interval holds 1.

    Raises:
        EdgenetsError: a file is damaged, the interpreter refuses it or dies of it, or the device
            cannot be used.
    """
    _read_files(path, versus, delegate)  # before a device is looked for
    with progress_bar(f"benchmark {path.name}", total=100) as advance:
        report = _report_to(advance)
        with open_device(device, setup=setup, patience_seconds=patience_seconds) as session:
            return measure(
                session, path, threads, min_seconds, min_runs, versus, delegate, per_op, report
            )


def benchmark_on_devices(
    path: Path, devices: Sequence[Device], **settings: Any
) -> list[Benchmark | FailedBenchmark]:
    """Measure a file on several devices at once; one that fails does not disturb the others.

    Args:
        path: of the file.
        devices: where.
        settings: those of `benchmark_file`.

    Returns:
        What was measured on each device, or why nothing was.

    Raises:
        EdgenetsError: a file is damaged.
    """
    _read_files(path, settings.get("versus"), settings.get("delegate"))
    sessions: list[Session] = []
    stop = Event()
    opening = {
        "setup": settings.pop("setup", False),
        "patience_seconds": settings.pop("patience_seconds", None),
    }

    def measure_one(device: Device, report: Report) -> Benchmark | FailedBenchmark:
        try:
            with open_device(device, **opening) as session:
                sessions.append(session)
                if stop.is_set():
                    raise EdgenetsError("interrupted")
                return measure(session, path, **settings, report=report)
        except EdgenetsError as error:
            return FailedBenchmark({"name": device.name}, str(error))

    with (
        progress_bar(f"benchmark {path.name}", total=100 * len(devices)) as advance,
        ThreadPoolExecutor(len(devices)) as pool,
    ):
        futures = [pool.submit(measure_one, device, _report_to(advance)) for device in devices]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:  # Ctrl-C: what runs elsewhere must end too
            stop.set()
            for session in sessions:
                session.close()
            raise
    return [future.result() for future in futures]


def measure(
    session: Session,
    path: Path,
    threads: int = THREADS,
    min_seconds: float = MIN_SECONDS,
    min_runs: int = MIN_RUNS,
    versus: Path | None = None,
    delegate: str | None = None,
    per_op: bool = False,
    report: Report = lambda percent: None,
) -> Benchmark:
    """Do in an open session what `benchmark_file` says."""
    if isinstance(session, EmulatedSession):
        if versus or delegate:
            raise EdgenetsError(
                f"{session.name} counts instructions and times nothing; leave --vs and --delegate "
                "out, or measure on another device"
            )
        return instructions.measure(session, path, threads, per_op)
    files = [path] if versus is None else [path, versus]
    models = _read_files(path, versus, delegate)
    check_device(session, sum(model.size_bytes for model in models), delegate)
    for file in files:
        session.put(str(file), file)
    job = {
        "do": "time",
        "files": [str(file) for file in files],
        "min_seconds": min_seconds,
        "min_runs": min_runs,
        "openings": 1 if versus is None else OPENINGS,
    }
    stages = 2 if per_op else 1
    content = read_bytes(path)
    groups = group_parts(content, models[0]) if per_op else None  # before anything takes time
    (measured,) = session.ask(
        [job],
        threads=threads,
        delegate=delegate,
        report=lambda percent: report(percent // stages),
    )
    this, *others = (
        _describe(file, row) for file, row in zip(files, measured["files"], strict=True)
    )
    operators: dict[str, Any] = {"ops": ()}
    if per_op:
        time_groups = partial(
            time_in_turn,
            session,
            threads=threads,
            min_seconds=min_seconds,
            delegate=delegate,
            report=lambda percent: report(50 + percent // stages),
        )
        operators = profile_operators(content, time_groups, groups)
    return Benchmark(
        edgenets=edgenets.__version__,
        **this,
        device={"name": session.name, **measured["device"]},
        runtime=measured["runtime"],
        threads=threads,
        warm_up=measured["warm_up"],
        stability=judge(measured, this["samples_ms"]),
        instructions=None,
        energy_mj=None,
        versus=_compare(this, others[0], measured["opening_runs"]) if others else None,
        **operators,
    )


def _describe(path: Path, row: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a benchmark that are of one file, of the two that are compared."""
    samples_ms = row["samples_ms"]
    return {
        **row,
        "model": StoredFile.of(path),
        "latency_ms": Latency(
            median=statistics.median(samples_ms),
            mean=float(np.mean(samples_ms)),
            p90=statistics.p90(samples_ms),
            p99=statistics.p99(samples_ms),
            ci95=statistics.median_interval(samples_ms),
        ),
        "samples_ms": tuple(samples_ms),
    }


def _compare(
    this: dict[str, Any], other: dict[str, Any], opening_runs: list[int]
) -> dict[str, Any]:
    ends = np.cumsum(opening_runs)[:-1]
    first, second = (np.split(np.asarray(row["samples_ms"]), ends) for row in (this, other))
    ratio, low, high = statistics.ratio_of_medians(first, second)
    return {
        **other,
        "model": other["model"].to_json(),
        "latency_ms": other["latency_ms"].to_json(),
        "samples_ms": list(other["samples_ms"]),
        "opening_runs": opening_runs,
        "ratio": {"median": ratio, "ci99": [low, high]},
        "faster": "this" if low > 1 else "other" if high < 1 else None,
    }


def _read_files(path: Path, versus: Path | None, delegate: str | None) -> list[flatbuffer.Model]:
    models = []
    for file in [path] if versus is None else [path, versus]:
        content = read_bytes(file)
        model = flatbuffer.read(content, str(file))
        try:
            check_end(content)
        except EdgenetsError as error:
            raise EdgenetsError(f"{file}: {error}") from error
        models.append(model)
        _check_delegate(file, models[-1], delegate)
    return models


def _check_delegate(path: Path, model: flatbuffer.Model, delegate: str | None) -> None:
    compiled = model.compiled == flatbuffer.EDGE_TPU_OPERATOR
    if not compiled:
        refuse_compiled(model, str(path))
    elif delegate is None:
        raise EdgenetsError(
            f"{path} is compiled for the Edge TPU: add --delegate edgetpu, or pass the file that "
            "it was compiled from"
        )
    if delegate == "edgetpu" and not compiled:
        raise EdgenetsError(
            f"{path} holds nothing for the Edge TPU: compile it first with: edgetpu_compiler {path}"
        )


def _report_to(advance: Advance) -> Report:
    """Return a function that is told per cents, which only grow, and moves a bar of 100 steps."""
    shown = 0

    def report(percent: int) -> None:
        nonlocal shown
        advance(max(0, percent - shown))
        shown = max(shown, percent)

    return report
