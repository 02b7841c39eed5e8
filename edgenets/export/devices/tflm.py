"""Run a `.tflite` in the microcontroller runtime, TFLM, of the package tflite-micro.

TFLM ends its process where the arena is too small or a kernel meets what it was not written for, so
it runs in a child (`tflm_child.py`). Its kernels here are the portable ones, on a 64-bit machine.

Source: github.com/tensorflow/tflite-micro, python/tflite_micro/runtime.py.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets.errors import EdgenetsError
from edgenets.packages import missing_package

CHILD = Path(__file__).with_name("tflm_child.py")
MOST_ARENA_BYTES = 2**26
"""What is tried: more memory than microcontrollers have, with what is attached to them."""
STEP_BYTES = 64
"""How closely the least arena is found."""
MAX_SECONDS = 600.0
TOO_SMALL = re.compile(r"available \d+, missing: \d+")  # bytes of the arena, as TFLM says it
LONGEST_REASON = 200  # characters of what TFLM said


def is_installed() -> bool:
    """Return whether the package is here; Linux on x86-64 alone has it."""
    return importlib.util.find_spec("tflite_micro") is not None


def answers(
    content: bytes, images: NDArray[Any], arena_bytes: int = MOST_ARENA_BYTES
) -> NDArray[Any]:
    """Return the first output of each image, `[images, ...]`, as the file has it.

    Args:
        content: of a `.tflite` of one input.
        images: in the type and scale of the input, `[images, height, width, channels]`.
        arena_bytes: memory that the interpreter may take.

    Raises:
        EdgenetsError: the package is not installed, TFLM refuses the file or ends its process.
    """
    with tempfile.TemporaryDirectory(prefix="edgenets-") as name:
        given, made = Path(name, "images.npy"), Path(name, "outputs.npy")
        np.save(given, images[:, np.newaxis])
        _ask(Path(name), content, arena_bytes, images=str(given), outputs=str(made))
        outputs: NDArray[Any] = np.load(made)
        return outputs


def least_arena(content: bytes, from_bytes: int, most_bytes: int = MOST_ARENA_BYTES) -> int:
    """Return the least arena that runs, to `STEP_BYTES`, found by bisection.

    Args:
        content: of a `.tflite`.
        from_bytes: where to begin, such as what the activations take.
        most_bytes: the largest that is tried.

    Raises:
        EdgenetsError: as for `answers`; or no such arena is large enough.
    """
    with tempfile.TemporaryDirectory(prefix="edgenets-") as name:
        start = min(from_bytes, most_bytes)
        found = _ask(Path(name), content, most_bytes, from_bytes=start, step_bytes=STEP_BYTES)
    if (message := found.get("message")) is None:
        return int(found["arena_bytes"])
    if TOO_SMALL.search(message):
        raise EdgenetsError(
            f"TFLM needs an arena of more than {most_bytes / 2**20:g} MiB for this file, which no "
            "microcontroller has; lower the resolution or width"
        )
    raise _refused(message)


def _ask(folder: Path, content: bytes, arena_bytes: int, **request: Any) -> dict[str, Any]:
    if not is_installed():
        raise missing_package("tflite_micro")
    model = folder / "model.tflite"
    model.write_bytes(content)
    request |= {"model": str(model), "arena_bytes": arena_bytes}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-I", str(CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            start_new_session=True,
        )
        with process:
            try:
                output, _ = process.communicate(json.dumps(request).encode() + b"\n", MAX_SECONDS)
            except BaseException as error:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # with the trial that it forked
                if isinstance(error, subprocess.TimeoutExpired):
                    raise EdgenetsError(
                        f"TFLM was stopped after {MAX_SECONDS:.0f} s; take a smaller net"
                    ) from error
                raise
        said.seek(0)
        message = said.read().decode(errors="replace")
    if process.returncode or not output:
        raise _refused(message, process.returncode)
    found: dict[str, Any] = json.loads(output)
    return found


def _refused(message: str, status: int = 1) -> EdgenetsError:
    """Return the error for a file that TFLM does not run, with the first that it said of it."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    said = f" ({lines[0][:LONGEST_REASON]})" if lines else ""
    how = f"was ended by {signal.Signals(-status).name}" if status < 0 else "refuses the file"
    return EdgenetsError(
        f"TFLM, the microcontroller runtime, {how}{said}; "
        "`edgenets inspect FILE --target mcu` names the operators that it lacks"
    )
