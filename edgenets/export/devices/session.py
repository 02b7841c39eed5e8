"""Where files are run: this machine, or a board over SSH.

A device is opened as a `Session`: files are put there under the names that messages show, and a
list of jobs is asked of `board/runner.py`, in a fresh process there each time. What it answers goes
through `answers.py`, line by line, and a device that says nothing for too long is given up.
"""

from __future__ import annotations

import io
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets.errors import EdgenetsError
from edgenets.export.devices.answers import (
    most_bytes,
    names_of,
    read_answer,
)
from edgenets.export.devices.device import LOCAL

PATIENCE_SECONDS = 120.0
"""That a device may take to say anything; a board of the slowest kind opens and runs the largest
net in less."""

Report = Callable[[int], None]


class Session(ABC):
    """An open device.

    Attributes:
        name: of the device, as a user writes it.
        patience_seconds: that it may say nothing; None: as long as it likes.
    """

    def __init__(self, name: str, patience_seconds: float | None) -> None:
        self.name = name
        self.patience_seconds = patience_seconds
        self._paths: dict[str, str] = {}
        self._request = 0
        self._closed = threading.Event()

    @abstractmethod
    def put(self, name: str, source: Path | bytes) -> None:
        """Make a file known to jobs as `name`; one of that name is replaced."""

    @abstractmethod
    def close(self) -> None:
        """End what runs there, whoever waits for it; remove what was put there."""

    @abstractmethod
    def _start(self, request: dict[str, Any]) -> None:
        """Start the runner with a request."""

    @abstractmethod
    def _give_up(self) -> None:
        """End what answers wrongly, too late or no more."""

    @abstractmethod
    def _line(self, most_bytes: int, seconds: float | None) -> bytes:
        """Return the next line, waiting so long: of the runner, or that its process ended."""

    def ask(
        self,
        jobs: Sequence[dict[str, Any]],
        *,
        threads: int = 1,
        delegate: str | None = None,
        kernels: str | None = None,
        report: Report = lambda percent: None,
    ) -> list[dict[str, Any]]:
        """Return the results of the jobs, run one after the other in one fresh process.

        Args:
            jobs: rows of `runner.JOBS` with their arguments.
            threads: of the interpreter.
            delegate: a name of `DELEGATES`, or None.
            kernels: a name of `KERNELS`, or `TFLM`; None: those that the interpreter takes.
            report: is told how many per cent of the present job are done.

        Raises:
            EdgenetsError: a job fails, the process dies, the link to the device is lost, or the
                device answers what it cannot have been asked for.
        """
        self._request += 1
        about = {"threads": threads, "delegate": delegate, "kernels": kernels, "jobs": jobs}
        self._start({"request": self._request, "files": self._paths, **about})
        results: list[dict[str, Any]] = []
        heard = time.monotonic()
        while True:
            job = jobs[len(results)] if len(results) < len(jobs) else None
            try:
                line = self._line(most_bytes(job), self._left(heard))
                with self._telling():
                    answer = read_answer(line, self._request, job)
            except EdgenetsError:
                self._give_up()
                raise
            if answer is None:
                continue
            heard = time.monotonic()
            if answer.kind == "percent":
                report(answer.value)
            elif answer.kind == "result":
                results.append(answer.value)
            elif answer.kind == "error":
                raise EdgenetsError(self.told(answer.value))
            elif job is None:
                return results
            else:
                said = f" ({answer.message})" if answer.message else ""
                what = f"the process that runs {names_of(job)} {_ending(answer.value)}{said}"
                raise EdgenetsError(self.told(what))

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Put the device's name before what the block complains of."""
        try:
            yield
        except EdgenetsError as error:
            raise EdgenetsError(self.told(str(error))) from error

    def _left(self, heard: float) -> float | None:
        """Return the seconds that the device may still say nothing."""
        if self.patience_seconds is None:
            return None
        return max(0.0, heard + self.patience_seconds - time.monotonic())

    def told(self, message: str) -> str:
        """Return the message with the device it is about, unless that is this machine."""
        return message if self.name == LOCAL.name else f"{self.name}: {message}"

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def ending_after(
    seconds: float | None, process: subprocess.Popen[bytes], sentence: str
) -> Iterator[None]:
    """End a process that keeps the block waiting for so long.

    Raises:
        EdgenetsError: it did; the sentence.
    """
    if seconds is None:
        yield
        return
    silent = threading.Event()

    def end() -> None:
        silent.set()
        process.kill()

    timer = threading.Timer(seconds, end)
    timer.daemon = True  # Ctrl-C while it starts leaves it waiting, and this process must end
    try:
        timer.start()
        yield
    finally:
        timer.cancel()
        if silent.is_set():
            raise EdgenetsError(sentence)


def array_bytes(array: NDArray[Any]) -> bytes:
    """Return the array as the content of a `.npy` file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _ending(status: int) -> str:
    if status == -signal.SIGKILL:
        return "was killed by SIGKILL: the machine may have run out of memory"
    if status < 0:
        names = {number.value: number.name for number in signal.Signals}
        return (
            f"crashed with {names.get(-status, f'signal {-status}')}: the file breaks the "
            "interpreter; copy or export it again"
        )
    return f"ended with status {status}"
