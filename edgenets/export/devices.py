"""Where files are run: this machine, or a board over SSH.

A device is opened as a `Session`: files are put there under the names that messages show, and a
list of jobs is asked of `runner.py`, in a fresh process there each time.
"""

from __future__ import annotations

import base64
import io
import json
import signal
import subprocess
import sys
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from edgenets.errors import EdgenetsError
from edgenets.export import emulator, ssh
from edgenets.export.runtime import runtime_name_and_version
from edgenets.files import read_bytes

LOCAL = "local"
RUNNER = Path(__file__).with_name("runner.py")

PATIENCE_SECONDS = 120.0
"""That a process on this machine may take to say anything; a board of the slowest kind opens and
runs the largest net in less."""

Report = Callable[[int], None]


class Session(ABC):
    """An open device.

    Attributes:
        name: of the device, as a user writes it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._paths: dict[str, str] = {}

    @abstractmethod
    def put(self, name: str, source: Path | bytes) -> None:
        """Make a file known to jobs as `name`; one of that name is replaced."""

    @abstractmethod
    def close(self) -> None:
        """End what runs there, whoever waits for it; remove what was put there."""

    @abstractmethod
    def _answers(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield what the runner says, and at last its `ended` status and last `message`."""

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
            EdgenetsError: a job fails, the process dies, or the link to the device is lost.
        """
        request = {"files": self._paths, "threads": threads, "delegate": delegate, "jobs": jobs}
        results: list[dict[str, Any]] = []
        status, message = 0, ""
        for answer in self._answers(request):
            if "percent" in answer:
                report(answer["percent"])
            elif "result" in answer:
                results.append(answer["result"])
            elif "error" in answer:
                raise EdgenetsError(self.told(answer["error"]))
            elif "ended" in answer:
                status, message = answer["ended"], answer["message"]
        if len(results) < len(jobs):
            job = jobs[len(results)]
            names = job.get("files", [])
            more = f" and {len(names) - 2} more" if len(names) > 2 else ""
            files = ", ".join(names[:2]) + more or job.get("file", "the file")
            said = f" ({message})" if message else ""
            raise EdgenetsError(self.told(f"the process that runs {files} {_ending(status)}{said}"))
        return results

    def told(self, message: str) -> str:
        """Return the message with the device it is about, unless that is this machine."""
        return message if self.name == LOCAL else f"{self.name}: {message}"

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LocalSession(Session):
    """A Python on this machine, which reads files where they are.

    Args:
        name: of the device.
        python: the command that starts Python: this one, or an emulated one.
    """

    impatient = True

    def __init__(self, name: str = LOCAL, python: Sequence[str] = (sys.executable,)) -> None:
        super().__init__(name)
        self._python = list(python)
        self._folder = tempfile.TemporaryDirectory(prefix="edgenets-")
        self._written: dict[str, Path] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def put(self, name: str, source: Path | bytes) -> None:
        """Note where the file is, or write its content into this session's folder."""
        if isinstance(source, bytes):
            own = Path(self._folder.name) / f"{len(self._written)}.bin"
            path = self._written.setdefault(name, own)
            path.write_bytes(source)
            source = path
        self._paths[name] = str(source.absolute())

    def _answers(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        with (
            tempfile.TemporaryFile() as messages,
            subprocess.Popen(
                [*self._python, str(RUNNER)],
                cwd=self._folder.name,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=messages,
            ) as process,
        ):
            self._process = process
            assert process.stdin and process.stdout
            try:
                with suppress(BrokenPipeError):  # it ended already; its status says why
                    process.stdin.write(json.dumps(request).encode() + b"\n")
                    process.stdin.close()
                yield from map(json.loads, self._lines(process.stdout))
                process.wait()
            finally:
                process.kill()
            yield {"ended": process.returncode, "message": _last_line(messages)}

    def _lines(self, answers: IO[bytes]) -> Iterator[bytes]:
        """Yield the lines of the process as they come.

        Raises:
            EdgenetsError: it says nothing for too long, as where the interpreter runs in circles.
        """
        assert self._process
        silent = threading.Event()

        def end(process: subprocess.Popen[bytes]) -> None:
            silent.set()
            process.kill()

        while True:
            patience = threading.Timer(PATIENCE_SECONDS, end, [self._process])
            if self.impatient:
                patience.start()
            try:
                line = answers.readline()
            finally:  # after Ctrl-C, too: a thread that waits would keep this process
                patience.cancel()
            if silent.is_set():
                raise EdgenetsError(
                    f"the interpreter said nothing for {PATIENCE_SECONDS:.0f} s and was ended: the "
                    "file is damaged, or too large for this machine"
                )
            if not line:
                return
            yield line

    def close(self) -> None:
        """Kill the process that runs."""
        if self._process:
            self._process.kill()
            self._process.wait()
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

    impatient = False

    def __init__(self, name: str, cpu: str) -> None:
        board = emulator.find_board()
        super().__init__(name)
        self.counter = Path(self._folder.name) / "instructions"
        self._python = board.command(cpu, self.counter)


class SshSession(Session):
    """A board over SSH: one connection, and a folder there that goes with it.

    Args:
        name: of the device.
        address: of the board.

    Raises:
        EdgenetsError: the board cannot be reached, or has no Python.
    """

    def __init__(self, name: str, address: ssh.Address) -> None:
        super().__init__(name)
        self._address = address
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115 - `close` does
        self._sending = threading.Lock()
        self._closed = threading.Event()
        self._process = ssh.connect(address, self._messages.fileno())
        self._lines = self._receive()
        try:
            self._folder = self._greeting()
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

    def _answers(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        self._send({"run": [RUNNER.name], "input": json.dumps(request)})
        for answer in self._lines:
            yield answer
            if "ended" in answer:
                return
        raise self._lost()

    def _greeting(self) -> str:
        for answer in self._lines:
            if "folder" in answer:
                return str(answer["folder"])
        raise self._lost()

    def _receive(self) -> Iterator[dict[str, Any]]:
        """Yield the board's objects; a login script may print other things before the first."""
        assert self._process.stdout
        greeted = False
        for line in self._process.stdout:
            greeted = greeted or line.startswith(b'{"folder"')
            if greeted:
                yield json.loads(line)

    def _send(self, frame: dict[str, Any], content: bytes = b"") -> None:
        assert self._process.stdin
        try:
            with self._sending:
                self._process.stdin.write(json.dumps(frame).encode() + b"\n" + content)
                self._process.stdin.flush()
        except (OSError, ValueError) as error:
            raise self._lost() from error

    def _beat(self) -> None:
        while not self._closed.wait(ssh.SILENCE_SECONDS / 6):
            try:
                self._send({})
            except EdgenetsError:
                return

    def _lost(self) -> EdgenetsError:
        if self._closed.is_set():
            return EdgenetsError(f"{self.name}: interrupted")
        status = self._process.wait()
        self._messages.seek(0)
        messages = self._messages.read().decode(errors="replace")
        return EdgenetsError(f"{self.name}: {ssh.failure(self._address, status, messages)}")


def open_device(device: str, *, setup: bool = False) -> Session:
    """Open `local`, `ssh://[user@]host[:port]` or `emulated:CPU`.

    Args:
        device: its name.
        setup: make a virtual environment on the board and install NumPy and an interpreter.

    Raises:
        EdgenetsError: there is no such device, it cannot be reached, or the set-up fails.
    """
    if device == LOCAL:
        return LocalSession()
    if device.startswith(emulator.PREFIX):
        return EmulatedSession(device, emulator.cpu_of(device))
    if not device.startswith("ssh:"):
        raise EdgenetsError(
            f"unknown device {device!r}; pass {LOCAL}, ssh://[user@]host[:port] or "
            f"{emulator.PREFIX}CPU, CPU one of {', '.join(emulator.CPUS)}"
        )
    address = ssh.parse_address(device)
    if setup:
        with SshSession(device, address) as session:
            (found,) = session.ask([{"do": "probe"}])
            packages = board_packages(found["device"])
            session.ask([{"do": "install", "folder": ssh.VENV, "packages": packages}])
    return SshSession(device, address)


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


def array_from(text: str) -> NDArray[Any]:
    """Return the array that the runner wrote as `.npy` in base64."""
    array: NDArray[Any] = np.load(io.BytesIO(base64.b64decode(text)), allow_pickle=False)
    return array


def _last_line(messages: BinaryIO) -> str:
    messages.seek(0)
    lines = messages.read().decode(errors="replace").splitlines()
    return next((line for line in reversed(lines) if not line.startswith("INFO: ")), "")


def _ending(status: int) -> str:
    if status == -signal.SIGKILL:
        return "was killed by SIGKILL: the machine may have run out of memory"
    if status < 0:
        return (
            f"crashed with {signal.Signals(-status).name}: the file breaks the interpreter; "
            "copy or export it again"
        )
    return f"ended with status {status}"
