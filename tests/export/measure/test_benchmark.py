import hashlib
import json
import platform
import statistics
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.export.board import timing
from edgenets.export.devices.device import LOCAL, Ssh
from edgenets.export.devices.local import LocalSession
from edgenets.export.measure import benchmark
from edgenets.export.measure.benchmark import benchmark_file, benchmark_on_devices


@pytest.fixture(scope="module")
def measured(tiny_int8_file):
    return benchmark_file(tiny_int8_file, min_seconds=0.1)


def test_result_has_the_promised_keys_and_is_json(measured, tiny_int8_file):
    content = tiny_int8_file.read_bytes()
    assert measured.model.to_json() == {
        "name": "tiny.tflite",
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
    }
    assert measured.device["name"] == "local"
    assert measured.device["machine"] == platform.machine()
    assert measured.runtime["name"] == "ai-edge-litert"
    assert measured.threads == 1
    assert measured.instructions is measured.energy_mj is None and measured.ops == ()
    assert measured.stability["verdict"] in ("stable", "unstable", "unknown")
    assert json.loads(json.dumps(measured.to_json(), allow_nan=False)) == measured.to_json()


def test_latency_summarises_the_samples(measured):
    samples, latency = measured.samples_ms, measured.latency_ms
    assert len(samples) >= benchmark.MIN_RUNS
    assert sum(samples) <= 1000
    assert latency.median == pytest.approx(statistics.median(samples))
    assert min(samples) <= latency.median <= latency.p90 <= latency.p99 <= max(samples)
    low, high = latency.ci95
    assert low <= latency.median <= high


def test_load_first_run_and_warm_up_are_told_apart(measured):
    assert measured.load_ms > 0 and measured.first_ms > 0
    assert measured.warm_up["runs"] >= 2 * timing.WINDOW_RUNS


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_peak_memory_is_not_that_of_the_process_that_asks(tiny_int8_file):
    held = bytearray(256 * 2**20)
    held[::4096] = bytes([1]) * len(held[::4096])  # resident, and a child's getrusage inherits it
    measured = benchmark_file(tiny_int8_file, min_seconds=0)
    assert 0 < measured.peak_memory_bytes < 64 * 2**20


def test_a_larger_network_takes_longer_and_more_memory(measured, shared_file):
    vww = shared_file("mlperf_tiny/vww_96_int8.tflite")
    larger = benchmark_file(vww, threads=2, min_seconds=0)
    assert larger.threads == 2
    assert larger.latency_ms.median > measured.latency_ms.median
    assert larger.peak_memory_bytes > measured.peak_memory_bytes


def test_a_file_the_interpreter_refuses_is_one_sentence(tiny_int8_file, tmp_path):
    content = tiny_int8_file.read_bytes()
    (custom,) = [flatbuffer.OPERATORS.index("CUSTOM")]
    path = tmp_path / "unknown.tflite"
    path.write_bytes(flatbuffer.rewrite(content, lambda model: set_operator(model, custom)))
    with pytest.raises(EdgenetsError, match=r"cannot run .*unknown\.tflite: .*custom_thing"):
        benchmark_file(path)


def set_operator(model, code):
    first = model.operatorCodes[0]
    first.builtinCode = first.deprecatedBuiltinCode = code
    first.customCode = "custom_thing"


@pytest.mark.parametrize(
    "ending, sentence",
    [
        ("kill -SEGV $$", "crashed with SIGSEGV"),
        ("kill -KILL $$", "killed by SIGKILL: the machine may have run out of memory"),
        ("echo 'it went wrong' >&2; exit 3", r"ended with status 3 \(it went wrong\)"),
    ],
)
def test_a_process_that_dies_is_one_sentence(tiny_int8_file, tmp_path, ending, sentence):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{ending}\n")
    python.chmod(0o755)
    with (
        LocalSession(python=[str(python)]) as session,
        pytest.raises(EdgenetsError, match=sentence),
    ):
        session.put("tiny", tiny_int8_file)
        session.ask([{"do": "run", "file": "tiny", "runs": 1}])


def test_two_files_are_compared_in_one_process(tiny_int8_file, shared_file):
    vww = shared_file("mlperf_tiny/vww_96_int8.tflite")
    result = benchmark_file(tiny_int8_file, min_seconds=0.2, versus=vww)
    other = result.versus
    assert other["model"]["name"] == vww.name
    assert len(other["samples_ms"]) == len(result.samples_ms) == sum(other["opening_runs"])
    low, high = other["ratio"]["ci99"]
    assert 1 < low < other["ratio"]["median"] < high
    assert other["faster"] == "this"


@pytest.mark.parametrize("times, faster", [(0.8, "other"), (1.0, None), (1.25, "this")])
def test_only_what_can_be_told_apart_is_faster(times: float, faster: str | None):
    random, part = np.random.default_rng(0), SimpleNamespace(to_json=dict)
    rows = [
        {
            "samples_ms": tuple(factor * (1 + 0.05 * random.exponential(size=300))),
            "model": part,
            "latency_ms": part,
        }
        for factor in (1, times)
    ]
    assert benchmark._compare(*rows, [30] * 10)["faster"] == faster


def test_a_file_for_the_edge_tpu_and_the_delegate_belong_together(tiny_int8_file, shared_file):
    compiled = shared_file("coral/split_concat_edgetpu.tflite")
    with pytest.raises(EdgenetsError, match="compiled for the Edge TPU: add --delegate edgetpu"):
        benchmark_file(compiled)
    with pytest.raises(EdgenetsError, match="edgetpu_compiler"):
        benchmark_file(tiny_int8_file, delegate="edgetpu")


def test_a_device_that_fails_does_not_disturb_the_others(tiny_int8_file):
    good, bad = benchmark_on_devices(
        tiny_int8_file, [LOCAL, Ssh(None, "127.0.0.1", 1)], min_seconds=0
    )
    assert good.latency_ms.median > 0
    assert bad.device == {"name": "ssh://127.0.0.1:1"} and bad.error
