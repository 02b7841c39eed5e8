"""The session of a board over SSH: one connection, and a folder there that goes with it."""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgenets.errors import EdgenetsError
from edgenets.export.devices import archive, ssh
from edgenets.export.devices.answers import (
    read_greeting,
)
from edgenets.export.devices.device import Ssh
from edgenets.export.devices.session import PATIENCE_SECONDS, Session, ending_after
from edgenets.files import read_bytes

GREETING_SECONDS = 30.0
"""That a board may take to its first word."""
CHUNK_BYTES = 2**16
"""That a board takes within the patience."""
GREETING_BYTES = 2**16
"""Of a line that a login script prints; a longer one is read in pieces."""


class SshSession(Session):
    """A board over SSH: one connection, and a folder there that goes with it.

    Args:
        board: which one.
        patience_seconds: that the board may say nothing, or take nothing of what is sent.
        greeting_seconds: that it may take to its first word.

    Raises:
        EdgenetsError: the board cannot be reached, has no Python, or is silent.
    """

    def __init__(
        self,
        board: Ssh,
        patience_seconds: float | None = PATIENCE_SECONDS,
        greeting_seconds: float | None = GREETING_SECONDS,
    ) -> None:
        super().__init__(board.name, greeting_seconds)
        self._board = board
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115 - `close` does
        self._sending = threading.Lock()
        self._process = ssh.connect(board, self._messages.fileno())
        try:
            self._folder = self._greeting()
            self.patience_seconds = patience_seconds
            threading.Thread(target=self._beat, daemon=True).start()
            self.put(archive.NAME, archive.runner_archive())
        except BaseException:
            self.close()
            raise

    def put(self, name: str, source: Path | bytes) -> None:
        """Copy the file to the board."""
        content = read_bytes(source) if isinstance(source, Path) else source
        file = name if name == archive.NAME else f"{len(self._paths)}.bin"
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
        self._send({"run": [archive.NAME], "request": number, "input": json.dumps(request)})

    def _line(self, most_bytes: int, seconds: float | None) -> bytes:
        assert self._process.stdout
        with ending_after(seconds, self._process, self._silent()):
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
        with ending_after(self.patience_seconds, self._process, self._silent()):
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
        return EdgenetsError(self.told(ssh.failure(self._board, status, messages)))
