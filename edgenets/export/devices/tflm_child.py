"""The microcontroller runtime, TFLM, in a process of its own, which it may end.

Run by its path, with NumPy and tflite-micro alone. A request is a JSON object on stdin; the answer
is one on what was stdout. What TFLM says goes to stderr. Every trial of an arena is a fork: one
that is too small ends its process, by a signal or not.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

RUNTIME = "tflite_micro.python.tflite_micro.runtime"


def main() -> None:
    """Answer one request, `{"model": path, "arena_bytes": n, ...}`.

    With `"images"`, a .npy of inputs `[images, 1, ...]`, outputs are saved to `"outputs"`, and the
    answer is `{}`. With `"from_bytes"` and `"step_bytes"` it is the least arena that runs, up to
    `arena_bytes`: `{"arena_bytes": n}`, or `{"message": text}` where there is none.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # at once, even amid compiled code
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        request = json.loads(sys.stdin.readline())
        content = Path(request["model"]).read_bytes()
        import_module(RUNTIME)  # once, before the forks
        if "images" in request:
            outputs = answer(content, request["arena_bytes"], np.load(request["images"]))
            np.save(request["outputs"], outputs)
            found: dict[str, Any] = {}
        else:
            limits = (request[key] for key in ("from_bytes", "arena_bytes", "step_bytes"))
            found = least_arena(content, *limits)
        print(json.dumps(found), file=answers)


def answer(content: bytes, arena_bytes: int, images: Any) -> Any:
    """Return the first output for each image, `[images, ...]`."""
    interpreter = opened(content, arena_bytes)
    outputs = []
    for image in images:
        interpreter.set_input(image, 0)
        interpreter.invoke()
        outputs.append(interpreter.get_output(0)[0].copy())
    return np.stack(outputs)


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
        return said.read().decode(errors="replace") or f"it ended with status {status}"


def opened(content: bytes, arena_bytes: int) -> Any:
    """Return TFLM's interpreter of a file."""
    return import_module(RUNTIME).Interpreter.from_bytes(content, arena_size=arena_bytes)


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # a sentence, no traceback
        sys.exit(str(error))
