"""Sessions of this machine: its own Python, or the emulated board's."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from edgenets.export.devices import archive, emulator
from edgenets.export.devices.answers import (
    MOST_TEXT,
)
from edgenets.export.devices.device import LOCAL, Emulated
from edgenets.export.devices.session import PATIENCE_SECONDS, Session, ending_after


class LocalSession(Session):
    """A Python on this machine, which reads files where they are.

    Args:
        name: of the device.
        python: the command that starts Python: this one, or an emulated one.
        patience_seconds: that it may say nothing; None: as long as it likes.
    """

    def __init__(
        self,
        name: str = LOCAL.name,
        python: Sequence[str] = (sys.executable,),
        patience_seconds: float | None = PATIENCE_SECONDS,
    ) -> None:
        super().__init__(name, patience_seconds)
        self._python = list(python)
        self._folder = tempfile.TemporaryDirectory(prefix="edgenets-")
        self._runner = Path(self._folder.name) / archive.NAME
        self._runner.write_bytes(archive.runner_archive())
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
            [*self._python, str(self._runner)],
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
        with ending_after(seconds, self._process, sentence):
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
        device: the board's core.

    Attributes:
        device: the same.
        counter: for the job `count`.

    Raises:
        EdgenetsError: the board is not set up.
    """

    def __init__(self, device: Emulated) -> None:
        board = emulator.find_board()
        super().__init__(device.name, patience_seconds=None)  # an inference may take hours
        self.device = device
        self.counter = Path(self._folder.name) / "instructions"
        self._python = board.command(device.cpu, self.counter)


def _last_line(messages: BinaryIO) -> str:
    messages.seek(0)
    lines = messages.read().decode(errors="replace").splitlines()
    last = next((line for line in reversed(lines) if not line.startswith("INFO: ")), "")
    return last[:MOST_TEXT]
