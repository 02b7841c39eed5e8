import ast
import hashlib
import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from edgenets.export.board import machine, timing
from edgenets.export.devices.answers import array_of
from edgenets.export.devices.archive import NAME, runner_archive
from edgenets.export.measure.classifier import Classifier


class Clock:
    """A net whose inferences take the given milliseconds."""

    def __init__(self, times_ms):
        self.times_ms = iter(times_ms)

    def time(self):
        return next(self.times_ms)


def nothing(*_):
    pass


def rounds(nets, min_seconds, min_runs, max_runs):
    return timing._time_rounds(nets, min_seconds, min_runs, max_runs, nothing, nothing, nothing)


def run(folder, *jobs, files=None):
    """Run the runner as a board does: alone in a folder, isolated from this package."""
    return answers(folder, {"files": files or {}, "jobs": jobs})


def answers(folder, request):
    file = folder / NAME
    file.write_bytes(runner_archive())
    command = [sys.executable, "-I", file]  # isolated: without PYTHONPATH
    done = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_looks_at_a_long_measurement_are_few_and_evenly_apart(monkeypatch):
    monkeypatch.setattr(timing, "look", lambda seconds: {"seconds": seconds})
    looks = timing.Looks()
    for half_seconds in range(20_000):
        looks.take(half_seconds / 2)
    times = [each["seconds"] for each in looks.taken]
    assert timing.MOST_LOOKS / 2 <= len(times) < timing.MOST_LOOKS
    assert set(np.diff(times)) == {16.0} and times[-1] > 9_900


def test_it_imports_the_standard_library_numpy_and_interpreters_only():
    names = set()
    with zipfile.ZipFile(io.BytesIO(runner_archive())) as archive:
        trees = [ast.parse(archive.read(name)) for name in archive.namelist()]
    assert len(trees) > 2
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split(".")[0])
    assert names - set(sys.stdlib_module_names) == {"numpy", "board", "tflite_micro"}


def test_the_archive_is_the_same_every_time_and_needs_no_zlib():
    with zipfile.ZipFile(io.BytesIO(runner_archive())) as archive:
        files = archive.infolist()
    assert {file.compress_type for file in files} == {zipfile.ZIP_STORED}
    assert {file.date_time for file in files} == {(1980, 1, 1, 0, 0, 0)}
    assert "board/supervisor.py" not in {file.filename for file in files}


def test_outputs_are_those_of_the_classifier(tiny_int8_file, tiny_net, tmp_path):
    classifier = Classifier(tiny_int8_file)
    inputs = (tiny_net.pixels.astype(np.int16) - 128).astype(np.int8)
    np.save(tmp_path / "in.npy", inputs)
    (answer,) = run(
        tmp_path,
        {"do": "run", "file": "net", "inputs": "in"},
        files={"net": str(tiny_int8_file), "in": str(tmp_path / "in.npy")},
    )
    (output,) = answer["result"]["outputs"]
    output = array_of(output)
    assert (output == classifier.outputs(tiny_net.pixels)).all()
    assert answer["result"]["runs"] == len(tiny_net.pixels)
    assert answer["result"]["sha256"] == hashlib.sha256(output.tobytes()).hexdigest()


def test_jobs_are_answered_in_order_and_an_error_is_the_last(tiny_int8_file, tmp_path):
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"not a model")
    answers = run(
        tmp_path,
        {"do": "run", "file": "good", "runs": 3},
        {"do": "run", "file": "bad", "runs": 1},
        {"do": "probe"},
        files={"good": str(tiny_int8_file), "bad": str(broken)},
    )
    assert [set(answer) for answer in answers] == [{"request", "result"}, {"request", "error"}]
    assert answers[0]["result"]["runs"] == 3
    assert "cannot run bad: " in answers[1]["error"]


def test_each_opening_times_every_file_as_often(tiny_int8_file, tmp_path):
    *_, answer = run(
        tmp_path,
        {"do": "time", "files": ["a", "a"], "min_seconds": 0, "min_runs": 12, "openings": 3},
        files={"a": str(tiny_int8_file)},
    )
    result = answer["result"]
    assert result["opening_runs"] == [4, 4, 4]
    assert [len(row["samples_ms"]) for row in result["files"]] == [12, 12]
    assert all(row["peak_memory_bytes"] >= 0 for row in result["files"])
    conditions = result["conditions"]
    assert conditions["before"].keys() == conditions["after"].keys() >= {"governor", "throttled"}
    assert len(conditions["during"]) >= 3


def test_timed_runs_keep_to_minimum_time_and_count():
    endless = [Clock(iter(lambda: 1.0, None))]
    assert len(rounds(endless, 0, 7, 50)[0]) == 7
    assert len(rounds(endless, 60, 7, 50)[0]) == 50


def test_warm_up_ends_when_two_windows_agree_or_time_is_over(monkeypatch):
    windows = iter([[9.0] * 3, [5.0] * 3, [4.0] * 3, [4.05] * 3, [4.0] * 3])
    monkeypatch.setattr(timing, "_time_rounds", lambda *_: [next(windows)])
    assert timing._warm_up([None]) == {"runs": 12, "stable": True}

    windows = iter([[9.0] * 3, [5.0] * 3])
    monkeypatch.setattr(timing, "WARM_UP_SECONDS", 0)
    assert timing._warm_up([None]) == {"runs": 6, "stable": False}


def test_the_inference_after_a_look_at_the_machine_is_not_counted(monkeypatch):
    monkeypatch.setattr(timing, "SECONDS_PER_REPORT", 0)
    net = Clock([1.0, 99.0] * 10)
    assert rounds([net], 0, 5, 50)[0] == [1.0] * 5

    net, looks = Clock([99.0, 1.0] * 10), []
    net.runtime = None
    monkeypatch.setattr(timing, "look", looks.append)
    monkeypatch.setattr(timing, "report", nothing)
    monkeypatch.setattr(timing, "describe_runtime", nothing)
    monkeypatch.setattr(timing, "_open", lambda *_: (net, {}))
    monkeypatch.setattr(timing, "_warm_up", lambda _: {"runs": 0, "stable": True})
    (measured,) = timing.time_files({}, ["net"], 0, 5)["files"]
    assert measured["samples_ms"] == [1.0] * 5  # after the first look, too
    assert len(looks) == 1 + 5 + 1  # before, during and after


@pytest.mark.parametrize(
    "answer, throttled",
    [
        ("throttled=0x0", {"now": [], "since_start": []}),
        ("throttled=0x50000", {"now": [], "since_start": ["under-voltage", "throttled"]}),
        (
            "throttled=0x50005",
            {
                "now": ["under-voltage", "throttled"],
                "since_start": ["under-voltage", "throttled"],
            },
        ),
        ("throttled=0x8", {"now": ["soft temperature limit"], "since_start": []}),
        ("VCHI initialization failed", None),
    ],
)
def test_throttling_is_read_from_the_firmware(monkeypatch, tmp_path, answer, throttled):
    vcgencmd = tmp_path / "vcgencmd"
    vcgencmd.write_text(f'#!/bin/sh\n[ "$*" = get_throttled ] && echo "{answer}"\n')
    vcgencmd.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert machine.look(0)["throttled"] == throttled


def test_a_machine_without_firmware_says_nothing_of_throttling(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.look(0)["throttled"] is None


def test_a_missing_delegate_is_one_sentence(tmp_path):
    request = {"files": {}, "delegate": "edgetpu", "jobs": [{"do": "probe"}]}
    (answer,) = answers(tmp_path, request)
    assert "edgetpu (libedgetpu.so.1) cannot be loaded" in answer["result"]["problem"]
