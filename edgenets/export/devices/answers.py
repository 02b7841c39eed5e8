"""What a device answers: nothing of it is believed before it was looked at here.

A board runs what was sent to it, and may be broken or taken over; so may the process that runs a
damaged file here. `read_answer` is the one way from its bytes to values: a line of bounded length,
of the request that waits, whose every value has its type, lies in its range and is finite, with the
keys that `runner.py` gives and no others. What differs is one sentence.
"""

from __future__ import annotations

import base64
import json
import math
import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from edgenets.errors import EdgenetsError
from edgenets.export.board.protocol import MAX_RUNS

Job = Mapping[str, Any]
Check = Callable[[Any, str], None]
"""Raises a `ValueError` that names the place, if a value is not what belongs there."""

SENT_BYTES = 2**25
"""Of inputs that are sent to a device at once, and of outputs that it returns at once, at most."""
MOST_BYTES = 2**20
"""Of a line that holds no samples and no outputs."""
SAMPLE_BYTES = 32
"""Of a latency as JSON, at most."""
MOST_TEXT = 1000
"""Characters of a text."""
MOST_ITEMS = 2**20
"""Of a list whose length nothing tells."""
MOST_MS = 1e9
DTYPES = frozenset(
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 "
    "complex64 complex128".split()
)


class Answer(NamedTuple):
    """A line of a device: `kind` is percent, result, error or ended."""

    kind: str
    value: Any
    message: str = ""  # with ended: the last line that the process wrote to stderr


def read_answer(line: bytes, request: int, job: Job | None) -> Answer | None:
    """Return what a line says; None for one of an earlier request, which nobody waits for.

    Args:
        line: JSON, as `runner.py` describes it.
        request: the number of the one that waits.
        job: the one whose result comes next; None: all were answered.

    Raises:
        EdgenetsError: it is no such line, or a value in it cannot be.
    """
    try:
        if len(line) > most_bytes(job):
            raise ValueError(f"a line of more than {most_bytes(job):,} bytes")
        answer = json.loads(line, parse_constant=_no_number)
        _is_object(answer, "the answer")
        _whole(0, request)(answer.get("request"), "request")
        if answer["request"] < request:
            return None
        kind = next((name for name in ANSWERS if name in answer), "result")
        ANSWERS[kind](answer, "the answer")
        if kind == "result":
            if job is None:
                raise ValueError("a result that was not asked for")
            RESULTS[job["do"]](answer[kind], "result")
            _suits(answer[kind], job)
        return Answer(kind, answer[kind], answer.get("message", ""))
    except (ValueError, RecursionError, MemoryError) as error:
        reason = str(error) if isinstance(error, ValueError) else "too many lists in one another"
        raise EdgenetsError(
            f"the device answered what edgenets did not ask for ({' '.join(reason.split())}); "
            "start it again, and set it up anew if that does not help"
        ) from error


def read_greeting(line: bytes) -> str:
    """Return the folder that `supervisor.py` made on a board.

    Raises:
        EdgenetsError: the line is no greeting, or the board has no room for a folder.
    """
    try:
        greeting = json.loads(line)
        _record(folder=_optional(_text), error=_optional(_text))(greeting, "the greeting")
    except (ValueError, RecursionError) as error:
        raise EdgenetsError("the board greets otherwise than edgenets does; start it anew") from (
            error
        )
    if greeting["folder"] is None:
        raise EdgenetsError(f"the board cannot keep files: {greeting['error']}; free some space")
    return str(greeting["folder"])


def most_bytes(job: Job | None) -> int:
    """Return how long the line with a job's result may be; other lines are shorter."""
    if job and job["do"] == "time":
        return MOST_BYTES + len(job["files"]) * MAX_RUNS * SAMPLE_BYTES
    return MOST_BYTES + (2 * SENT_BYTES if job and job["do"] in ("run", "plan") else 0)


def array_of(output: Mapping[str, Any]) -> NDArray[Any]:
    """Return the array that is one of the `outputs` of a checked result of `run`."""
    content = base64.b64decode(output["base64"])
    return np.frombuffer(content, output["dtype"]).reshape(output["shape"])


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} in place of a number")


def _fail(value: Any, place: str, wanted: str) -> NoReturn:
    raise ValueError(f"{place} is {reprlib.repr(value)}, where {wanted} belongs")


def _is_object(value: Any, place: str) -> None:
    if not isinstance(value, dict):
        _fail(value, place, "an object")


def _anything(value: Any, place: str) -> None:
    """Leave a value to a check that knows what was asked."""


def _text(value: Any, place: str) -> None:
    if not isinstance(value, str) or len(value) > MOST_TEXT:
        _fail(value, place, f"a text of at most {MOST_TEXT} characters")


def _truth(value: Any, place: str) -> None:
    if not isinstance(value, bool):
        _fail(value, place, "true or false")


def _whole(least: int, most: int) -> Check:
    def check(value: Any, place: str) -> None:
        if type(value) is not int or not least <= value <= most:
            _fail(value, place, f"a whole number from {least} to {most}")

    return check


def _number(least: float, most: float) -> Check:
    def check(value: Any, place: str) -> None:
        if type(value) not in (int, float) or not least <= value <= most:  # a NaN is in no range
            _fail(value, place, f"a number from {least:g} to {most:g}")

    return check


def _optional(inner: Check) -> Check:
    def check(value: Any, place: str) -> None:
        if value is not None:
            inner(value, place)

    return check


def _list(inner: Check, least: int = 0, most: int = MOST_ITEMS) -> Check:
    def check(value: Any, place: str) -> None:
        if not isinstance(value, list) or not least <= len(value) <= most:
            _fail(value, place, f"a list of {least} to {most} items")
        for i, item in enumerate(value):
            inner(item, f"{place}[{i}]")

    return check


def _mapping(inner: Check) -> Check:
    def check(value: Any, place: str) -> None:
        _is_object(value, place)
        for key, item in value.items():
            _text(key, f"a key of {place}")
            inner(item, f"{place}[{reprlib.repr(key)}]")

    return check


def _record(**keys: Check) -> Check:
    def check(value: Any, place: str) -> None:
        _is_object(value, place)
        for key in keys.keys() - value.keys():
            raise ValueError(f"{place} lacks {key!r}")
        for key in value.keys() - keys.keys():
            raise ValueError(
                f"{place} has the key {reprlib.repr(key)}, which does not belong there"
            )
        for key, inner in keys.items():
            inner(value[key], f"{place}.{key}")

    return check


_BYTES = _whole(0, 2**60)
_MS = _number(1e-9, MOST_MS)
_SAMPLES = _list(_MS, 1, MAX_RUNS)
_REQUEST = _whole(0, 2**60)
_DEVICE = _record(
    machine=_text,
    bits=_whole(8, 128),
    processor=_optional(_text),
    cores=_optional(_whole(1, 2**20)),
    memory_bytes=_optional(_BYTES),
    free_memory_bytes=_optional(_BYTES),
    system=_text,
    python=_text,
    numpy=_optional(_text),
)
_RUNTIME = _record(name=_text, version=_text, delegate=_optional(_text), numpy=_text)
_CONDITIONS = _record(
    seconds=_number(0, MOST_MS),
    governor=_optional(_text),
    frequency_mhz=_list(_number(0, 1e9)),
    temperature_c=_mapping(_number(-1e6, 1e6)),
    throttled=_optional(_record(now=_list(_text), since_start=_list(_text))),
)
_TENSORS = _list(_whole(-1, 2**31 - 1))

ANSWERS: dict[str, Check] = {
    "percent": _record(request=_REQUEST, percent=_whole(0, 100)),
    "error": _record(request=_REQUEST, error=_text),
    "ended": _record(request=_REQUEST, ended=_whole(-255, 255), message=_text),
    "result": _record(request=_REQUEST, result=_anything),
}
RESULTS: dict[str, Check] = {
    "probe": _record(
        device=_DEVICE,
        runtime=_optional(_record(name=_text, version=_text)),
        problem=_optional(_text),
    ),
    "time": _record(
        device=_DEVICE,
        runtime=_RUNTIME,
        files=_list(
            _record(
                samples_ms=_SAMPLES,
                load_ms=_MS,
                first_ms=_MS,
                peak_memory_bytes=_optional(_BYTES),
            )
        ),
        opening_runs=_list(_whole(1, MAX_RUNS), 1),
        warm_up=_record(runs=_whole(0, 2**60), stable=_truth),
        conditions=_record(before=_CONDITIONS, during=_list(_CONDITIONS, 1), after=_CONDITIONS),
    ),
    "run": _record(
        runtime=_RUNTIME,
        runs=_whole(1, 2**60),
        outputs=_list(
            _record(
                dtype=_text,
                shape=_list(_whole(0, 2**40), 0, 64),
                base64=_anything,  # `_is_array` looks at it
            ),
            0,
            1000,
        ),
        sha256=_text,
    ),
    "plan": _record(
        runtime=_RUNTIME, steps=_list(_record(op_name=_text, inputs=_TENSORS, outputs=_TENSORS))
    ),
    "count": _record(runtime=_RUNTIME, instructions=_whole(1, 2**60)),
    "install": _record(folder=_text),
}
"""By what a job does: the result that `runner.py` gives."""


def _suits(result: Any, job: Job) -> None:
    """Check what only the job and the values of a result together tell."""
    match job["do"]:
        case "probe":
            if result["runtime"] is None and result["problem"] is None:
                raise ValueError("neither a runtime nor a problem")
        case "time":
            counts = [len(row["samples_ms"]) for row in result["files"]]
            if counts != [sum(result["opening_runs"])] * len(job["files"]):
                raise ValueError("another number of files or samples than was asked for")
            if len(result["opening_runs"]) != job.get("openings", 1):
                raise ValueError("another number of openings than was asked for")
        case "run":
            for i, output in enumerate(result["outputs"]):
                _is_array(output, f"result.outputs[{i}]")
            if not re.fullmatch("[0-9a-f]{64}", result["sha256"]):
                _fail(result["sha256"], "result.sha256", "a SHA-256")


def _is_array(output: Mapping[str, Any], place: str) -> None:
    dtype, text = output["dtype"], output["base64"]
    if dtype not in DTYPES:
        _fail(dtype, f"{place}.dtype", "a type of numbers")
    size_bytes = math.prod(output["shape"]) * np.dtype(dtype).itemsize
    if not isinstance(text, str) or len(text) != 4 * -(-size_bytes // 3):
        _fail(text, f"{place}.base64", f"{size_bytes} bytes in base64")
    if len(base64.b64decode(text, validate=True)) != size_bytes:
        _fail(text, f"{place}.base64", f"{size_bytes} bytes in base64")


def names_of(job: Job) -> str:
    """Return the files that a job is about, for messages."""
    names: Sequence[str] = job.get("files", [])
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return str(", ".join(names[:2]) + more or job.get("file", "the file"))
