"""Answers of a device: what it cannot have been asked for is one sentence."""

from __future__ import annotations

import base64
import json
import math

import numpy as np
import pytest

from edgenets.errors import EdgenetsError
from edgenets.export.board.runner import JOBS
from edgenets.export.devices.answers import (
    MOST_BYTES,
    RESULTS,
    array_of,
    most_bytes,
    read_answer,
    read_greeting,
)

PROBE = {"do": "probe"}
RUN = {"do": "run", "file": "net", "runs": 1}
TIME = {"do": "time", "files": ["net"], "min_seconds": 0, "min_runs": 1}
RUNTIME = {"name": "ai-edge-litert", "version": "2.1.6", "delegate": None, "numpy": "2.0"}
DEVICE = {
    **{"machine": "aarch64", "bits": 64, "processor": None, "cores": 4, "memory_bytes": 2**30},
    **{"free_memory_bytes": 2**29, "system": "Linux", "python": "3.11.2", "numpy": None},
}
LOOK = {
    **{"seconds": 0.5, "governor": None, "frequency_mhz": [1500.0], "throttled": None},
    "temperature_c": {"cpu-thermal": 48.5},
}
TIMED = {
    "device": DEVICE,
    "runtime": RUNTIME,
    "files": [
        {"samples_ms": [1.5, 2.5], "load_ms": 1.0, "first_ms": 2.0, "peak_memory_bytes": None}
    ],
    "opening_runs": [2],
    "warm_up": {"runs": 9, "stable": True},
    "conditions": {"before": LOOK, "during": [LOOK], "after": LOOK},
}


def line(**answer: object) -> bytes:
    return json.dumps({"request": 3, **answer}).encode()


def ran(dtype: object = "int8", shape: object = (1, 3), content: bytes = b"abc") -> dict:
    output = {"dtype": dtype, "shape": shape, "base64": base64.b64encode(content).decode()}
    return {"runtime": RUNTIME, "runs": 1, "outputs": [output], "sha256": "0" * 64}


def changed(value: object, place: tuple, new: object) -> object:
    """Return a copy with one value replaced."""
    if not place:
        return new
    copy = value.copy()
    copy[place[0]] = changed(value[place[0]], place[1:], new)
    return copy


def refusal(answer: bytes, job: dict | None = PROBE) -> str:
    with pytest.raises(EdgenetsError) as raised:
        read_answer(answer, 3, job)
    sentence = str(raised.value)
    assert sentence.startswith("the device answered what edgenets did not ask for (")
    assert len(sentence) < 1000 and sentence.isprintable()
    return sentence


def test_every_job_has_the_form_of_its_result():
    assert RESULTS.keys() == JOBS.keys()


def test_a_good_answer_is_handed_on():
    assert read_answer(line(percent=42), 3, PROBE) == ("percent", 42, "")
    assert read_answer(line(error="no"), 3, PROBE) == ("error", "no", "")
    assert read_answer(line(ended=-9, message="bye"), 3, None) == ("ended", -9, "bye")
    assert read_answer(line(result=TIMED), 3, TIME) == ("result", TIMED, "")
    answer = read_answer(line(result=ran()), 3, RUN)
    np.testing.assert_array_equal(array_of(answer.value["outputs"][0]), np.int8([[97, 98, 99]]))


def test_what_answers_an_earlier_request_is_left_out():
    for number in (0, 2):
        assert read_answer(line(request=number, error="late"), 3, PROBE) is None
    assert "request is 4" in refusal(line(request=4, percent=1))


@pytest.mark.parametrize(
    "answer",
    [
        *(b"", b"\n", b"{", b"[]", b"null", b"3", b"\xff", b"{}", b'{"request": true}'),
        *(b"[" * 100_000, b'{"request": ' + b"9" * 5000 + b"}", b'{"request": 3.0, "percent": 1}'),
        *(b'{"request": 3, "percent": NaN}', b'{"request": 3, "percent": 1e400}'),
        *(line(percent=x) for x in (-1, 101, 1.5, "1", None, True, [], {})),
        *(line(error=x) for x in (1, None, "x" * 1001, ["x"])),
        *(line(ended=x, message="") for x in ("0", 256, None, 1e300)),
        *(line(ended=0), line(ended=0, message=None), line(percent=1, result={}), line(other=1)),
        line(result=None),
        b'{"request": 3, "percent": 1' + b" " * MOST_BYTES + b"}",
    ],
)
def test_what_is_no_answer_is_one_sentence(answer: bytes):
    refusal(answer)


ODD = (
    *(None, True, "", "x", -1, 0.5, 2**70, 10**400, [], {}, [[[]]], {"a": {"b": []}}),
    *("\x1b[31m", "x" * 2000, [None], math.nan, math.inf),
)


@pytest.mark.parametrize(
    "place",
    [
        *(("device",), ("device", "bits"), ("runtime", "name"), ("files",), ("files", 0)),
        *(("files", 0, "samples_ms"), ("files", 0, "samples_ms", 1), ("files", 0, "load_ms")),
        *(("opening_runs",), ("opening_runs", 0), ("warm_up", "stable"), ("conditions", "during")),
        *(("conditions", "after", "frequency_mhz", 0), ("conditions", "before", "temperature_c")),
    ],
)
def test_a_value_that_cannot_be_is_one_sentence(place: tuple):
    good = TIMED
    for key in place:
        good = good[key]
    for new in ODD:
        fits = {"temperature_c": ({},), "name": ("", "x", "\x1b[31m"), "stable": (True,)}
        if place[-1] == "load_ms" or place[-2:] == ("samples_ms", 1) or place[-1] == 0:
            fits[place[-1]] = (0.5,)
        if isinstance(place[-1], int) and place[-2] == "samples_ms":
            fits[place[-1]] = (0.5,)
        if any(type(new) is type(fit) and new == fit for fit in fits.get(place[-1], ())):
            continue
        refusal(line(result=changed(TIMED, place, new)), TIME)


def test_keys_that_lack_or_are_too_many_are_named():
    less = {key: value for key, value in TIMED.items() if key != "warm_up"}
    assert "result lacks 'warm_up'" in refusal(line(result=less), TIME)
    assert "has the key 'name'" in refusal(
        line(result=changed(TIMED, ("device",), {**DEVICE, "name": "local"})), TIME
    )


@pytest.mark.parametrize(
    "result, job",
    [
        (TIMED, {**TIME, "files": ["net", "other"]}),
        (TIMED, {**TIME, "openings": 2}),
        (changed(TIMED, ("opening_runs",), [1]), TIME),
        ({"device": DEVICE, "runtime": None, "problem": None}, PROBE),
        ({**ran(), "sha256": "00"}, RUN),
        ({**ran(), "runs": 0}, RUN),
        (TIMED, RUN),
        (ran(), None),
    ],
)
def test_a_result_that_does_not_suit_its_job_is_one_sentence(result: dict, job: dict | None):
    refusal(line(result=result), job)


@pytest.mark.parametrize(
    "output",
    [
        ran("object"),
        ran("V0", (2**40,), b""),
        ran("<i1"),
        ran(shape=(1, 4)),
        ran(shape=(2**40, 2**40)),
        ran(shape=(-1, 3)),
        ran("int16"),
        changed(ran(), ("outputs", 0, "base64"), "!!!!"),
        changed(ran(), ("outputs", 0, "base64"), "ab=="),
        changed(ran(), ("outputs", 0, "base64"), 7),
        changed(ran(), ("outputs", 0, "base64"), "ab\u00e9d"),
    ],
)
def test_an_output_that_is_no_array_is_one_sentence(output: dict):
    refusal(line(result=output), RUN)


def test_a_line_may_be_as_long_as_what_was_asked_for():
    assert most_bytes(PROBE) == most_bytes(None) == MOST_BYTES
    assert most_bytes({**TIME, "files": ["a"] * 200}) < 2**27
    assert "a line of more than" in refusal(line(percent=1) + b" " * MOST_BYTES)


@pytest.mark.parametrize(
    "greeting",
    [b'{"folder"', b'{"folder": 3, "error": null}', b'{"folder": "/x"}', b"{" * 10**5, b"[]"],
)
def test_a_board_that_greets_otherwise_is_one_sentence(greeting: bytes):
    with pytest.raises(EdgenetsError, match="the board greets otherwise"):
        read_greeting(greeting)


def test_a_board_without_room_says_so():
    assert read_greeting(b'{"folder": "/tmp/edgenets-x", "error": null}') == "/tmp/edgenets-x"
    with pytest.raises(EdgenetsError, match="cannot keep files: No space left on device; free"):
        read_greeting(b'{"folder": null, "error": "No space left on device"}')
