"""TFLM runs in a child: its arena is searched for, and whatever it does is a sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from edgenets.errors import EdgenetsError
from edgenets.export.board.protocol import TFLM_PACKAGE
from edgenets.export.devices import tflm
from edgenets.packages import has_wheel, installed_version

pytestmark = pytest.mark.skipif(
    not installed_version(TFLM_PACKAGE), reason="tflite-micro is not installed"
)
RUN_ONCE = """
import sys
from tflite_micro import runtime
runtime.Interpreter.from_file(sys.argv[1], arena_size=int(sys.argv[2])).invoke()
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch) -> Path:
    """Where temporary files are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def net(colour_net) -> bytes:
    return colour_net(8)


def runs_in(arena_bytes: int, content: bytes, folder: Path) -> bool:
    """Whether TFLM runs a file in such an arena."""
    (folder / "net.tflite").write_bytes(content)
    command = [sys.executable, "-c", RUN_ONCE, str(folder / "net.tflite"), str(arena_bytes)]
    return not subprocess.run(command, capture_output=True).returncode


def test_least_arena_runs_and_one_kib_less_does_not(net: bytes, temporary: Path, tmp_path_factory):
    least = tflm.least_arena(net, 64)
    folder = tmp_path_factory.mktemp("net")
    assert runs_in(least, net, folder) and not runs_in(least - 1024, net, folder)
    assert least % tflm.STEP_BYTES == 0
    assert tflm.least_arena(net, 2**20) == least  # from above, too
    assert not list(temporary.iterdir())


def test_model_that_never_fits_is_told_in_a_sentence(net: bytes, temporary: Path):
    with pytest.raises(EdgenetsError, match=r"more than 0\.000976562 MiB .* lower the resolution"):
        tflm.least_arena(net, 64, most_bytes=1024)
    assert not list(temporary.iterdir())


def test_child_that_ends_is_told_in_a_sentence(net: bytes, temporary: Path, monkeypatch):
    child = temporary / "child.py"
    child.write_text("import os\nprint('Failed to wake', flush=True)\nos.abort()\n")
    monkeypatch.setattr(tflm, "CHILD", child)
    sentence = r"was ended by SIGABRT \(Failed to wake\); .*take another target"
    with pytest.raises(EdgenetsError, match=sentence):
        tflm.least_arena(net, 64)
    assert list(temporary.iterdir()) == [child]


def test_child_that_ends_well_without_an_answer_is_told(net: bytes, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(tflm, "CHILD", tmp_path / "child.py")
    tflm.CHILD.touch()
    with pytest.raises(EdgenetsError, match="refuses the file;"):
        tflm.least_arena(net, 64)


def test_file_that_is_cut_is_refused_in_a_sentence(net: bytes):
    with pytest.raises(EdgenetsError, match="refuses the file"):
        tflm.least_arena(net[:200], 64)


@pytest.mark.parametrize("reason", ["interrupted", "too long"])
@pytest.mark.usefixtures("heeded_ctrl_c")
def test_search_that_is_stopped_leaves_nothing(
    temporary: Path, tmp_path_factory, monkeypatch, reason: str
):
    told = tmp_path_factory.mktemp("told") / "pid"
    child = told.with_name("child.py")
    child.write_text(
        "import os, pathlib, sys, time\n"
        f"os.fork() or pathlib.Path({str(told)!r}).write_text(str(os.getpid()))\n"
        "time.sleep(60)\n"
    )
    monkeypatch.setattr(tflm, "CHILD", child)

    def interrupt() -> None:
        while not (told.exists() and told.read_text()):
            time.sleep(0.01)
        if reason == "interrupted":
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    error: type[BaseException] = KeyboardInterrupt
    if reason == "too long":
        monkeypatch.setattr(tflm, "MAX_SECONDS", 0.5)
        error = EdgenetsError
    with pytest.raises(error):
        tflm.least_arena(b"", 64)
    thread.join()
    for _ in range(100):  # the fork's fork is the kernel's to bury
        if not Path("/proc", told.read_text()).exists():
            break
        time.sleep(0.01)
    assert "Z" in status_of(told.read_text())
    assert not list(temporary.iterdir())


def status_of(pid: str) -> str:
    """The state of a process; "Z" of one that is gone or not yet buried."""
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_missing_package_names_the_extra(net: bytes, monkeypatch):
    monkeypatch.setattr("edgenets.packages.installed_version", lambda name: None)
    with pytest.raises(EdgenetsError, match=r"needs tflite-micro.*edgenets\[mcu\]"):
        tflm.least_arena(net, 64)


def test_wheel_is_for_linux_on_x86_alone(monkeypatch):
    assert has_wheel(TFLM_PACKAGE)
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert not has_wheel(TFLM_PACKAGE) and has_wheel("ethos-u-vela")
