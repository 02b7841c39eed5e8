import json
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgenets.cli.benchmark import command
from edgenets.results.benchmark import Benchmark, FailedBenchmark

VWW = Path(__file__).parents[2].parent / "shared" / "data" / "mlperf_tiny" / "vww_96_int8.tflite"
needs_vww = pytest.mark.skipif(not VWW.exists(), reason=f"{VWW} is not here")

RESULT = {
    "model": {"name": "net.tflite", "sha256": "0" * 64, "size_bytes": 308_040},
    "device": {
        "name": "local",
        "machine": "aarch64",
        "processor": "Raspberry Pi 4 Model B Rev 1.4",
        "cores": 4,
        "system": "Linux",
        "python": "3.11.2",
    },
    "runtime": {"name": "ai-edge-litert", "version": "2.3.0", "delegate": None, "numpy": "2.4.6"},
    "threads": 1,
    "latency_ms": {"median": 4.2, "mean": 4.3, "p90": 4.9, "p99": 6.1, "ci95": [4.15, 4.25]},
    "stability": {"verdict": "stable", "reasons": [], "drift": 0.001},
    "samples_ms": [4.2] * 476,
    "warm_up": {"runs": 48, "stable": True},
    "load_ms": 3.1,
    "first_ms": 12.5,
    "peak_memory_bytes": 7_000_000,
    "instructions": None,
    "energy_mj": None,
    "ops": [],
}


@pytest.fixture
def measured(monkeypatch):
    """The result of the next benchmark, and the arguments it is asked for."""
    asked = []

    def benchmark_file(path, **arguments):
        asked.append(
            (path, arguments["threads"], arguments["min_seconds"], arguments["device"].name)
        )
        return Benchmark.from_json(RESULT | (PROFILE if arguments["per_op"] else {}))

    monkeypatch.setattr("edgenets.export.measure.benchmark.benchmark_file", benchmark_file)
    return asked


def operator(index, op, ms, resolved, macs=0):
    return {
        "index": index,
        "op": op,
        "name": f"layer{index}",
        "macs": macs,
        "ms": ms,
        "ms_ci95": ms and [0.9 * ms, 1.1 * ms],
        "share": ms and ms / 4,
        "resolved": resolved,
        "instructions": None,
        "gmacs_per_s": macs / ms / 1e6 if macs else None,
    }


PROFILE = {
    "ops": [
        operator(0, "DEQUANTIZE", None, False),
        operator(1, "CONV_2D", 1.0, True, 5_000_000),
        operator(2, "RESHAPE", 0.001, False),
        operator(3, "CONV_2D", 3.0, True, 9_000_000),
    ],
    "ops_sum_ms": 4.0,
    "ops_whole_ms": 4.2,
    "ops_resolution_ms": 0.02,
}


def edgenets(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "edgenets", *map(str, arguments)], capture_output=True, text=True
    )


def test_table_names_figures_runtime_and_machine(measured):
    result = CliRunner().invoke(command, ["net.tflite"])
    assert result.exit_code == 0
    assert measured == [(Path("net.tflite").absolute(), 1, 2.0, "local")]
    for shown in (
        "4.20 ms",
        "4.15 ms to 4.25 ms",
        "4.90 ms",
        "6.10 ms",
        "476",
        "stable",
        "6.68 MiB",
        "300.8 KiB",
    ):
        assert shown in result.stdout
    assert (
        "ai-edge-litert 2.3.0, 1 thread of 4 cores, Raspberry Pi 4 Model B Rev 1.4 (aarch64)"
        in result.stdout
    )
    assert result.stderr == ""


def test_json_is_the_result(measured):
    result = CliRunner().invoke(
        command, ["net.tflite", "--json", "--threads", "3", "--min-seconds", "0.5"]
    )
    assert json.loads(result.stdout) == RESULT
    assert measured == [(Path("net.tflite").absolute(), 3, 0.5, "local")]


def test_operators_are_shown_the_costliest_first_with_what_cannot_be_told(measured):
    shown = CliRunner().invoke(command, ["net.tflite", "--per-op"]).stdout
    assert shown.index("layer3") < shown.index("layer1")
    for text in ("2.70 ms to 3.30 ms", "75.00 %", "9.00M", "3.0", "5.0"):
        assert text in shown
    assert "layer2" not in shown and "DEQUANTIZE" not in shown
    assert "with a resolution of 0.0200 ms: 1 RESHAPE" in shown
    assert "4.00 ms; the whole file in the same rounds 4.20 ms, 0.200 ms (4.76 %) more" in shown
    printed = CliRunner().invoke(command, ["net.tflite", "--per-op", "--json"]).stdout
    assert json.loads(printed) == RESULT | PROFILE


def test_instructions_are_shown_with_an_estimate_or_that_there_is_none(measured, monkeypatch):
    counted = {"latency_ms": None, "stability": None, "samples_ms": [], "instructions": 12_300_000}
    for key, value in counted.items():
        monkeypatch.setitem(RESULT, key, value)
    shown = CliRunner().invoke(command, ["net.tflite"]).stdout
    assert "12.30M" in shown and "none: no published latencies to calibrate it" in shown
    estimate = {"estimate": 20.0, "error": 0.25, "board": "Raspberry Pi 4", "threads": 1}
    monkeypatch.setitem(RESULT, "estimated_latency_ms", estimate)
    shown = CliRunner().invoke(command, ["net.tflite"]).stdout
    assert "20.0 ms (+-25.00 %) on a Raspberry Pi 4, 1 threads" in shown


def test_an_unstable_machine_is_said_on_stderr(measured, monkeypatch):
    stability = {"verdict": "unstable", "reasons": ["the board throttled"], "drift": 0.2}
    monkeypatch.setitem(RESULT, "stability", stability)
    result = CliRunner().invoke(command, ["net.tflite", "--json"])
    assert "local was unstable: the board throttled; measure again" in result.stderr
    assert json.loads(result.stdout)["stability"] == stability


@pytest.mark.parametrize(
    "faster, verdict",
    [("this", "a.tflite is faster"), ("other", "b.tflite is faster"), (None, "no difference")],
)
def test_a_comparison_is_one_line(measured, monkeypatch, faster, verdict):
    ratio = {"median": 1.152, "ci99": [1.14, 1.17]}
    other = {"model": {"name": "b.tflite"}, "ratio": ratio, "faster": faster}
    monkeypatch.setitem(RESULT, "versus", other)
    monkeypatch.setitem(RESULT, "model", {**RESULT["model"], "name": "a.tflite"})
    line = CliRunner().invoke(command, ["a.tflite", "--vs", "b.tflite"]).stdout.splitlines()[-1]
    assert "b.tflite takes 115.20 % of the time of a.tflite (99 % interval 114.00 %" in line
    assert verdict in line


def test_several_devices_give_one_table_and_a_failure_is_exit_1(monkeypatch):
    failed = {"device": {"name": "ssh://b"}, "error": "ssh://b: it does not answer"}
    pi = {**RESULT, "device": {**RESULT["device"], "name": "ssh://a"}}
    monkeypatch.setattr(
        "edgenets.export.measure.benchmark.benchmark_on_devices",
        lambda *_, **__: [Benchmark.from_json(pi), FailedBenchmark.from_json(failed)],
    )
    asked = ["net.tflite", "--device", "ssh://a", "--device", "ssh://b"]
    result = CliRunner().invoke(command, asked)
    assert result.exit_code == 1
    assert "4.20 ms" in result.stdout and "ssh://b" not in result.stdout
    assert result.stderr == "edgenets: ssh://b: it does not answer\n"
    assert json.loads(CliRunner().invoke(command, [*asked, "--json"]).stdout) == [pi, failed]


@pytest.mark.parametrize(
    "arguments",
    [
        ["net.tflite", "--setup"],
        ["net.tflite", "--device", "local", "--device", "local"],
        ["net.tflite", "--device", "emulated:cortex-a7"],
        ["net.tflite", "--device", "pi"],
        ["net.tflite", "--min-runs", "0"],
        ["net.tflite", "--threads", "0"],
        ["net.tflite", "--min-seconds", "-1"],
        [],
    ],
)
def test_wrong_usage_is_exit_2(arguments):
    assert CliRunner().invoke(command, arguments).exit_code == 2


def test_a_broken_file_is_one_sentence_and_exit_1(tmp_path):
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"\x1c\0\0\0TFL3" + bytes(100))
    for path in (broken, tmp_path, tmp_path / "missing.tflite"):
        result = edgenets("benchmark", path)
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr.startswith("edgenets: ") and result.stderr.count("\n") == 1


@needs_vww
def test_a_real_file_is_measured():
    result = edgenets("benchmark", VWW, "--min-seconds", "0", "--json")
    assert result.returncode == 0
    assert result.stderr == "" or result.stderr.startswith("local was unstable: ")
    assert json.loads(result.stdout)["model"]["size_bytes"] == VWW.stat().st_size


@needs_vww
@pytest.mark.skipif(sys.platform != "linux", reason="finds the process in /proc")
def test_ctrl_c_ends_the_measuring_process_too():
    parent = subprocess.Popen(
        [sys.executable, "-m", "edgenets", "benchmark", str(VWW), "--min-seconds", "60"],
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job, as a test run may be, ignores SIGINT and hands that down.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    child = wait_for_child(parent.pid)
    parent.send_signal(signal.SIGINT)
    assert "interrupted" in parent.communicate(timeout=60)[1]
    assert parent.returncode == 130
    assert not Path(f"/proc/{child}").exists()


def wait_for_child(pid):
    """Wait for the child that measures: it has its request, and the interpreter is loaded."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it ended meanwhile
                parent = stat.read_text().rpartition(")")[2].split()[1]
                if int(parent) == pid and "litert" in stat.with_name("maps").read_text():
                    return stat.parent.name
        time.sleep(0.02)
    raise AssertionError("no child appeared")


def test_command_is_described_without_numpy_or_tensorflow():
    script = (
        "import sys\n"
        "from edgenets.cli import benchmark, evaluate, predict\n"
        "assert not {'numpy', 'PIL', 'tensorflow'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
