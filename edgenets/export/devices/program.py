"""Run a program in a process group of its own, and end it with all that it started."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

EDGETPU_COMPILER = "edgetpu_compiler"
INSTALL_EDGETPU_COMPILER = (
    "install Google's Debian package edgetpu-compiler from "
    '"deb https://packages.cloud.google.com/apt coral-edgetpu-stable main" '
    "(x86-64 only; coral.ai/docs/edgetpu/compiler)"
)


class Ended(NamedTuple):
    """How a program ended."""

    status: int  # negative: the signal that ended it
    text: str  # what it printed, to both its outputs


def run_program(command: Sequence[str], folder: Path, max_seconds: float) -> Ended:
    """Run a program in `folder`; whatever ends the wait ends it, too.

    Raises:
        OSError: it cannot be started.
        subprocess.TimeoutExpired: it took longer than `max_seconds`.
    """
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    with process:
        try:
            output, _ = process.communicate(timeout=max_seconds)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return Ended(process.returncode, output.decode(errors="replace"))
