"""The emulated board: counts, outputs, set-up, and what is said where something is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from instructions import run_here, run_in

from edgenets.errors import EdgenetsError
from edgenets.export.board import runner
from edgenets.export.devices import archive, emulator, emulator_setup
from edgenets.export.devices.device import Emulated, parse_device
from edgenets.export.devices.opening import open_device
from edgenets.export.measure.instructions import count_contents, count_instructions
from edgenets.files import write_json

board_test = pytest.mark.board
SHARED_DATA = Path(__file__).parents[3].parent / "shared" / "data"
VWW = "mlperf_tiny/vww_96_int8.tflite"


# Without the board


def test_device_names_a_core():
    for cpu in emulator.CPUS:
        assert parse_device(f"emulated:{cpu}") == Emulated(cpu)


def test_unknown_core_is_refused_with_the_near_one():
    with pytest.raises(EdgenetsError, match=r"did you mean cortex-a72\?"):
        parse_device("emulated:cortex-72")


def test_instructions_of_one_inference_exclude_what_surrounds_it():
    count, runs = 10**9, []

    def invoke():
        nonlocal count
        runs.append(1)
        count += 5_000 if len(runs) > 20 else 7_000  # the first runs do more

    def instructions():
        nonlocal count
        count += 321  # that reading costs
        return count

    assert runner.instructions_per_inference(invoke, instructions) == 5_000
    assert len(runs) == 1 + 20 + 1 + 21


@pytest.mark.parametrize("step, runs", [(60_000_000, 1 + 1 + 1 + 2), (100_000_001, 1 + 1)])
def test_costly_inference_is_repeated_less(step, runs):
    invocations = []
    count = iter(range(0, 10**12, step))
    runner.instructions_per_inference(lambda: invocations.append(1), lambda: next(count))
    assert len(invocations) == runs


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("EDGENETS_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A function that makes all there is on PATH: a shell script by name."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("CC", raising=False)

    def make(**scripts):
        for name, script in scripts.items():
            path = folder / name.replace("_", "-")
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)

    return make


def test_board_that_is_not_set_up_names_the_command(cache):
    with pytest.raises(EdgenetsError, match="run: edgenets doctor --setup-emulator"):
        emulator.find_board()


@pytest.mark.parametrize(
    "scripts, sentence",
    [
        ({}, "run: sudo apt-get install qemu-user"),
        ({"qemu_aarch64": "true"}, "run: sudo apt-get install gcc"),
        ({"qemu_aarch64": "true", "gcc": "true"}, "apt-get .* set it up on Debian"),
    ],
)
def test_set_up_names_what_is_missing(cache, programs, scripts, sentence):
    programs(**scripts)
    with pytest.raises(EdgenetsError, match=sentence):
        emulator_setup.set_up()
    assert not (cache / "emulator").exists()


@pytest.mark.parametrize("changed", ["recipe", "qemu"])
def test_board_of_another_version_is_not_used(cache, programs, changed):
    programs(qemu_aarch64="echo qemu-aarch64 version 7.2")
    about = {"recipe": emulator.RECIPE, "qemu": "qemu-aarch64 version 7.2"}
    write_json(cache / "emulator" / emulator.ABOUT, about)
    assert emulator.find_board().about == about
    write_json(cache / "emulator" / emulator.ABOUT, {**about, changed: None})
    with pytest.raises(EdgenetsError, match="another version of edgenets or qemu; run: edgenets"):
        emulator.find_board()


def test_qemu_without_plugins_gets_a_sentence(cache, programs):
    programs(qemu_aarch64="echo \"qemu: unknown option 'plugin'\" >&2; exit 1", cc="true")
    qemu, compiler = emulator.find_qemu(), emulator_setup.find_compiler()
    board = emulator.Board(cache, qemu, {"qemu": "qemu-aarch64 version 10.0"})
    with pytest.raises(EdgenetsError, match=r"version 10\.0 cannot load .*unknown option 'plugin'"):
        emulator_setup._compile_plugin(board, compiler)


def test_interrupted_set_up_goes_on_with_what_has_come(cache, monkeypatch):
    """The network fails after the packages; nothing is visible until all is there."""
    monkeypatch.setattr(emulator_setup, "_download_packages", lambda work: [])

    def fail(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "came.whl").exists():
            return []
        (folder / "came.whl").touch()
        raise EdgenetsError("the network is gone")

    monkeypatch.setattr(emulator_setup, "_download_wheels", fail)
    monkeypatch.setattr(emulator_setup, "_describe_cpu", lambda folder, cpu: None)
    monkeypatch.setattr(emulator_setup, "_compile_plugin", lambda board, compiler: None)
    monkeypatch.setattr(emulator_setup, "qemu_version", lambda qemu: "7.2")
    place = cache / "emulator"
    with pytest.raises(EdgenetsError, match="network"):
        emulator_setup._build(place, "qemu", "cc")
    assert not place.exists()
    emulator_setup._build(place, "qemu", "cc")
    assert [path.name for path in place.iterdir()] == [emulator.ABOUT]
    assert json.loads((place / emulator.ABOUT).read_text())["recipe"] == emulator.RECIPE


# On the board


@board_test
def test_counts_repeat_and_come_in_the_order_of_the_files(emulated_board, tiny_net, tmp_path):
    int8, float32 = tmp_path / "int8 'a'.tflite", tmp_path / "float32.tflite"
    int8.write_bytes(tiny_net.int8)
    float32.write_bytes(tiny_net.softmax_float32)
    once = count_instructions([int8, float32, int8], "cortex-a72")
    assert once[0] == pytest.approx(once[2], rel=0.01)
    assert once[0] != pytest.approx(once[1], rel=0.01)
    again = count_contents({"b": tiny_net.softmax_float32, "a": tiny_net.int8}, "cortex-a72")
    assert again == pytest.approx({"b": once[1], "a": once[0]}, rel=0.01)


@pytest.fixture(scope="module")
def vww_counts(emulated_board):
    """The counts of one file in two processes, by core."""
    path = SHARED_DATA / VWW
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return {cpu: count_instructions([path, path], cpu) for cpu in emulator.CPUS}


@board_test
def test_counts_agree_with_the_references(vww_counts):
    """Counted elsewhere, with the same LiteRT, and without telling XNNPACK the core."""
    assert vww_counts["cortex-a72"][0] == pytest.approx(3.55e6, rel=0.03)
    assert vww_counts["cortex-a76"][0] == pytest.approx(1.95e6, rel=0.03)


@board_test
def test_two_processes_count_the_same(vww_counts):
    for first, second in vww_counts.values():
        assert first == pytest.approx(second, rel=0.01)


@board_test
def test_cores_are_told_apart(vww_counts):
    """XNNPACK has kernels of its own for the A53, and the A76 has dot products."""
    a53, a72, a76 = (vww_counts[cpu][0] for cpu in emulator.CPUS)
    assert a76 < a72 < a53


@board_test
@pytest.mark.parametrize("cpu", emulator.CPUS)
def test_int8_outputs_are_those_of_this_machine(
    emulated_board, shared_file, tmp_path, tmp_path_factory, cpu
):
    path, inputs = shared_file(VWW), tmp_path / "images.npy"
    random = np.random.default_rng(1)
    np.save(inputs, random.integers(-128, 128, (4, 96, 96, 3), np.int8))
    with open_device(Emulated(cpu)) as session:
        emulated = run_in(session, path, inputs)
    here = run_here(path, inputs, tmp_path_factory.getbasetemp())
    assert emulated["runtime"]["version"] == here["runtime"]["version"] == "2.1.6"
    assert emulated["sha256"] == here["sha256"]


@board_test
def test_benchmark_gives_instructions_and_no_times(emulated_board, tiny_int8_file):
    command = [sys.executable, "-m", "edgenets", "benchmark", str(tiny_int8_file)]
    done = subprocess.run(
        [*command, "--device", "emulated:cortex-a76", "--json"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["instructions"] > 1000
    assert (result["latency_ms"], result["samples_ms"]) == (None, [])
    assert (result["runtime"]["name"], result["runtime"]["version"]) == ("ai-edge-litert", "2.1.6")
    assert (result["device"]["name"], result["device"]["machine"]) == (
        "emulated:cortex-a76",
        "aarch64",
    )


@board_test
def test_file_that_litert_refuses_is_one_sentence(emulated_board, shared_file, tiny_int8_file):
    bad = shared_file("coral/split_concat_edgetpu.tflite")
    with pytest.raises(EdgenetsError, match=r"split_concat_edgetpu\.tflite.*edgetpu-custom-op"):
        count_instructions([tiny_int8_file, bad], "cortex-a72")


@board_test
def test_process_that_dies_names_its_file(emulated_board, tiny_int8_file, monkeypatch):
    script = b"import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    monkeypatch.setattr(archive, "runner_archive", lambda: script)
    with pytest.raises(EdgenetsError, match=rf"{tiny_int8_file} crashed with SIGSEGV"):
        count_instructions([tiny_int8_file], "cortex-a72")


@board_test
def test_set_up_again_changes_nothing(emulated_board):
    about = emulated_board.folder / emulator.ABOUT
    before = about.stat().st_mtime_ns
    assert emulator_setup.set_up().folder == emulated_board.folder
    assert about.stat().st_mtime_ns == before


@board_test
@pytest.mark.skipif(not Path("/var/lib/apt/lists").is_dir(), reason="no package lists here")
def test_set_up_uses_a_package_state_of_its_own(cache, emulated_board):
    """The system's package lists and caches stay as they are while packages are fetched."""

    def state():
        return [
            (path, path.stat().st_mtime_ns)
            for folder in ("/var/lib/apt", "/var/cache/apt", "/var/lib/dpkg")
            for path in (Path(folder), *sorted(Path(folder).glob("**/*")))
        ]

    before = state()
    packages = emulator_setup._download_packages(cache / "work")
    assert len(packages) == len(emulator.PACKAGES)
    assert all(path.name.endswith("_arm64.deb") for path in packages)
    assert state() == before
    assert os.environ.get("APT_CONFIG") is None


@board_test
@pytest.mark.parametrize(
    "options, sentence",
    [
        (["--threads", "2"], "counts the instructions of one thread, not 2"),
        (["--vs", "FILE"], "counts instructions and times nothing"),
    ],
)
def test_what_only_timed_devices_do_is_refused(emulated_board, tiny_int8_file, options, sentence):
    from click.testing import CliRunner

    from edgenets.cli.benchmark import command

    arguments = [str(tiny_int8_file), "--device", "emulated:cortex-a53", *options]
    arguments = [str(tiny_int8_file) if word == "FILE" else word for word in arguments]
    result = CliRunner().invoke(command, arguments)
    assert isinstance(result.exception, EdgenetsError)
    assert sentence in str(result.exception)
