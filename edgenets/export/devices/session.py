"""Where files are run: this machine, or a board over SSH.

A device is opened as a `Session`: files are put there under the names that messages show, and a
list of jobs is asked of `runner.py`, in a fresh process there each time. What it answers goes
through `answers.py`, line by line, and a device that says nothing for too long is given up.
"""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from edgenets.errors import EdgenetsError
from edgenets.export.devices import emulator, ssh
from edgenets.export.devices.answers import (
    MOST_TEXT,
    most_bytes,
    names_of,
    read_answer,
    read_greeting,
)
from edgenets.export.devices.interpreter import runtime_name_and_version
from edgenets.files import read_bytes

LOCAL = "local"
RUNNER = Path(__file__).parents[1] / "board" / "runner.py"

PATIENCE_SECONDS = 120.0
"""That a device may take to say anything; a board of the slowest kind opens and runs the largest
net in less."""
GREETING_SECONDS = 30.0
"""That a board may take to its first word."""
CHUNK_BYTES = 2**16
"""That a board takes within the patience."""
GREETING_BYTES = 2**16
"""Of a line that a login script prints; a longer one is read in pieces."""

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
        report: Report = lambda percent: None,
    ) -> list[dict[str, Any]]:
        """Return the results of the jobs, run one after the other in one fresh process.

        Args:
            jobs: rows of `runner.JOBS` with their arguments.
            threads: of the interpreter.
            delegate: a name of `runner.DELEGATES`, or None.
            report: is told how many per cent of the present job are done.

        Raises:
            EdgenetsError: a job fails, the process dies, the link to the device is lost, or the
                device answers what it cannot have been asked for.
        """
        self._request += 1
        about = {"threads": threads, "delegate": delegate, "jobs": jobs}
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
        return message if self.name == LOCAL else f"{self.name}: {message}"

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _ending_after(
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


class LocalSession(Session):
    """A Python on this machine, which reads files where they are.

    Args:
        name: of the device.
        python: the command that starts Python: this one, or an emulated one.
        patience_seconds: that it may say nothing; None: as long as it likes.
    """

    def __init__(
        self,
        name: str = LOCAL,
        python: Sequence[str] = (sys.executable,),
        patience_seconds: float | None = PATIENCE_SECONDS,
    ) -> None:
        super().__init__(name, patience_seconds)
        self._python = list(python)
        self._folder = tempfile.TemporaryDirectory(prefix="edgenets-")
        self._written: dict[str, Path] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._messages: BinaryIO | None = None

    def put(self, name: str, source: Path | bytes) -> None:
        """Note where the file is, or write its content into this session's folder."""
        if isinstance(source, bytes):
            own = Path(self._folder.name) / f"{len(self._written)}.bin"
            path = self._written.setdefault(name, own)
            path.write_bytes(source)
            source = path
        self._paths[name] = str(source.absolute())

    def _start(self, request: dict[str, Any]) -> None:
        self._give_up()
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115 - `_give_up` closes it
        self._process = subprocess.Popen(
            [*self._python, str(RUNNER)],
            cwd=self._folder.name,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
        )
        if self._closed.is_set():  # by another thread, just now
            self._process.kill()
        assert self._process.stdin
        with suppress(BrokenPipeError):  # it ended already; its status says why
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.close()

    def _line(self, most_bytes: int, seconds: float | None) -> bytes:
        assert self._process and self._process.stdout and self._messages
        sentence = (
            f"the interpreter said nothing for {self.patience_seconds or 0:.0f} s and was ended: "
            "the file is damaged, or too large for this machine; --patience "
            "waits longer"
        )
        with _ending_after(seconds, self._process, sentence):
            if line := self._process.stdout.readline(most_bytes + 1):
                return line
            status = self._process.wait()
        ended = {"ended": status, "message": _last_line(self._messages)}
        return json.dumps({"request": self._request, **ended}).encode()

    def _give_up(self) -> None:
        if self._process and self._messages:
            self._process.kill()
            with self._process:  # closes its pipes and waits
                self._messages.close()

    def close(self) -> None:
        """Kill the process that runs."""
        self._closed.set()
        self._give_up()
        self._folder.cleanup()


class EmulatedSession(LocalSession):
    """The Python of the emulated board, which counts the instructions that it executes.

    Args:
        name: of the device.
        cpu: of `emulator.CPUS`.

    Attributes:
        counter: for the job `count`.

    Raises:
        EdgenetsError: the board is not set up.
    """

    def __init__(self, name: str, cpu: str) -> None:
        board = emulator.find_board()
        super().__init__(name, patience_seconds=None)  # an inference may take hours
        self.counter = Path(self._folder.name) / "instructions"
        self._python = board.command(cpu, self.counter)


class SshSession(Session):
    """A board over SSH: one connection, and a folder there that goes with it.

    Args:
        name: of the device.
        address: of the board.
        patience_seconds: that the board may say nothing, or take nothing of what is sent.
        greeting_seconds: that it may take to its first word.

    Raises:
        EdgenetsError: the board cannot be reached, has no Python, or is silent.
    """

    def __init__(
        self,
        name: str,
        address: ssh.Address,
        patience_seconds: float | None = PATIENCE_SECONDS,
        greeting_seconds: float | None = GREETING_SECONDS,
    ) -> None:
        super().__init__(name, greeting_seconds)
        self._address = address
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115 - `close` does
        self._sending = threading.Lock()
        self._process = ssh.connect(address, self._messages.fileno())
        try:
            self._folder = self._greeting()
            self.patience_seconds = patience_seconds
            threading.Thread(target=self._beat, daemon=True).start()
            self.put(RUNNER.name, RUNNER)
        except BaseException:
            self.close()
            raise

    def put(self, name: str, source: Path | bytes) -> None:
        """Copy the file to the board."""
        content = read_bytes(source) if isinstance(source, Path) else source
        file = name if name == RUNNER.name else f"{len(self._paths)}.bin"
        if name in self._paths:
            file = self._paths[name].rpartition("/")[2]
        self._send({"file": file, "bytes": len(content)}, content)
        self._paths[name] = f"{self._folder}/{file}"

    def close(self) -> None:
        """End the connection: the board's supervisor then cleans up."""
        self._closed.set()
        assert self._process.stdin
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=2)  # the board has removed its folder
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if not self._messages.closed:
            self._messages.close()

    def _give_up(self) -> None:
        self.close()

    def _start(self, request: dict[str, Any]) -> None:
        number = request["request"]
        self._send({"run": [RUNNER.name], "request": number, "input": json.dumps(request)})

    def _line(self, most_bytes: int, seconds: float | None) -> bytes:
        assert self._process.stdout
        with _ending_after(seconds, self._process, self._silent()):
            if line := self._process.stdout.readline(most_bytes + 1):
                return line
        raise self._lost()

    def _greeting(self) -> str:
        """Wait for the board's first word; a login script may print other things before."""
        start = time.monotonic()
        while True:
            line = self._line(GREETING_BYTES, self._left(start))
            if line.startswith(b'{"folder"'):
                with self._telling():
                    return read_greeting(line)

    def _send(self, frame: dict[str, Any], content: bytes = b"") -> None:
        message = json.dumps(frame).encode() + b"\n" + content
        patience = -1 if self.patience_seconds is None else self.patience_seconds
        if not self._sending.acquire(timeout=patience):
            raise EdgenetsError(self._silent())
        try:
            for at in range(0, len(message), CHUNK_BYTES):
                self._write(message[at : at + CHUNK_BYTES])
        except (OSError, ValueError) as error:
            raise self._lost() from error
        finally:
            self._sending.release()

    def _write(self, chunk: bytes) -> None:
        assert self._process.stdin
        with _ending_after(self.patience_seconds, self._process, self._silent()):
            self._process.stdin.write(chunk)
            self._process.stdin.flush()

    def _beat(self) -> None:
        while not self._closed.wait(ssh.SILENCE_SECONDS / 6):
            try:
                self._send({})
            except EdgenetsError:
                return

    def _silent(self) -> str:
        return self.told(
            f"it said nothing for {self.patience_seconds or 0:.0f} s and was given up; look after "
            "it, or wait longer with --patience"
        )

    def _lost(self) -> EdgenetsError:
        if self._closed.is_set():
            return EdgenetsError(self.told("the connection was closed"))
        status = self._process.wait()
        self._messages.seek(0)
        messages = self._messages.read().decode(errors="replace")
        return EdgenetsError(self.told(ssh.failure(self._address, status, messages)))


def open_device(
    device: str, *, setup: bool = False, patience_seconds: float | None = None
) -> Session:
    """Open `local`, `ssh://[user@]host[:port]` or `emulated:CPU`.

    Args:
        device: its name.
        setup: make a virtual environment on the board and install NumPy and an interpreter.
        patience_seconds: that it may say nothing; None: PATIENCE_SECONDS, and GREETING_SECONDS to a
            board's first word. An emulated one may take as long as it likes.

    Raises:
        EdgenetsError: there is no such device, it cannot be reached, or the set-up fails.
    """
    if device == LOCAL:
        return LocalSession(patience_seconds=patience_seconds or PATIENCE_SECONDS)
    if device.startswith(emulator.PREFIX):
        return EmulatedSession(device, emulator.cpu_of(device))
    if not device.startswith("ssh:"):
        raise EdgenetsError(
            f"unknown device {device!r}; pass {LOCAL}, ssh://[user@]host[:port] or "
            f"{emulator.PREFIX}CPU, CPU one of {', '.join(emulator.CPUS)}"
        )
    address = ssh.parse_address(device)
    patience = (patience_seconds or PATIENCE_SECONDS, patience_seconds or GREETING_SECONDS)
    if setup:
        with SshSession(device, address, *patience) as session:
            (found,) = session.ask([{"do": "probe"}])
            packages = board_packages(found["device"])
            session.ask([{"do": "install", "folder": ssh.VENV, "packages": packages}])
    return SshSession(device, address, *patience)


def check_device(session: Session, size_bytes: int, delegate: str | None = None) -> None:
    """Check that files of `size_bytes` can be run there.

    Raises:
        EdgenetsError: an interpreter is missing, or memory for the files and for the copy of their
            weights that interpreters make.
    """
    (found,) = session.ask([{"do": "probe"}], delegate=delegate)
    free, needed = found["device"]["free_memory_bytes"], 2 * size_bytes
    if found["problem"]:
        setup = isinstance(session, SshSession) and not found["runtime"]
        hint = "; or add --setup, which does it in a folder of its own there" if setup else ""
        raise EdgenetsError(session.told(found["problem"] + hint))
    if free is not None and free < needed:
        raise EdgenetsError(
            session.told(
                f"{free / 2**20:.0f} MiB of memory are free, and the model with a copy of its "
                f"weights takes {needed / 2**20:.0f} MiB; end other programs there"
            )
        )


def board_packages(device: dict[str, Any]) -> list[str]:
    """Return what pip installs on a board: the interpreter in this machine's version, if it can.

    >>> board_packages({"machine": "armv7l", "bits": 32})
    ['numpy<2', 'tflite-runtime']
    """
    if device["bits"] == 32:
        return ["numpy<2", "tflite-runtime"]
    name, version = runtime_name_and_version()
    pin = f"=={version}" if name == "ai-edge-litert" and version != "unknown" else ""
    return ["numpy", f"ai-edge-litert{pin}"]


def array_bytes(array: NDArray[Any]) -> bytes:
    """Return the array as the content of a `.npy` file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _last_line(messages: BinaryIO) -> str:
    messages.seek(0)
    lines = messages.read().decode(errors="replace").splitlines()
    last = next((line for line in reversed(lines) if not line.startswith("INFO: ")), "")
    return last[:MOST_TEXT]


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
