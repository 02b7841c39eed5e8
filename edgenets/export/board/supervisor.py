"""The board's end of an SSH connection: takes files, runs Python on them, leaves nothing behind.

Its source is sent over the connection and executed there (`ssh.py`); it needs Python's standard
library only. On stdin come frames, each a JSON object on a line of its own:

    {}                                      the host is alive
    {"file": NAME, "bytes": N}              N bytes follow: write them to NAME
    {"run": [ARGUMENT, ...], "input": TEXT, "request": N}
                                            run Python in the folder with this on its stdin

On stdout goes `{"folder": PATH, "error": null}` first, then what the process that runs prints, line
by line, and `{"request": N, "ended": STATUS, "message": LAST_LINE_OF_ITS_STDERR}` after it. Where
there is no room for a folder, PATH is null and the error says why; where there was none for a file,
the next run is answered with `{"request": N, "error": SENTENCE}`.

When stdin ends, or nothing came for some time that the host chooses, the process that runs is
killed with all it started, the folder is removed, and this process ends. So a link that is cut
leaves no orphan.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

CHUNK_BYTES = 65536
MOST_TEXT = 1000
"""Characters of a message."""


class Supervisor:
    """One connection: its folder, and the process that runs.

    Args:
        python: the command of the Python that runs what is asked.
        source: of the frames.
        silence_seconds: after which the host is taken for gone.
    """

    def __init__(self, python: str, source: BinaryIO, silence_seconds: float) -> None:
        self._python = python
        self._source = source
        self._silence_seconds = silence_seconds
        self._frames: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._heard = time.monotonic()
        self._process: subprocess.Popen[bytes] | None = None
        self._starting = threading.Lock()
        self._ended = False  # after which no process is started
        self._speaking = threading.Lock()
        self._unwritten: dict[str, str] = {}  # why, by file
        try:
            self._folder = Path(tempfile.mkdtemp(prefix="edgenets-"))
        except OSError as error:
            self._say({"folder": None, "error": str(error.strerror or error)[:MOST_TEXT]})
            raise SystemExit from error

    def serve(self) -> None:
        """Do what the frames say until they end."""
        try:
            self._say({"folder": str(self._folder), "error": None})
            threading.Thread(target=self._receive, daemon=True).start()
            while time.monotonic() - self._heard < self._silence_seconds:
                try:
                    frame = self._frames.get(timeout=1)
                except queue.Empty:
                    continue
                if frame is None:
                    return
                threading.Thread(target=self._run, args=(frame,), daemon=True).start()
        finally:
            self._kill()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _receive(self) -> None:
        """Write files as they come; hand all other frames on, and None at the end."""
        try:
            for line in self._source:
                self._heard = time.monotonic()
                frame = json.loads(line)
                if "file" in frame:
                    self._write(self._folder / frame["file"], frame["bytes"])
                elif frame:
                    self._frames.put(frame)
        finally:
            self._frames.put(None)

    def _write(self, path: Path, left: int) -> None:
        """Write what follows to the file; read it to its end even if the disk has no more room."""
        self._unwritten.pop(path.name, None)
        try:
            with path.open("wb") as file:
                while left and (chunk := self._read(left)):
                    left -= len(chunk)
                    file.write(chunk)
        except OSError as error:
            self._unwritten[path.name] = str(error.strerror or error)
            path.unlink(missing_ok=True)
            while left and (chunk := self._read(left)):
                left -= len(chunk)

    def _read(self, left: int) -> bytes:
        chunk = self._source.read(min(left, CHUNK_BYTES))
        self._heard = time.monotonic()
        return chunk

    def _run(self, frame: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"request": frame["request"]}
        try:
            if self._unwritten:
                raise OSError(", ".join(sorted(set(self._unwritten.values()))))
            status, message = self._run_to_its_end(frame)
        except OSError as error:
            reason = (
                f"the board cannot keep files: {error.strerror or error}; free some space there"
            )
            self._say({**answer, "error": reason[:MOST_TEXT]})
        else:
            self._say({**answer, "ended": status, "message": message[:MOST_TEXT]})

    def _run_to_its_end(self, frame: dict[str, Any]) -> tuple[int, str]:
        """Run Python; hand on what it prints; return its status and the last line of its stderr."""
        with tempfile.TemporaryFile() as messages:
            with self._starting:
                if self._ended:
                    raise OSError("the connection has ended")
                self._process = process = subprocess.Popen(
                    [self._python, *frame["run"]],
                    cwd=self._folder,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=messages,
                    start_new_session=True,
                    env={**os.environ, "EDGENETS_PYTHON": self._python},
                )
            assert process.stdin and process.stdout
            with suppress(BrokenPipeError):  # it died at once; its status says why
                process.stdin.write(frame["input"].encode())
                process.stdin.close()
            for line in process.stdout:
                self._write_line(line)
            status = process.wait()
            messages.seek(0)
            lines = messages.read().decode(errors="replace").splitlines() or ["no message"]
            return status, lines[-1]

    def _kill(self) -> None:
        with self._starting:
            self._ended = True
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _say(self, message: dict[str, Any]) -> None:
        self._write_line(json.dumps(message).encode() + b"\n")

    def _write_line(self, line: bytes) -> None:
        with self._speaking:
            try:
                sys.stdout.buffer.write(line)
                sys.stdout.buffer.flush()
            except OSError:  # the link is gone
                self._frames.put(None)


def main(python: str, source: BinaryIO, silence_seconds: float) -> None:
    """Serve one connection; a hang-up or a request to end closes it in good order."""

    def end(*_: Any) -> None:
        raise SystemExit

    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        Supervisor(python, source, silence_seconds).serve()
    finally:
        os._exit(0)  # the thread that reads stdin may still wait
