"""TFLM runs in a child: its arena is searched for, and whatever it does is a sentence."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edgenets.errors import EdgenetsError
from edgenets.export.devices import tflm
from edgenets.packages import has_wheel

pytestmark = pytest.mark.skipif(not tflm.is_installed(), reason="tflite-micro is not installed")

IMAGES = np.random.default_rng(0).integers(-128, 128, (3, 8, 8, 3), dtype=np.int8)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch) -> Path:
    """Where temporary files are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def net(colour_net) -> bytes:
    return colour_net(8)


def test_answers_are_the_means_of_the_colours(net: bytes):
    expected = np.floor(IMAGES.mean(axis=(1, 2)) + 0.5)  # half up, as the reference kernel
    assert np.abs(tflm.answers(net, IMAGES) - expected).max() <= 1


def test_least_arena_runs_and_one_kib_less_does_not(net: bytes, temporary: Path):
    least = tflm.least_arena(net, 64)
    assert tflm.answers(net, IMAGES, least).shape == (3, 3)
    with pytest.raises(EdgenetsError, match="TFLM"):
        tflm.answers(net, IMAGES, least - 1024)
    assert least % tflm.STEP_BYTES == 0
    assert tflm.least_arena(net, 2**20) == least  # from above, too
    assert not list(temporary.iterdir())


def test_model_that_never_fits_is_told_in_a_sentence(net: bytes, temporary: Path):
    with pytest.raises(EdgenetsError, match=r"more than 0\.000976562 MiB .* lower the resolution"):
        tflm.least_arena(net, 64, most_bytes=1024)
    assert not list(temporary.iterdir())


def test_child_that_ends_is_told_in_a_sentence(net: bytes, temporary: Path):
    with pytest.raises(EdgenetsError, match=r"was ended by SIG.*Failed to .*inspect FILE --target"):
        tflm.answers(net, IMAGES, arena_bytes=16)
    assert not list(temporary.iterdir())


def test_file_that_is_cut_is_refused_in_a_sentence(net: bytes):
    for ask in (lambda: tflm.answers(net[:200], IMAGES), lambda: tflm.least_arena(net[:200], 64)):
        with pytest.raises(EdgenetsError, match="refuses the file"):
            ask()


@pytest.mark.parametrize("reason", ["interrupted", "too long"])
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
    monkeypatch.setattr(tflm, "is_installed", lambda: False)
    with pytest.raises(EdgenetsError, match=r"needs tflite-micro.*edgenets\[mcu\]"):
        tflm.answers(net, IMAGES)


def test_wheel_is_for_linux_on_x86_alone(monkeypatch):
    assert has_wheel("tflite-micro")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert not has_wheel("tflite-micro") and has_wheel("ethos-u-vela")
