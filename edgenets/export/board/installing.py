"""Make a virtual environment on a board and install what the runner needs into it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .protocol import RunnerError, report

SECONDS_PER_SIGN = 10.0
"""Of life, while pip installs."""


def install(request: dict[str, Any], folder: str, packages: Sequence[str]) -> dict[str, Any]:
    """Install `packages` into the virtual environment `folder`, made if there is no whole one.

    Raises:
        RunnerError: one of the steps fails.
    """
    home = Path(folder).expanduser()
    python = home / "bin" / "python3"
    this = os.environ.get("EDGENETS_PYTHON", sys.executable)  # `executable` may be an emulated one
    steps: list[tuple[str, ...]] = (
        []
        if python.exists() and not _watched([str(python), "-m", "pip", "--version"])[0]
        else [("make a virtual environment", this, "venv", "--clear", str(home))]
    )
    steps.append(
        (
            "install",
            str(python),
            "pip",
            "--disable-pip-version-check",
            "install",
            "--quiet",
            *packages,
        )
    )
    for what, program, module, *arguments in steps:
        status, output = _watched([program, "-m", module, *arguments])
        if status:
            lines = output.decode(errors="replace").strip().splitlines() or ["no message"]
            reason = next((line for line in lines if line.startswith("ERROR")), lines[-1])
            if module == "venv":
                shutil.rmtree(home, ignore_errors=True)
                reason += "; on Debian and Raspberry Pi OS run: sudo apt install python3-venv"
            raise RunnerError(f"cannot {what} in {home}: {reason}")
        report(0, 1, 0.5)
    return {"folder": str(home)}


def _watched(command: Sequence[str]) -> tuple[int, bytes]:
    """Run a command that takes its time; give signs of life meanwhile. Return status and output."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        while True:
            try:
                output, _ = process.communicate(timeout=SECONDS_PER_SIGN)
                return process.returncode, output
            except subprocess.TimeoutExpired:
                report(0, 1, 0.0)
