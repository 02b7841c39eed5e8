import hashlib
import json
import platform
import statistics
import sys

import pytest

from edgenets.errors import EdgenetsError
from edgenets.export import benchmark
from edgenets.export.benchmark import benchmark_file


@pytest.fixture(scope="module")
def measured(tiny_int8_file):
    return benchmark_file(tiny_int8_file, min_seconds=0.1)


def test_result_has_the_promised_keys_and_is_json(measured, tiny_int8_file):
    content = tiny_int8_file.read_bytes()
    assert measured["model"] == {
        "name": "tiny.tflite",
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
    }
    assert measured["device"]["name"] == "local"
    assert measured["device"]["machine"] == platform.machine()
    assert measured["runtime"]["name"] == "ai-edge-litert"
    assert measured["threads"] == 1
    assert measured["instructions"] is None and measured["ops"] == []
    assert json.loads(json.dumps(measured, allow_nan=False)) == measured


def test_latency_summarises_the_samples(measured):
    samples, latency = measured["samples_ms"], measured["latency_ms"]
    assert len(samples) >= benchmark.MIN_RUNS
    assert sum(samples) <= 1000
    assert latency["median"] == pytest.approx(statistics.median(samples))
    assert min(samples) <= latency["median"] <= latency["p90"] <= max(samples)
    low, high = latency["ci95"]
    assert low <= latency["median"] <= high


def test_load_first_run_and_warm_up_are_told_apart(measured):
    assert measured["load_ms"] > 0 and measured["first_ms"] > 0
    assert measured["warm_up"]["runs"] >= 2 * benchmark.WINDOW_RUNS


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_peak_memory_is_not_that_of_the_process_that_asks(tiny_int8_file):
    held = bytearray(256 * 2**20)
    held[::4096] = bytes([1]) * len(held[::4096])  # resident, and a child's getrusage inherits it
    measured = benchmark_file(tiny_int8_file, min_seconds=0)
    assert 0 < measured["peak_memory_bytes"] < 64 * 2**20


def test_a_larger_network_takes_longer_and_more_memory(measured, shared_file):
    vww = shared_file("mlperf_tiny/vww_96_int8.tflite")
    larger = benchmark_file(vww, threads=2, min_seconds=0)
    assert larger["threads"] == 2
    assert larger["latency_ms"]["median"] > measured["latency_ms"]["median"]
    assert larger["peak_memory_bytes"] > measured["peak_memory_bytes"]


def test_a_file_the_interpreter_refuses_is_one_sentence(shared_file):
    path = shared_file("coral/split_concat_edgetpu.tflite")
    with pytest.raises(EdgenetsError, match=r"cannot run .*split_concat_edgetpu.tflite: .*edgetpu"):
        benchmark_file(path)


@pytest.mark.parametrize(
    "ending, sentence",
    [
        ("kill -SEGV $$", "crashed with SIGSEGV"),
        ("kill -KILL $$", "killed by SIGKILL: the machine may have run out of memory"),
        ("echo 'it went wrong' >&2; exit 3", r"ended with status 3 \(it went wrong\)"),
    ],
)
def test_a_process_that_dies_is_one_sentence(
    tiny_int8_file, tmp_path, monkeypatch, ending, sentence
):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{ending}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(EdgenetsError, match=sentence):
        benchmark_file(tiny_int8_file)


def test_timed_runs_keep_to_minimum_time_and_count(monkeypatch):
    monkeypatch.setattr(benchmark, "MAX_RUNS", 50)
    assert len(benchmark._time_runs(lambda: None, min_seconds=0, min_runs=7)) == 7
    assert len(benchmark._time_runs(lambda: None, min_seconds=60, min_runs=7)) == 50


def test_warm_up_ends_when_two_windows_agree_or_time_is_over(monkeypatch):
    windows = iter([[9.0] * 3, [5.0] * 3, [4.0] * 3, [4.05] * 3, [4.0] * 3])
    monkeypatch.setattr(benchmark, "_time_runs", lambda *_: next(windows))
    assert benchmark._warm_up(lambda: None) == {"runs": 12, "stable": True}

    windows = iter([[9.0] * 3, [5.0] * 3])
    monkeypatch.setattr(benchmark, "WARM_UP_SECONDS", 0)
    assert benchmark._warm_up(lambda: None) == {"runs": 6, "stable": False}
