"""Boards over SSH, against a real server on loopback."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.export.devices import ssh
from edgenets.export.devices.device import parse_device
from edgenets.export.measure import accuracy, remote_classifier
from edgenets.export.measure.benchmark import benchmark_file, benchmark_on_devices
from edgenets.export.measure.verify import verify_file

pytestmark = pytest.mark.board


def edgenets(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "edgenets", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job, as a test run may be, ignores SIGINT and hands that down.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def eventually(holds, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.02)
    return False


def test_a_board_is_measured_and_nothing_is_left(board, colour_file):
    process = edgenets(
        "benchmark", colour_file, "--device", board.url, "--min-seconds", 0.2, "--json"
    )
    output, messages = process.communicate(timeout=60)
    assert process.returncode == 0, messages
    result = json.loads(output)
    assert result["device"]["name"] == board.url
    assert result["model"]["name"] == colour_file.name  # which has a space and quotes
    assert result["latency_ms"]["median"] > 0 and len(result["samples_ms"]) >= 100
    assert board.is_clean()


def test_operators_are_measured_on_a_board_and_nothing_is_left(board, colour_file):
    result = benchmark_file(colour_file, min_seconds=0, device=board.device, per_op=True)
    assert len(result.ops) == len(flatbuffer.read(colour_file).operators)
    assert all(op["ms"] is not None for op in result.ops)
    assert eventually(board.is_clean)


def test_a_board_is_compared_with_the_kernels_of_this_machine(board, colour_file):
    result = verify_file(colour_file, images=3, runtimes=["reference"], devices=[board.device])
    here, there = result["runtimes"]
    assert (here["name"], there["name"]) == ("reference", board.url)
    assert (there["bit_equal"], there["same_answers"], there["problem"]) == (3, 1, None)
    assert there["version"] == here["version"]
    assert board.is_clean()


def test_a_login_script_that_prints_does_no_harm(board, colour_file):
    (board.home / ".bashrc").write_text("echo 'welcome to {the} board'\n")
    (board.home / ".zshenv").write_text("echo 'welcome to {the} board'\n")
    assert benchmark_file(colour_file, min_seconds=0, device=board.device).samples_ms


def test_an_unknown_host_key_is_refused(board, colour_file):
    (board.folder / "known_hosts").write_text("")
    sentence = f"its host key is not known here; .* ssh -p {board.port} .*@127.0.0.1"
    with pytest.raises(EdgenetsError, match=sentence):
        benchmark_file(colour_file, device=board.device)
    assert (board.folder / "known_hosts").read_text() == ""


def test_a_changed_host_key_is_refused(board, colour_file):
    board.know_as("another_host")
    with pytest.raises(EdgenetsError, match=r"another machine may answer.* ssh-keygen -R '\["):
        benchmark_file(colour_file, device=board.device)


def test_a_user_who_is_not_let_in_is_one_sentence(board, colour_file):
    url = board.url_at(board.port, "nobody-of-this-name")
    with pytest.raises(
        EdgenetsError, match=r"does not let you in .*Permission denied.*ssh-copy-id"
    ):
        benchmark_file(colour_file, device=parse_device(url))


def test_a_board_that_is_not_there_is_one_sentence(board, colour_file):
    url = board.url_at(1)
    with pytest.raises(EdgenetsError, match=r"no SSH server answers \(.*Connection refused"):
        benchmark_file(colour_file, device=parse_device(url))


def test_a_board_without_python_is_one_sentence(start_board, colour_file):
    board = start_board(path="/nowhere")
    (board.home / "bin" / "sh").symlink_to("/bin/sh")
    with pytest.raises(EdgenetsError, match="it has no python3; run there: sudo apt install"):
        benchmark_file(colour_file, device=board.device)


def test_a_python_that_is_too_old_is_one_sentence(board, colour_file):
    board.add_program("python3", f"exit {ssh.OLD_PYTHON}")
    with pytest.raises(EdgenetsError, match=r"python3 is older than 3\.10"):
        benchmark_file(colour_file, device=board.device)


@pytest.mark.parametrize(
    "missing, sentence",
    [
        ("numpy", "NumPy cannot be imported; .*; or add --setup"),
        (
            "ai_edge_litert",
            "no interpreter .* can be imported.*tflite-runtime 'numpy<2'; or add --setup",
        ),
    ],
)
def test_a_board_without_what_it_needs_is_one_sentence(board, colour_file, missing, sentence):
    package = board.home / "broken" / missing
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('not installed')\n")
    path, python = shlex.quote(str(package.parent)), shlex.quote(sys.executable)
    board.add_program("python3", f'PYTHONPATH={path} exec {python} "$@"')
    with pytest.raises(EdgenetsError, match=sentence):
        benchmark_file(colour_file, device=board.device)
    assert board.is_clean()


def test_too_little_memory_is_one_sentence(board, colour_file, monkeypatch):
    monkeypatch.setattr("edgenets.flatbuffer.Model.size_bytes", 2**50)
    with pytest.raises(EdgenetsError, match=r"MiB of memory are free, and the model .* takes"):
        benchmark_file(colour_file, device=board.device)


@pytest.mark.parametrize("command", [("benchmark",), ("evaluate", "--data", "digits")])
def test_a_missing_model_is_said_before_the_board_is_asked(colour_file, command):
    process = edgenets(*command, colour_file.with_name("no.tflite"), "--device", "ssh://nowhere")
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 1
    assert messages.startswith("edgenets: cannot read ") and messages.count("\n") == 1


def test_the_virtual_environment_that_set_up_made_is_taken(board, colour_file):
    venv = ssh.VENV.replace("~", str(board.home))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    with pytest.raises(EdgenetsError, match="NumPy cannot be imported"):
        benchmark_file(colour_file, device=board.device)


@pytest.mark.parametrize("is_half_made", [False, True])
def test_a_set_up_that_fails_says_what_pip_said(board, colour_file, is_half_made, monkeypatch):
    """A virtual environment that was cut short before it had pip is made anew."""
    venv = ssh.VENV.replace("~", str(board.home))
    if is_half_made:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    monkeypatch.setattr(
        "edgenets.export.devices.opening.board_packages", lambda _: ["./no such folder"]
    )
    with pytest.raises(EdgenetsError, match=r"cannot install in .*venv: ERROR: .*no such folder"):
        benchmark_file(colour_file, device=board.device, setup=True)
    assert board.is_clean()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(ssh, "SILENCE_SECONDS", 3)
    monkeypatch.setitem(ssh.OPTIONS, "ServerAliveInterval", "1")
    monkeypatch.setitem(ssh.OPTIONS, "ServerAliveCountMax", "2")


@pytest.mark.parametrize("cut", ["close", "go_silent"])
def test_a_link_that_is_cut_ends_both_sides_soon(board, link, slow_file, impatient, cut):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor() as pool:
        url = board.url_at(link.port)
        device = parse_device(url)
        answer = pool.submit(benchmark_file, slow_file, min_seconds=600, device=device)
        assert eventually(board.processes)
        getattr(link, cut)()
        with pytest.raises(EdgenetsError, match=f"{url}: the link was (lost|closed)"):
            answer.result(timeout=20)
    assert board.is_clean()


def test_ctrl_c_ends_what_runs_on_the_boards(board, slow_file):
    process = edgenets("benchmark", slow_file, "--device", board.url, "--min-seconds", 600)
    assert eventually(board.processes)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "edgenets: interrupted" in messages
    assert board.is_clean()


def test_ctrl_c_ends_several_devices(board, slow_file):
    devices = ["--device", "local", "--device", board.url]
    process = edgenets("benchmark", slow_file, *devices, "--min-seconds", 600)
    assert eventually(board.processes)
    process.send_signal(signal.SIGINT)
    assert "interrupted" in process.communicate(timeout=20)[1]
    assert process.returncode == 130
    assert board.is_clean()


def test_a_killed_host_leaves_nothing_on_the_board(board, slow_file):
    process = edgenets("benchmark", slow_file, "--device", board.url, "--min-seconds", 600)
    assert eventually(board.processes)
    process.kill()
    process.communicate()
    assert board.is_clean()


def test_a_process_that_crashes_on_the_board_is_one_sentence(board, colour_file):
    python = shlex.quote(sys.executable)
    board.add_program(
        "python3", f'case "$1" in runner.pyz) kill -SEGV $$;; esac; exec {python} "$@"'
    )
    with pytest.raises(EdgenetsError, match=r"@127\.0\.0\.1:\d+: the process .* with SIGSEGV"):
        benchmark_file(colour_file, device=board.device)
    assert board.is_clean()


def test_of_two_devices_one_may_fail(board, colour_file):
    refused = board.url_at(1)
    good, bad = benchmark_on_devices(
        colour_file, [board.device, parse_device(refused)], min_seconds=0
    )
    assert good.device["name"] == board.url and good.latency_ms.median > 0
    assert bad.device == {"name": refused} and "no SSH server answers" in bad.error

    process = edgenets("benchmark", colour_file, "--device", board.url, "--device", refused)
    output, messages = process.communicate(timeout=60)
    assert process.returncode == 1
    assert board.url in output and refused in messages
    assert board.is_clean()


def test_a_file_is_evaluated_on_the_board_with_images_prepared_here(
    board, colour_file, tmp_path, monkeypatch
):
    monkeypatch.setattr(remote_classifier, "SENT_BYTES", 8 * 8 * 3 * 4)  # four images at a time
    for i, label in enumerate(("red", "green", "blue")):
        folder = tmp_path / "photos" / label
        folder.mkdir(parents=True)
        for j in range(3):
            pixels = np.full((20, 30, 3), 40 + j, np.uint8)
            pixels[..., i] += 100
            Image.fromarray(pixels).save(folder / f"{j}.png")
    mistaken = Image.fromarray(np.uint8([[[9, 9, 200]]]))
    mistaken.save(tmp_path / "photos" / "red" / "blue in truth.png")

    there = accuracy.evaluate_file(colour_file, str(tmp_path / "photos"), device=board.device)
    local = accuracy.evaluate_file(colour_file, str(tmp_path / "photos"))
    assert there["samples"] == 10 and there["top1"] == 0.9
    assert {key: there[key] for key in local} == local
    assert there["here"]["identical"] == 10 and there["here"]["largest_difference"] == 0
    assert there["runtime"]["name"] == "ai-edge-litert"
    assert board.is_clean()

    process = edgenets(
        "evaluate", colour_file, "--data", tmp_path / "photos", "--device", board.url
    )
    output, messages = process.communicate(timeout=60)
    assert process.returncode == 0, messages
    shown = (
        "top-1 90.00 % (95 % interval 59.6 to 98.2 %) of 10 images\noutputs identical bit for bit"
    )
    assert f"{shown} (ai-edge-litert" in output
