"""What runs on a device: time `.tflite` files, or run them on given inputs, in a fresh process.

With the modules beside it, it is sent to a board as one file (`edgenets.export.devices.archive`).
It needs NumPy and an interpreter, nothing of edgenets, and is started with one JSON request on
stdin; on stdout come JSON objects, one a line, and nothing else:

    {"request": 7, "files": {NAME: PATH, ...}, "threads": 1, "delegate": null,
     "kernels": null, "jobs": [{"do": "time", ...}, ...]}

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
- `install`: packages into a virtual environment.

Inputs are random numbers from a fixed seed unless given.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from .installing import install
from .interpreter import (
    OpenFile,
    describe_runtime,
    load_delegates,
    load_runtime,
    refusals,
)
from .machine import describe_device, limit_memory, np, seconds_since
from .protocol import RunnerError, begin, fail, report, say, take_stdout
from .timing import SECONDS_PER_REPORT, time_files

MARK = 0x7ED6E001
"""As in instructions.c."""
MOST_MORE_RUNS = 20
ENOUGH_INSTRUCTIONS = 100_000_000


def probe(request: dict[str, Any]) -> dict[str, Any]:
    """Return what the machine is, and the interpreter that is picked or why there is none."""
    answer: dict[str, Any] = {"device": describe_device(), "runtime": None, "problem": None}
    try:
        runtime = load_runtime()
        answer["runtime"] = {"name": runtime.name, "version": runtime.version}
        load_delegates(runtime, request.get("delegate"))
    except RunnerError as error:
        answer["problem"] = str(error)
    return answer


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
            if seconds_since(reported) >= SECONDS_PER_REPORT:
                reported = time.perf_counter()
                report(0, 1, i / len(values))
    outputs = [np.concatenate(column) for column in zip(*rows, strict=True)]
    return {
        "runtime": describe_runtime(net.runtime, request),
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
        "runtime": describe_runtime(net.runtime, request),
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
    report(1, 1, 0.0)
    return {"runtime": describe_runtime(net.runtime, request), "instructions": counted}


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


# What a job does -> the function; its arguments are the job's other keys.
JOBS: dict[str, Callable[..., dict[str, Any]]] = {
    "probe": probe,
    "time": time_files,
    "run": run_file,
    "plan": plan_file,
    "count": count_file,
    "install": install,
}


def _sent(array: Any, name: str) -> dict[str, Any]:
    if array.dtype.hasobject:
        raise RunnerError(f"{name} returns texts; edgenets runs networks that return numbers")
    content = base64.b64encode(array.tobytes()).decode()
    return {"dtype": array.dtype.name, "shape": list(array.shape), "base64": content}


def main(lines: Iterable[str] = sys.stdin) -> None:
    """Answer the request in the first of `lines`."""
    take_stdout()
    limit_memory()
    request = json.loads(next(iter(lines)))
    begin(request.get("request", 0))
    for job in request["jobs"]:
        arguments = {key: value for key, value in job.items() if key != "do"}
        try:
            say({"result": JOBS[job["do"]](request, **arguments)})
        except RunnerError as error:
            fail(error)
            return
