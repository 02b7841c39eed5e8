"""The microcontroller runtime, TFLM, in a process of its own, which it may end.

Run by its path, with tflite-micro alone: `python tflm_child.py MODEL ANSWER LOW HIGH STEP`. To the
file ANSWER it writes a JSON object, the least arena from LOW bytes on that runs MODEL,
`{"arena_bytes": n}`, or `{"message": text}` where none up to HIGH does. What TFLM says is printed.
Every trial of an arena is a fork: one that is too small ends its process, by a signal or not.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

PACKAGE = "tflite_micro"


def main() -> None:
    """Search once."""
    model, answer, *limits = sys.argv[1:]
    import_module(PACKAGE)  # once, before the forks
    found = least_arena(Path(model).read_bytes(), *map(int, limits))
    Path(answer).write_text(json.dumps(found))


def least_arena(content: bytes, low: int, high: int, step: int) -> dict[str, Any]:
    """Return the least multiple of `step` that runs: grow it fourfold, then bisect.

    All that an inference takes is allocated before it, so that only the last trial runs one.
    """
    most = high // step
    too_small, runs = 0, max(1, low // step)
    while message := refusal(content, runs * step):
        if runs >= most:
            return {"message": message}
        too_small, runs = runs, min(4 * runs, most)
    while runs - too_small > 1:
        middle = (too_small + runs) // 2
        if refusal(content, middle * step):
            too_small = middle
        else:
            runs = middle
    if message := refusal(content, runs * step, invoke=True):
        return {"message": message}
    return {"arena_bytes": runs * step}


def refusal(content: bytes, arena_bytes: int, *, invoke: bool = False) -> str | None:
    """Return what TFLM says where it does not open, or run, a file in such an arena; else None."""
    with tempfile.TemporaryFile() as said:
        process = os.fork()
        if not process:
            os.dup2(said.fileno(), 2)
            os.dup2(said.fileno(), 1)
            try:
                interpreter = opened(content, arena_bytes)
                if invoke:
                    interpreter.invoke()
            except Exception as error:  # of any kind: the process must not go on
                os.write(2, f"{error}\n".encode())
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(process, 0)
        if not status:
            return None
        said.seek(0)
        ended = f"it ended with status {os.waitstatus_to_exitcode(status)}"
        return said.read().decode(errors="replace") or ended


def opened(content: bytes, arena_bytes: int) -> Any:
    """Return TFLM's interpreter of a file."""
    return import_module(PACKAGE).runtime.Interpreter.from_bytes(content, arena_size=arena_bytes)


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # a sentence, no traceback
        sys.exit(str(error))
