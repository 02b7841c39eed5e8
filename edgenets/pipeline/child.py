"""Processes that do a part of a command's work, and that end with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from typing import Any


def start_child(module: str, task: Any, **options: Any) -> subprocess.Popen[bytes]:
    """Run the `main` of a module in a process of its own, which ends as soon as its stdin does.

    Ctrl-C is for this process, which ends those that it started.

    Args:
        module: finds its packages where this process does, and not in the working directory.
        task: a JSON value, which the module gets by `take_task`.
        options: of `subprocess.Popen`.
    """
    start = f"import sys; sys.path[:] = sys.argv[1:]; from {module} import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", start, *sys.path],
        stdin=subprocess.PIPE,
        start_new_session=True,
        **options,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(task).encode() + b"\n")
    process.stdin.flush()
    return process


def take_task() -> Any:
    """Return the task of this process; from then on it ends with the one that started it."""
    task = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    return task


def _end_with_stdin() -> None:
    while os.read(sys.stdin.fileno(), 4096):  # not by its buffer, whose lock hinders the usual end
        pass
    os._exit(1)  # at once: what is done is kept
