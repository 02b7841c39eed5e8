"""How small an arena the microcontroller runtime, TFLM, takes for a `.tflite`, found by trying.

TFLM ends its process where the arena is too small or a kernel meets what it was not written for, so
it runs in a child (`tflm_child.py`). Its kernels here are the portable ones, on a 64-bit machine.

Source: github.com/tensorflow/tflite-micro, python/tflite_micro/runtime.py.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from edgenets.errors import EdgenetsError
from edgenets.export.board.protocol import TFLM_PACKAGE
from edgenets.export.devices.program import run_program
from edgenets.packages import require_package

CHILD = Path(__file__).with_name("tflm_child.py")
MOST_ARENA_BYTES = 2**26
"""What is tried: more memory than microcontrollers have, with what is attached to them."""
STEP_BYTES = 64
"""How closely the least arena is found."""
MAX_SECONDS = 600.0
TOO_SMALL = re.compile(r"available \d+, missing: \d+")  # bytes of the arena, as TFLM says it
LONGEST_REASON = 200  # characters of what TFLM said


def least_arena(content: bytes, from_bytes: int, most_bytes: int = MOST_ARENA_BYTES) -> int:
    """Return the least arena that runs, to `STEP_BYTES`, found by bisection.

    Args:
        content: of a `.tflite`.
        from_bytes: where to begin, such as what the activations take.
        most_bytes: the largest that is tried.

    Raises:
        EdgenetsError: the package is not installed, TFLM refuses the file, or no such arena is
            large enough.
    """
    require_package(TFLM_PACKAGE)
    found = _search(content, min(from_bytes, most_bytes), most_bytes)
    if (message := found.get("message")) is None:
        return int(found["arena_bytes"])
    if TOO_SMALL.search(message):
        raise EdgenetsError(
            f"TFLM needs an arena of more than {most_bytes / 2**20:g} MiB for this file, which no "
            "microcontroller has; lower the resolution or width"
        )
    raise _refused(message)


def _search(content: bytes, *limits: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="edgenets-") as name:
        model, answer = Path(name, "model.tflite"), Path(name, "answer.json")
        model.write_bytes(content)
        command = [sys.executable, "-I", str(CHILD), str(model), str(answer)]
        command += map(str, (*limits, STEP_BYTES))
        try:
            ended = run_program(command, Path(name), MAX_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise EdgenetsError(
                f"TFLM was stopped after {MAX_SECONDS:.0f} s; take a smaller net"
            ) from error
        if ended.status or not answer.exists():
            raise _refused(ended.text, ended.status)
        found: dict[str, Any] = json.loads(answer.read_bytes())
        return found


def _refused(message: str, status: int = 1) -> EdgenetsError:
    """Return the error for a file that TFLM does not run, with the first that it said of it."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    said = f" ({lines[0][:LONGEST_REASON]})" if lines else ""
    how = f"was ended by {signal.Signals(-status).name}" if status < 0 else "refuses the file"
    return EdgenetsError(
        f"TFLM, the microcontroller runtime, {how}{said}; replace the layer that this is of, or "
        "take another target"
    )
