"""Several processes of this machine at one sweep: each looks for work in the sweep's folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from edgenets.errors import EdgenetsError
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
    command = [sys.executable, "-m", __name__, str(folder)]
    command += [] if seconds is None else [str(seconds)]
    processes = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, env={**dict.fromkeys(THREADS, cores), **os.environ}
        )
        for _ in range(workers)
    ]
    try:
        codes = [process.wait() for process in processes]
    finally:  # after Ctrl-C, too: a worker whose input ends stops
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
    if failed := [code for code in codes if code]:
        died = [-code for code in failed if code < 0]
        how = f"killed by signal {died[0]}" if died else "that failed, as it says above"
        raise EdgenetsError(
            f"of {workers} processes of the sweep there are {len(failed)} {how}; what is done is "
            "kept, the same command goes on from there"
        )


def _end_with_the_input() -> None:
    """End this process at once where the one that started it has ended, however that was."""
    os.read(sys.stdin.fileno(), 1)  # not by its buffer, whose lock would hinder the usual end
    os.kill(os.getpid(), signal.SIGKILL)  # nothing is lost: that is what the folder is for


def _main() -> int:
    threading.Thread(target=_end_with_the_input, daemon=True).start()
    deadline = time.monotonic() + float(sys.argv[2]) if len(sys.argv) > 2 else None
    try:
        search(Store(Path(sys.argv[1])), deadline=deadline)
    except EdgenetsError as error:
        say(f"edgenets: {error}")
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(_main())
