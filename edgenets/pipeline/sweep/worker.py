"""Several processes of this machine at one sweep: each looks for work in the sweep's folder."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from edgenets.errors import EdgenetsError
from edgenets.pipeline.child import start_child, take_task
from edgenets.pipeline.sweep.search import search
from edgenets.pipeline.sweep.store import Store
from edgenets.progress import say

THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


def search_together(folder: Path, workers: int, seconds: float | None) -> None:
    """Let processes of their own work on the sweep of a folder until it is done.

    Args:
        folder: of a sweep.
        workers: how many processes; this machine's cores are shared out among them.
        seconds: after which no work begins.

    Raises:
        EdgenetsError: one of them failed or was killed; what is done is kept.
    """
    cores = str(max(1, (os.cpu_count() or 1) // workers))
    task = {"folder": str(folder), "seconds": seconds}
    env = {**dict.fromkeys(THREADS, cores), **os.environ}
    processes = [start_child(__name__, task, env=env) for _ in range(workers)]
    try:
        codes = [process.wait() for process in processes]
    finally:  # after Ctrl-C, too: a worker whose stdin ends stops
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
    if failed := [code for code in codes if code]:
        died = [-code for code in failed if code < 0]
        how = f"ended by signal {died[0]}" if died else "failed, as said above"
        raise EdgenetsError(
            f"of {workers} processes of the sweep {len(failed)} {how}; what is done is kept, the "
            "same command goes on from there"
        )


def main() -> None:
    """Work on the sweep of this process's task; the exit status is 1 if that failed."""
    task = take_task()
    deadline = None if task["seconds"] is None else time.monotonic() + task["seconds"]
    try:
        search(Store(Path(task["folder"])), deadline=deadline)
    except EdgenetsError as error:
        say(f"edgenets: {error}")
        sys.exit(1)
