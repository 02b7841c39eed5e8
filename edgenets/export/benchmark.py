"""Latency and memory of a `.tflite` file on this machine, measured in a fresh process of its own.

The process imports NumPy and the interpreter and little else, so that its memory is the runtime's.
It notes its resident memory, opens the file, fills the inputs with random numbers from a fixed
seed, times the first inference, warms up, and then times single inferences: `invoke` alone, one
thread unless asked.

- Warm-up goes on until the medians of two successive windows (at least 0.1 s and 3 runs each)
  differ by at most 2 %, but not longer than 5 s; `warm_up` says how many runs and which it was.
- Timed runs go on for at least 2 s and 100 runs, and end at 10,000 runs.
- The confidence interval of the median is `statistics.median_interval`.
- Peak memory is the process's peak resident memory after the runs less its resident memory before
  it opened the file: activations, the interpreter's copies of weights, the pages of the file and of
  the interpreter's library that were used. Linux only; null elsewhere.

Source: MLPerf Tiny and MLPerf Mobile rules (single stream, warm-up, minimum duration and count).
"""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

import edgenets
from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.export import statistics
from edgenets.export.runtime import (
    CLASSIFIER_DTYPES,
    interpreter_errors,
    load_runtime,
    open_interpreter,
)
from edgenets.files import sha256_file
from edgenets.progress import progress_bar

MIN_SECONDS = 2.0
MIN_RUNS = 100
MAX_RUNS = 10_000
WINDOW_SECONDS = 0.1
WINDOW_RUNS = 3
STABLE_WITHIN = 0.02
WARM_UP_SECONDS = 5.0
SECONDS_PER_REPORT = 0.5
SEED = 0


def benchmark_file(
    path: Path, threads: int = 1, min_seconds: float = MIN_SECONDS
) -> dict[str, Any]:
    """Measure latency and peak memory of a `.tflite` file; the module's docstring has the method.

    Returns:
        `model` (name, sha256, size_bytes), `device`, `runtime` (name, version), `threads`,
        `latency_ms` (median, mean, p90, ci95), `samples_ms` in order, `warm_up` (runs, stable),
        `load_ms`, `first_ms`, `peak_memory_bytes`; `instructions` and `ops` are null and empty:
        only an emulated device counts the one, and the other is not measured yet.

    Raises:
        EdgenetsError: the file is damaged, or the interpreter refuses it or dies of it.
    """
    model = flatbuffer.read(path)
    measured = _measure_in_a_fresh_process(path, threads, min_seconds)
    samples_ms = measured["samples_ms"]
    low, high = statistics.median_interval(samples_ms)
    return {
        "model": {"name": path.name, "sha256": sha256_file(path), "size_bytes": model.size_bytes},
        "device": {"name": "local", **measured["device"]},
        "runtime": measured["runtime"],
        "threads": threads,
        "latency_ms": {
            "median": statistics.median(samples_ms),
            "mean": float(np.mean(samples_ms)),
            "p90": statistics.p90(samples_ms),
            "ci95": [low, high],
        },
        "samples_ms": samples_ms,
        "warm_up": measured["warm_up"],
        "load_ms": measured["load_ms"],
        "first_ms": measured["first_ms"],
        "peak_memory_bytes": measured["peak_memory_bytes"],
        "instructions": None,
        "ops": [],
    }


def _measure_in_a_fresh_process(path: Path, threads: int, min_seconds: float) -> dict[str, Any]:
    """Run this module as a script; it prints JSON lines: percentages, then a result or an error."""
    request = json.dumps([str(path.absolute()), threads, min_seconds])
    command = [sys.executable, "-m", "edgenets.export.benchmark", request]
    package_folder = Path(edgenets.__file__).parents[1]  # not the user's, which may shadow modules
    answer: dict[str, Any] = {}
    shown = 0
    with (
        tempfile.TemporaryFile("w+") as messages,
        subprocess.Popen(
            command, cwd=package_folder, stdout=subprocess.PIPE, stderr=messages, text=True
        ) as process,
        progress_bar(f"benchmark {path.name}", total=100) as advance,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                answer = json.loads(line)
                percent = answer.get("percent", 100)
                advance(percent - shown)
                shown = percent
            process.wait()
        finally:
            process.kill()
        messages.seek(0)
        last_message = (messages.read().splitlines() or ["no message"])[-1]
    if "error" in answer:
        raise EdgenetsError(answer["error"])
    if "result" not in answer:
        raise EdgenetsError(
            f"the process that runs {path} {_ending(process.returncode)} ({last_message})"
        )
    result: dict[str, Any] = answer["result"]
    return result


def _ending(returncode: int) -> str:
    if returncode == -signal.SIGKILL:
        return "was killed by SIGKILL: the machine may have run out of memory"
    if returncode < 0:
        return f"crashed with {signal.Signals(-returncode).name}: the file breaks the interpreter"
    return f"ended with status {returncode}"


def measure(path: Path, threads: int, min_seconds: float) -> dict[str, Any]:
    """Measure in this process, which must have run nothing else before; times in ms.

    Raises:
        EdgenetsError: the interpreter refuses the file.
    """
    runtime = load_runtime()
    np.random.default_rng()  # loads what the inputs need
    _forget_peak_memory()
    memory_before = _memory_bytes("VmRSS")

    start = time.perf_counter_ns()
    interpreter = open_interpreter(path, threads)
    load_ms = _ms_since(start)
    _fill_inputs(interpreter, path)
    with interpreter_errors(path):
        (first_ms,) = _time_runs(interpreter.invoke, min_seconds=0, min_runs=1)
    warm_up = _warm_up(interpreter.invoke)
    samples_ms = _time_runs(interpreter.invoke, min_seconds, MIN_RUNS, report=_report)
    peak_memory = _memory_bytes("VmHWM")
    return {
        "device": describe_device(),
        "runtime": {"name": runtime.name, "version": runtime.version},
        "load_ms": load_ms,
        "first_ms": first_ms,
        "warm_up": warm_up,
        "samples_ms": samples_ms,
        "peak_memory_bytes": peak_memory - memory_before if peak_memory and memory_before else None,
    }


def describe_device() -> dict[str, Any]:
    """Return this machine's architecture, processor or board (None: unknown), cores and system."""
    return {
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _time_runs(
    invoke: Callable[[], None],
    min_seconds: float,
    min_runs: int,
    report: Callable[[float], None] = lambda done: None,
) -> list[float]:
    samples_ms: list[float] = []
    begin = reported = time.perf_counter()
    while len(samples_ms) < MAX_RUNS:
        start = time.perf_counter_ns()
        invoke()
        samples_ms.append(_ms_since(start))
        now = time.perf_counter()
        if len(samples_ms) >= min_runs and now - begin >= min_seconds:
            break
        if now - reported >= SECONDS_PER_REPORT:
            reported = now
            report(min(len(samples_ms) / min_runs, (now - begin) / max(min_seconds, 1e-9)))
    return samples_ms


def _warm_up(invoke: Callable[[], None]) -> dict[str, Any]:
    begin = time.perf_counter()
    runs, stable = 0, False
    medians: list[float] = []
    while len(medians) < 2 or not (stable or time.perf_counter() - begin > WARM_UP_SECONDS):
        window = _time_runs(invoke, WINDOW_SECONDS, WINDOW_RUNS)
        runs += len(window)
        medians.append(statistics.median(window))
        change = abs(medians[-1] - medians[-2]) if len(medians) > 1 else np.inf
        stable = bool(change <= STABLE_WITHIN * medians[-1])
    return {"runs": runs, "stable": stable}


def _fill_inputs(interpreter: Any, path: Path) -> None:
    random = np.random.default_rng(SEED)
    for tensor in interpreter.get_input_details():
        dtype, shape = np.dtype(tensor["dtype"]), tensor["shape"]
        if dtype.name not in CLASSIFIER_DTYPES:
            raise EdgenetsError(
                f"{path} takes {tensor['name']!r} in {dtype}; a benchmark feeds random "
                f"{', '.join(CLASSIFIER_DTYPES)}"
            )
        if dtype == np.float32:
            values = random.uniform(-1, 1, shape).astype(dtype)
        else:
            limits = np.iinfo(dtype)
            values = random.integers(limits.min, limits.max, shape, dtype, endpoint=True)
        interpreter.set_tensor(tensor["index"], values)


def _ms_since(start_ns: int) -> float:
    return (time.perf_counter_ns() - start_ns) / 1e6


def _forget_peak_memory() -> None:
    with suppress(OSError):  # not on this system: the peak may then be of the imports
        Path("/proc/self/clear_refs").write_text("5")


def _memory_bytes(field: str) -> int | None:
    # Not getrusage: its peak is inherited from the process that started this one.
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    found = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _processor() -> str | None:
    for source, pattern in (
        ("/proc/device-tree/model", r"(.+?)\0?$"),  # "Raspberry Pi 4 Model B Rev 1.4"
        ("/proc/cpuinfo", r"model name\s*: (.+)"),
    ):
        with suppress(OSError):
            if found := re.search(pattern, Path(source).read_text()):
                return found[1]
    return platform.processor() or None


def _report(done: float) -> None:
    print(json.dumps({"percent": round(100 * done)}), flush=True)


def _answer(request: str) -> None:
    path, threads, min_seconds = json.loads(request)
    try:
        answer = {"result": measure(Path(path), threads, min_seconds)}
    except EdgenetsError as error:
        print(json.dumps({"error": str(error)}))
    else:
        print(json.dumps(answer))


if __name__ == "__main__":
    _answer(sys.argv[1])
