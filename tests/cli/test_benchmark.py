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
    "runtime": {"name": "ai-edge-litert", "version": "2.3.0"},
    "threads": 1,
    "latency_ms": {"median": 4.2, "mean": 4.3, "p90": 4.9, "ci95": [4.15, 4.25]},
    "samples_ms": [4.2] * 476,
    "warm_up": {"runs": 48, "stable": True},
    "load_ms": 3.1,
    "first_ms": 12.5,
    "peak_memory_bytes": 7_000_000,
    "instructions": None,
    "ops": [],
}


@pytest.fixture
def measured(monkeypatch):
    """The result of the next benchmark, and the arguments it is asked for."""
    asked = []

    def benchmark_file(*arguments):
        asked.append(arguments)
        return RESULT

    monkeypatch.setattr("edgenets.export.benchmark.benchmark_file", benchmark_file)
    return asked


def edgenets(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "edgenets", *map(str, arguments)], capture_output=True, text=True
    )


def test_table_names_figures_runtime_and_machine(measured):
    result = CliRunner().invoke(command, ["net.tflite"])
    assert result.exit_code == 0
    assert measured == [(Path("net.tflite"), 1, 2.0)]
    for shown in ("4.20 ms", "4.15 ms to 4.25 ms", "4.90 ms", "476", "6.68 MiB", "300.8 KiB"):
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
    assert measured == [(Path("net.tflite"), 3, 0.5)]


def test_an_unstable_warm_up_is_said_on_stderr(measured, monkeypatch):
    monkeypatch.setitem(RESULT, "warm_up", {"runs": 900, "stable": False})
    result = CliRunner().invoke(command, ["net.tflite", "--json"])
    assert "still changing" in result.stderr
    assert json.loads(result.stdout)["warm_up"]["stable"] is False


@pytest.mark.parametrize(
    "arguments",
    [
        ["net.tflite", "--device", "ssh://pi@board"],
        ["net.tflite", "--threads", "0"],
        ["net.tflite", "--min-seconds", "-1"],
        [],
    ],
)
def test_wrong_usage_is_exit_2(arguments):
    assert CliRunner().invoke(command, arguments).exit_code == 2


def test_another_device_is_one_clear_sentence():
    result = CliRunner().invoke(command, ["net.tflite", "--device", "ssh://pi"])
    assert "unknown device 'ssh://pi'; this version measures on 'local' only" in result.stderr


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
    assert result.stderr == ""
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
    assert "interrupted" in parent.communicate(timeout=10)[1]
    assert parent.returncode == 130
    assert not Path(f"/proc/{child}").exists()


def wait_for_child(pid):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it ended meanwhile
                parent = stat.read_text().rpartition(")")[2].split()[1]
                if int(parent) == pid:
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
