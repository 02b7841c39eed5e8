"""What runs on a device: time `.tflite` files, or run them on given inputs, in a fresh process.

The one file that is copied to a board. It needs NumPy and an interpreter, nothing of edgenets, and
is started as `python runner.py` with one JSON request on stdin; on stdout come JSON objects, one a
line, and nothing else:

    {"request": 7, "files": {NAME: PATH, ...}, "threads": 1, "delegate": null,
     "jobs": [{"do": "time", ...}, ...]}

    {"request": 7, "percent": 42}               of the job that runs
    {"request": 7, "result": {...}}             one for each job, in order
    {"request": 7, "error": "one sentence"}     in place of a result; no job follows

Answers carry their request's number, so that nothing of an earlier one is taken for the present
one's; `answers.py` says what may be in them. A job is a row of `JOBS` with the arguments of its
function; it names files as the request does.

- `probe`: what the machine is and which interpreter is picked.
- `time`: single inferences of one file, or of several in one process and in random order.
- `run`: exactly so many inferences, and what the network returned.
- `plan`: the steps that the interpreter takes; operators handed to a delegate are one step.
- `count`: instructions of an inference, where an emulator counts them.

Times are milliseconds of `invoke` alone, read from the system's monotonic clock. Inputs are random
numbers from a fixed seed unless given.

Source: MLPerf Tiny and MLPerf Mobile rules (single stream, warm-up, minimum duration and count).
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":  # beside it in the package is a module named as one of Python's own
    sys.path[:] = [entry for entry in sys.path if Path(entry) != Path(__file__).parent]

import base64
import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import random
import re
import shutil
import statistics
import struct
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

try:
    import resource
except ImportError:  # not on this system: memory is then not limited
    resource = None  # type: ignore[assignment]
try:
    import numpy as np
except ImportError:  # a board that is not set up: `probe` says so
    np = None  # type: ignore[assignment]

# Distribution -> package, in order of preference.
RUNTIMES = {"ai-edge-litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime"}
DELEGATES = {"edgetpu": "libedgetpu.so.1"}
INPUT_DTYPES = ("float32", "int8", "uint8", "int16")
"""That random inputs are made in."""
SEED = 0

WINDOW_SECONDS = 0.1
WINDOW_RUNS = 3
STABLE_WITHIN = 0.02
WARM_UP_SECONDS = 5.0
MAX_RUNS = 10_000
MARK = 0x7ED6E001
"""As in instructions.c."""
MOST_MORE_RUNS = 20
ENOUGH_INSTRUCTIONS = 100_000_000
SECONDS_PER_REPORT = 0.5
"""Between two looks at the machine, which are also reports of progress."""
SECONDS_PER_SIGN = 10.0
"""Of life, while pip installs."""
MOST_TEXT = 1000
"""Characters of an error."""

# Bits of `vcgencmd get_throttled`: live ones; the same 16 higher say "since the board started".
THROTTLED = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")


class RunnerError(Exception):
    """A failure a user can act on: the message is one sentence."""


class Runtime(NamedTuple):
    """An installed interpreter of `.tflite` files."""

    name: str
    version: str
    interpreter: Any  # the class


def load_runtime() -> Runtime:
    """Import the preferred interpreter: ai-edge-litert's if it is there, else tflite-runtime's.

    Raises:
        RunnerError: none can be imported, or NumPy does not fit it.
    """
    if np is None:
        raise RunnerError("NumPy cannot be imported; run: pip install numpy ai-edge-litert")
    failures = []
    for name, package in RUNTIMES.items():
        if name == "tflite-runtime" and _major(np.__version__) >= 2 and _is_there(package):
            raise RunnerError(  # the import would end in a traceback of C code
                f"tflite-runtime needs NumPy 1, and {np.__version__} is installed; run: "
                "pip install 'numpy<2', or where it exists: pip install ai-edge-litert"
            )
        try:
            module = importlib.import_module(f"{package}.interpreter")
        except ImportError as error:
            failures.append(f"{name}: {error}")
        else:
            return Runtime(name, _version(name), module.Interpreter)
    raise RunnerError(
        f"no interpreter for .tflite files can be imported ({'; '.join(failures)}); run: "
        "pip install ai-edge-litert, or on armv7: pip install 'edgenets[tflite-runtime]'"
    )


def load_other_runtimes(preferred: str) -> list[Runtime]:
    """Import the interpreters that are installed beside the preferred one and fit NumPy."""
    found = []
    for name, package in RUNTIMES.items():
        fits = name != "tflite-runtime" or _major(np.__version__) < 2
        if name != preferred and fits and _is_there(package):
            module = importlib.import_module(f"{package}.interpreter")
            found.append(Runtime(name, _version(name), module.Interpreter))
    return found


def refusal(runtime: Runtime, name: str, error: Exception) -> str:
    """Return the sentence for what an interpreter raised."""
    if isinstance(error, MemoryError):
        return (
            f"there is not enough memory for {name} in {runtime.name} {runtime.version}; "
            "end other programs there, or take a smaller net"
        )
    reason = " ".join(str(error).split()).rstrip(".")
    return (
        f"{runtime.name} {runtime.version} cannot run {name}: {reason}; "
        "export it again, or for another target"
    )


@contextmanager
def refusals(runtime: Runtime, name: str) -> Iterator[None]:
    """Turn what an interpreter raises inside the block into a `RunnerError`."""
    try:
        yield
    except (ValueError, RuntimeError, MemoryError) as error:
        raise RunnerError(refusal(runtime, name, error)) from error


class OpenFile:
    """An open file, its inputs filled.

    Args:
        name: of the file, for messages.
        path: of the file.
        request: its `threads` and `delegate`.
        fills: whether its inputs are filled, as is needed to run it.

    Attributes:
        load_ms: to open the file and reserve its tensors.

    Raises:
        RunnerError: the interpreter or the delegate refuses the file.
    """

    def __init__(
        self, name: str, path: str, request: dict[str, Any], *, fills: bool = True
    ) -> None:
        self.name = name
        self.runtime = load_runtime()
        delegates = _load_delegates(self.runtime, request.get("delegate"))
        start = time.perf_counter_ns()
        with refusals(self.runtime, name):
            self.interpreter = self.runtime.interpreter(
                **_source(path),
                num_threads=request.get("threads", 1),
                experimental_delegates=delegates,
            )
            self.interpreter.allocate_tensors()
            self.load_ms = _ms_since(start)
            if fills:
                self._fill()

    def time(self) -> float:
        """Run once; return the milliseconds."""
        start = time.perf_counter_ns()
        try:
            self.interpreter.invoke()
        except (ValueError, RuntimeError, MemoryError) as error:
            raise RunnerError(refusal(self.runtime, self.name, error)) from error
        return _ms_since(start)

    def set_input(self, value: Any) -> None:
        """Fill the network's one input with an array of its shape, without the batch."""
        with refusals(self.runtime, self.name):
            (tensor,) = self.interpreter.get_input_details()
            self.interpreter.set_tensor(tensor["index"], value[np.newaxis])

    def outputs(self) -> list[Any]:
        """Return copies of the outputs."""
        with refusals(self.runtime, self.name):
            tensors = self.interpreter.get_output_details()
            return [self.interpreter.get_tensor(tensor["index"]) for tensor in tensors]

    def _fill(self) -> None:
        generator = np.random.default_rng(SEED)
        for tensor in self.interpreter.get_input_details():
            dtype, shape = np.dtype(tensor["dtype"]), tensor["shape"]
            if dtype.name not in INPUT_DTYPES:
                raise RunnerError(
                    f"{self.name} takes {tensor['name']!r} in {dtype}; a benchmark feeds random "
                    f"{', '.join(INPUT_DTYPES)}"
                )
            if dtype == np.float32:
                values = generator.uniform(-1, 1, shape).astype(dtype)
            else:
                limits = np.iinfo(dtype)
                values = generator.integers(limits.min, limits.max, shape, dtype, endpoint=True)
            self.interpreter.set_tensor(tensor["index"], values)


def probe(request: dict[str, Any]) -> dict[str, Any]:
    """Return what the machine is, and the interpreter that is picked or why there is none."""
    answer: dict[str, Any] = {"device": describe_device(), "runtime": None, "problem": None}
    try:
        runtime = load_runtime()
        answer["runtime"] = {"name": runtime.name, "version": runtime.version}
        _load_delegates(runtime, request.get("delegate"))
    except RunnerError as error:
        answer["problem"] = str(error)
    return answer


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
    during: list[dict[str, Any]] = []
    opening_runs: list[int] = []
    begin = time.perf_counter()

    def watch() -> None:
        during.append(look(_seconds_since(begin)))

    for opening in range(openings):
        nets = []
        for name, row in zip(files, measured, strict=True):
            net, figures = _open(name, request)
            nets.append(net)
            if opening == 0:
                row.update(figures)
            _report(opening, openings, 0.0)
        warm = _warm_up(nets)
        warm_up["runs"] += warm["runs"]
        warm_up["stable"] = warm_up["stable"] and warm["stable"]
        rounds = _time_rounds(
            nets,
            min_seconds / openings,
            -(-min_runs // openings),
            MAX_RUNS // openings,
            shuffle,
            partial(_report, opening, openings),
            watch,
        )
        opening_runs.append(len(rounds[0]))
        for row, samples_ms in zip(measured, rounds, strict=True):
            row["samples_ms"] += samples_ms
    return {
        "device": describe_device(),
        "runtime": _describe_runtime(nets[0].runtime, request),
        "files": measured,
        "opening_runs": opening_runs,
        "warm_up": warm_up,
        "conditions": {"before": before, "during": during, "after": look(_seconds_since(begin))},
    }


def run_file(
    request: dict[str, Any], file: str, runs: int | None = None, inputs: str | None = None
) -> dict[str, Any]:
    """Run one file exactly so often; return what it returned.

    Args:
        request: `files`, `threads`, `delegate`.
        file: name.
        runs: number of inferences, on the same random input; None: one for each of `inputs`.
        inputs: name of a `.npy` file, [n, ...] of the network's one input without its batch.

    Returns:
        `runtime`; `runs`; `outputs`: for each output its dtype, shape, [n, ...], n = 1 without
        `inputs`, and its bytes as base64; `sha256` of the outputs' bytes.

    Raises:
        RunnerError: the interpreter refuses the file, or it returns texts.
    """
    net = OpenFile(file, request["files"][file], request)
    rows = []
    if inputs is None:
        for _ in range(runs or 1):
            net.time()
        rows.append(net.outputs())
    else:
        values = np.load(request["files"][inputs], allow_pickle=False)
        reported = time.perf_counter()
        for i, value in enumerate(values):
            net.set_input(value)
            net.time()
            rows.append(net.outputs())
            if _seconds_since(reported) >= SECONDS_PER_REPORT:
                reported = time.perf_counter()
                _report(0, 1, i / len(values))
    outputs = [np.concatenate(column) for column in zip(*rows, strict=True)]
    return {
        "runtime": _describe_runtime(net.runtime, request),
        "runs": len(rows) if inputs else runs or 1,
        "outputs": [_sent(output, file) for output in outputs],
        "sha256": hashlib.sha256(b"".join(output.tobytes() for output in outputs)).hexdigest(),
    }


def plan_file(request: dict[str, Any], file: str) -> dict[str, Any]:
    """Return the steps that the interpreter takes for one file, which is not run.

    Returns:
        `runtime`; `steps`: for each its op_name, and its inputs and outputs, indices of tensors.

    Raises:
        RunnerError: the interpreter refuses the file.
    """
    net = OpenFile(file, request["files"][file], request, fills=False)
    with refusals(net.runtime, file):
        steps = net.interpreter._get_ops_details()  # as no public call tells
    return {
        "runtime": _describe_runtime(net.runtime, request),
        "steps": [
            {"op_name": step["op_name"], **{k: step[k].tolist() for k in ("inputs", "outputs")}}
            for step in steps
        ],
    }


def count_file(request: dict[str, Any], file: str, counter: str) -> dict[str, Any]:
    """Count the instructions of an inference of one file on the same random input.

    Args:
        request: `files`, `threads`, `delegate`.
        file: name.
        counter: the file that the emulator's plugin, instructions.c, writes.

    Returns:
        `runtime`, `instructions`.

    Raises:
        RunnerError: the interpreter refuses the file.
    """
    net = OpenFile(file, request["files"][file], request)
    with Path(counter).open("rb", buffering=0) as digits:

        def instructions() -> int:
            with suppress(ProcessLookupError):
                os.getsid(MARK)
            digits.seek(0)
            return int(digits.read(20))

        counted = instructions_per_inference(net.interpreter.invoke, instructions)
    _report(1, 1, 0.0)
    return {"runtime": _describe_runtime(net.runtime, request), "instructions": counted}


def instructions_per_inference(invoke: Callable[[], None], instructions: Callable[[], int]) -> int:
    """Return the instructions of one inference: of 1 + k of them less those of 1, over k.

    What the loop and the reading of the counter cost, some 10,000 instructions, cancels. k is 20
    for small networks and fewer where an inference takes over 5 million; from 100 million on, one
    inference is counted as it is. As many runs warm up: Python specializes what has run some times.
    """

    def cost(runs: int) -> int:
        start = instructions()
        for _ in range(runs):
            invoke()
        return instructions() - start

    more = min(MOST_MORE_RUNS, ENOUGH_INSTRUCTIONS // cost(1))
    if more == 0:
        return cost(1)
    cost(more)
    few = cost(1)
    return round((cost(1 + more) - few) / more)


def install(request: dict[str, Any], folder: str, packages: Sequence[str]) -> dict[str, Any]:
    """Make a virtual environment in `folder`, if there is none, and install `packages` into it.

    Raises:
        RunnerError: one of the steps fails.
    """
    home = Path(folder).expanduser()
    python = home / "bin" / "python3"
    this = os.environ.get("EDGENETS_PYTHON", sys.executable)  # `executable` may be an emulated one
    steps: list[tuple[str, ...]] = (
        [] if python.exists() else [("make a virtual environment", this, "venv", str(home))]
    )
    steps.append(
        (
            "install",
            str(python),
            "pip",
            "--disable-pip-version-check",
            "install",
            "--quiet",
            *packages,
        )
    )
    for what, program, module, *arguments in steps:
        status, output = _watched([program, "-m", module, *arguments])
        if status:
            lines = output.decode(errors="replace").strip().splitlines() or ["no message"]
            reason = next((line for line in lines if line.startswith("ERROR")), lines[-1])
            if module == "venv":
                shutil.rmtree(home, ignore_errors=True)
                reason += "; on Debian and Raspberry Pi OS run: sudo apt install python3-venv"
            raise RunnerError(f"cannot {what} in {home}: {reason}")
        _report(0, 1, 0.5)
    return {"folder": str(home)}


def _watched(command: Sequence[str]) -> tuple[int, bytes]:
    """Run a command that takes its time; give signs of life meanwhile. Return status and output."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        while True:
            try:
                output, _ = process.communicate(timeout=SECONDS_PER_SIGN)
                return process.returncode, output
            except subprocess.TimeoutExpired:
                _report(0, 1, 0.0)


# What a job does -> the function; its arguments are the job's other keys.
JOBS: dict[str, Callable[..., dict[str, Any]]] = {
    "probe": probe,
    "time": time_files,
    "run": run_file,
    "plan": plan_file,
    "count": count_file,
    "install": install,
}


def describe_device() -> dict[str, Any]:
    """Return the machine's architecture, processor or board, cores, memory; None: unknown."""
    return {
        "machine": platform.machine(),
        "bits": 8 * struct.calcsize("P"),  # of this process: a 64-bit kernel may have 32-bit ones
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": _kilobytes("/proc/meminfo", "MemTotal"),
        "free_memory_bytes": _kilobytes("/proc/meminfo", "MemAvailable"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__ if np is not None else None,
    }


def look(seconds: float) -> dict[str, Any]:
    """Return the machine's conditions at this moment; None or empty where it does not tell.

    `throttled` is what the firmware of a Raspberry Pi says: `now`, and `since_start` of the board.
    """
    policies = sorted(Path("/sys/devices/system/cpu/cpufreq").glob("policy*"))
    zones = sorted(Path("/sys/class/thermal").glob("thermal_zone*"))
    khz = [_text(policy / "scaling_cur_freq") for policy in policies]
    governors = {_text(policy / "scaling_governor") for policy in policies} - {None}
    return {
        "seconds": round(seconds, 3),
        "governor": ", ".join(sorted(map(str, governors))) or None,
        "frequency_mhz": [int(value) / 1000 for value in khz if value],
        "temperature_c": {
            str(_text(zone / "type")): int(value) / 1000
            for zone in zones
            if (value := _text(zone / "temp")) is not None
        },
        "throttled": _throttled(),
    }


def _throttled() -> dict[str, list[str]] | None:
    if not shutil.which("vcgencmd"):
        return None
    try:
        answer = subprocess.run(
            ["vcgencmd", "get_throttled"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=2,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.fullmatch(rb"throttled=(0x[0-9a-fA-F]+)\s*", answer)
    if not found:
        return None
    bits = int(found[1], 16)
    return {
        "now": [name for i, name in enumerate(THROTTLED) if bits >> i & 1],
        "since_start": [name for i, name in enumerate(THROTTLED, 16) if bits >> i & 1],
    }


def _open(name: str, request: dict[str, Any]) -> tuple[OpenFile, dict[str, Any]]:
    """Open a file and run it a few times; return what loading cost in time and memory."""
    _forget_peak_memory()
    memory_before = _kilobytes("/proc/self/status", "VmRSS")
    net = OpenFile(name, request["files"][name], request)
    first_ms = net.time()
    for _ in range(WINDOW_RUNS):
        net.time()
    peak = _kilobytes("/proc/self/status", "VmHWM")
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
    watch()
    while len(samples_ms[0]) < max_runs:
        shuffle(order)
        for i in order:
            samples_ms[i].append(nets[i].time())
        runs, seconds = len(samples_ms[0]), _seconds_since(begin)
        if runs >= min_runs and seconds >= min_seconds:
            break
        if _seconds_since(looked) >= SECONDS_PER_REPORT:
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
            if stable or _seconds_since(begin) > WARM_UP_SECONDS:
                return {"runs": runs, "stable": stable}
        last = medians


def _source(path: str) -> dict[str, Any]:
    """Return the file as an interpreter takes it: its content, if its name is no text."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return {"model_content": Path(path).read_bytes()}
    return {"model_path": path}


def _load_delegates(runtime: Runtime, name: str | None) -> list[Any]:
    if name is None:
        return []
    library = DELEGATES[name]
    module = importlib.import_module(f"{RUNTIMES[runtime.name]}.interpreter")
    try:
        return [module.load_delegate(library)]
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".") or "no device answers"
        raise RunnerError(
            f"the delegate {name} ({library}) cannot be loaded: {reason}; "
            "install libedgetpu1-std, plug the device in, or measure without --delegate"
        ) from error


def _describe_runtime(runtime: Runtime, request: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": runtime.name,
        "version": runtime.version,
        "delegate": request.get("delegate"),
        "numpy": np.__version__,
    }


def _is_there(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # a module without a specification, as tests make them
        return sys.modules.get(package) is not None


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:  # copied to the board without its metadata
        return "unknown"


def _major(version: str) -> int:
    return int(version.split(".")[0])


def _sent(array: Any, name: str) -> dict[str, Any]:
    if array.dtype.hasobject:
        raise RunnerError(f"{name} returns texts; edgenets runs networks that return numbers")
    content = base64.b64encode(array.tobytes()).decode()
    return {"dtype": array.dtype.name, "shape": list(array.shape), "base64": content}


def _ms_since(start_ns: int) -> float:
    return (time.perf_counter_ns() - start_ns) / 1e6


def _seconds_since(start: float) -> float:
    return time.perf_counter() - start


def _forget_peak_memory() -> None:
    with suppress(OSError):  # not on this system: the peak may then be of the imports
        Path("/proc/self/clear_refs").write_text("5")


def _kilobytes(path: str, field: str) -> int | None:
    # Not getrusage: its peak is inherited from the process that started this one.
    found = re.search(rf"^{field}:\s+(\d+) kB", _text(Path(path)) or "", re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _processor() -> str | None:
    for source, pattern in (
        ("/proc/device-tree/model", r"(.+?)\0?$"),  # "Raspberry Pi 4 Model B Rev 1.4"
        ("/proc/cpuinfo", r"model name\s*: (.+)"),
    ):
        if found := re.search(pattern, _text(Path(source)) or ""):
            return found[1]
    return platform.processor() or None


def _limit_memory() -> None:
    """Take no more memory than is free: a damaged file may ask for any amount."""
    free = [_kilobytes("/proc/meminfo", field) for field in ("MemAvailable", "SwapFree")]
    if resource is not None and free[0]:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limit = sum(size or 0 for size in free)
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def _report(whole: int, parts: int, done: float) -> None:
    _say({"percent": round(100 * (whole + done) / parts)})


def _say(message: dict[str, Any]) -> None:
    print(json.dumps({"request": _request, **message}), file=_answers, flush=True)


_answers: Any = sys.stdout
_request = 0


def main(lines: Iterable[str] = sys.stdin) -> None:
    """Answer the request in the first of `lines`."""
    global _answers, _request
    _answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what C++ code prints is no answer
    _limit_memory()
    request = json.loads(next(iter(lines)))
    _request = request.get("request", 0)
    for job in request["jobs"]:
        arguments = {key: value for key, value in job.items() if key != "do"}
        try:
            _say({"result": JOBS[job["do"]](request, **arguments)})
        except RunnerError as error:
            _say({"error": " ".join(str(error).split())[:MOST_TEXT]})
            return


if __name__ == "__main__":
    main()
