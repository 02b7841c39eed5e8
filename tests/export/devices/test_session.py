"""A board that is not to be relied on: silent, deaf, without room; the client is this shell."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path

import pytest

from edgenets.errors import EdgenetsError
from edgenets.export.devices.device import Ssh
from edgenets.export.devices.local import LocalSession
from edgenets.export.devices.session import _ending
from edgenets.export.devices.ssh_session import SshSession

RUN = {"do": "run", "file": "net", "runs": 1}
GREETING = '{"folder": "/tmp/edgenets-none", "error": null}'


@pytest.fixture
def connect(tmp_path: Path, monkeypatch):
    """A function that opens a session whose client is a shell script."""
    opened = []
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def open_session(client: str, seconds: float = 60, greeting: float = 60) -> SshSession:
        (tmp_path / "ssh").write_text(f"#!/bin/bash\n{client}\n")
        (tmp_path / "ssh").chmod(0o755)
        session = SshSession(Ssh(None, "pi", None), seconds, greeting)
        opened.append(session)
        return session

    yield open_session
    for session in opened:
        session.close()


def here(before: str = ":") -> str:
    """Return a client that runs on this machine what it should on the board."""
    python = shlex.quote(sys.executable)
    return f'{before}; for last; do :; done; python3() {{ {python} "$@"; }}; eval "${{last#exec }}"'


@pytest.fixture
def board_python(tmp_path: Path) -> None:
    """The Python of the tests as the board's."""
    (tmp_path / "python3").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    (tmp_path / "python3").chmod(0o755)


@pytest.mark.parametrize("client", ["sleep 60", "yes 'welcome'", "yes '{}'", "cat /dev/zero"])
def test_a_board_without_a_greeting_is_given_up(client: str, connect):
    start = time.monotonic()
    with pytest.raises(EdgenetsError, match=r"^ssh://pi: it said nothing for 0 s and was given up"):
        connect(f"exec {client}", greeting=0.4)
    assert time.monotonic() - start < 20


@pytest.mark.parametrize(
    "answers",
    [
        "exec sleep 60",
        'sleep 0.2; exec yes \'{"request": 0, "percent": 1}\'',  # of no request that waits
        "printf x; exec sleep 60",
    ],
)
def test_a_board_that_answers_nothing_is_given_up(answers: str, connect):
    session = connect(f"echo '{GREETING}'; cat >/dev/null & {answers}", 0.6)
    with pytest.raises(EdgenetsError, match=r"^ssh://pi: it said nothing for 1 s and was given up"):
        session.ask([{"do": "probe"}])
    with pytest.raises(EdgenetsError, match=r"^ssh://pi: the connection was closed"):
        session.ask([{"do": "probe"}])


def test_a_board_that_takes_nothing_is_given_up(connect):
    session = connect(f"echo '{GREETING}'; exec sleep 60", 0.6)
    with pytest.raises(EdgenetsError, match=r"^ssh://pi: it said nothing for 1 s"):
        session.put("large", bytes(2**22))


def test_a_board_that_answers_something_else_is_one_sentence(connect):
    for answer in ("no json", "[1]", '{"request": 1, "result": {"a": NaN}}', '{"request": 2}'):
        session = connect(f"echo '{GREETING}'; echo '{answer}'; exec cat >/dev/null")
        with pytest.raises(EdgenetsError, match=r"^ssh://pi: the device answered what edgenets"):
            session.ask([{"do": "probe"}])


def test_a_line_without_an_end_is_not_kept(connect):
    session = connect(f"echo '{GREETING}'; exec cat /dev/zero")
    with pytest.raises(EdgenetsError, match="a line of more than 1,048,576 bytes"):
        session.ask([{"do": "probe"}])


def test_after_an_error_the_next_request_is_in_step(connect, board_python, tiny_int8_file: Path):
    session = connect(here())
    for name, content in (("bad", b"no network"), ("net", tiny_int8_file)):
        session.put(name, content)
    for _ in range(2):
        with pytest.raises(EdgenetsError, match=r"^ssh://pi: .* cannot run bad"):
            session.ask([RUN, {**RUN, "file": "bad"}])
        ran, probed = session.ask([RUN, {"do": "probe"}])
        assert ran["runs"] == 1 and probed["problem"] is None


def test_a_board_without_room_is_one_sentence(connect, board_python, tiny_int8_file: Path):
    session = connect(here("ulimit -f 100"))  # KiB of a file
    session.put("large", bytes(2**20))
    with pytest.raises(EdgenetsError, match=r"cannot keep files: File too large; free some space"):
        session.ask([{"do": "probe"}])
    session.put("large", b"less")  # there is room again
    session.put("net", tiny_int8_file)
    assert session.ask([RUN])[0]["runs"] == 1


def test_a_board_without_room_for_a_folder_is_one_sentence(connect, tmp_path: Path):
    broken = tmp_path / "tempfile.py"
    broken.write_text("def mkdtemp(prefix): raise OSError(28, 'No space left on device')\n")
    path = shlex.quote(str(tmp_path))
    python = shlex.quote(sys.executable)
    (tmp_path / "python3").write_text(f'#!/bin/sh\nPYTHONPATH={path} exec {python} "$@"\n')
    (tmp_path / "python3").chmod(0o755)
    with pytest.raises(EdgenetsError, match=r"^ssh://pi: the board cannot keep files: No space"):
        connect(here())


def test_a_session_that_another_thread_closed_starts_nothing(tiny_int8_file: Path):
    session = LocalSession()
    session.put("net", tiny_int8_file)
    session._closed.set()
    with pytest.raises(EdgenetsError, match="was killed by SIGKILL"):
        session.ask([RUN])
    session.close()


def test_an_ending_of_any_number_is_words():
    assert "crashed with SIGSEGV" in _ending(-11)
    assert "crashed with signal 33" in _ending(-33)
    assert _ending(3) == "ended with status 3"


def test_a_session_without_patience_waits(colour_file: Path):
    with LocalSession(patience_seconds=None) as session:
        session.put("net", colour_file)
        assert session.ask([RUN])[0]["runs"] == 1
