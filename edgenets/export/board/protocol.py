"""What the runner may be asked, and what it prints: JSON objects, one a line.

Each has the number of the request that it answers.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

DELEGATES = {"edgetpu": "libedgetpu.so.1"}
"""Name -> library."""
KERNELS = {
    "reference": "BUILTIN_REF",
    "optimized": "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
    "xnnpack": None,
}
"""Kernels of an interpreter -> its `OpResolverType`; None: those that it takes by itself, which are
XNNPACK's where it was built with it, and the optimized ones for what XNNPACK lacks."""
TFLM = "tflm"
"""In place of `KERNELS`, the microcontroller runtime's, which has an interpreter of its own."""
TFLM_PACKAGE = "tflite-micro"
"""That it is in; there are wheels for Linux on x86-64 alone."""
NEEDS_NUMPY_1 = "tflite-runtime needs NumPy 1"
"""How the problem begins of a board that has it beside NumPy 2."""
MAX_RUNS = 10_000
"""Timed inferences of a file, at most: so many numbers are answered."""
MOST_TEXT = 1000
"""Characters of an error."""


class RunnerError(Exception):
    """A failure a user can act on: the message is one sentence."""


class _Output:
    """Where answers go, and the number of the request that they answer."""

    file: Any = sys.stdout
    request = 0


def take_stdout() -> None:
    """Keep stdout for answers: what C++ code prints goes to stderr from now on."""
    _Output.file = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)


def begin(request: int) -> None:
    """Answer this request from now on."""
    _Output.request = request


def say(message: dict[str, Any]) -> None:
    """Print an answer."""
    print(json.dumps({"request": _Output.request, **message}), file=_Output.file, flush=True)


def report(whole: int, parts: int, done: float) -> None:
    """Print how much is done: so many of equal parts, and this share of the next one."""
    say({"percent": round(100 * (whole + done) / parts)})


def fail(error: RunnerError) -> None:
    """Print an error in place of a result."""
    say({"error": " ".join(str(error).split())[:MOST_TEXT]})
