"""`edgenets update` on several boards at once, by the edgenets that is installed on each.

What a board answers is not believed before it was looked at: a line of JSON of bounded length, of
which a few values are taken, each with its type.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from edgenets.errors import EdgenetsError
from edgenets.export.devices import ssh
from edgenets.export.devices.answers import MOST_BYTES, MOST_TEXT
from edgenets.export.devices.device import Ssh, parse_device
from edgenets.export.devices.session import ending_after
from edgenets.results.updates import BoardUpdate

PATIENCE_SECONDS = 1800.0
"""That a board may take for an update."""
NO_EDGENETS = 126
INSTALL = f"python3 -m venv {ssh.VENV} && {ssh.VENV}/bin/pip install '.[update]'"
ACTIONS = ("installed", "current", "waiting", "")
SAID = "edgenets: "
"""How the sentence of a command that failed begins."""
BOARDS_AT_ONCE = 32


def update_boards(devices: Sequence[str], words: Sequence[str]) -> list[BoardUpdate]:
    """Run `edgenets update` on boards; return what came of it, in their order.

    Args:
        devices: `ssh://[user@]host[:port]` of each.
        words: of the command, without `--json`; files and folders are those of the boards.

    Raises:
        EdgenetsError: a device is no board over SSH, or is there twice.
    """
    if len(set(devices)) < len(devices):
        raise EdgenetsError("a device is given twice; two updates of one board do not meet")
    boards = [_board(device) for device in devices]
    with ThreadPoolExecutor(BOARDS_AT_ONCE) as threads:
        return list(threads.map(partial(_on_board, words), boards))


def _board(device: str) -> Ssh:
    board = parse_device(device)
    if not isinstance(board, Ssh):
        raise EdgenetsError(f"{device} is no board over SSH; pass ssh://[user@]host[:port]")
    return board


def _on_board(words: Sequence[str], board: Ssh) -> BoardUpdate:
    try:
        return BoardUpdate(device=board.name, error=None, **_answer(board, words))
    except EdgenetsError as error:
        return BoardUpdate(board.name, None, None, None, None, None, str(error))


def _answer(board: Ssh, words: Sequence[str]) -> dict[str, Any]:
    silent = f"it has not ended within {PATIENCE_SECONDS / 60:.0f} minutes; look at it"
    with tempfile.TemporaryFile() as messages:
        try:
            process = subprocess.Popen(
                ssh.client_command(board, _remote(words)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=messages,
            )
        except FileNotFoundError as error:
            raise EdgenetsError(ssh.NO_CLIENT) from error
        assert process.stdout
        with process, ending_after(PATIENCE_SECONDS, process, silent):
            answer = process.stdout.read(MOST_BYTES + 1)
            if len(answer) > MOST_BYTES:
                process.kill()
            status = process.wait()
        messages.seek(0)
        said = messages.read(MOST_BYTES).decode(errors="replace")
    if status == NO_EDGENETS:
        raise EdgenetsError(f"it has no edgenets; run there, in a clone of edgenets: {INSTALL}")
    sentences = [line for line in said.splitlines() if line.startswith(SAID)]
    if status == 1 and sentences:
        raise EdgenetsError(sentences[-1].removeprefix(SAID)[:MOST_TEXT])
    if status:
        raise EdgenetsError(ssh.failure(board, status, said))
    return _read(answer)


def _remote(words: Sequence[str]) -> str:
    """Return the shell command that finds a Python with edgenets and runs it."""
    venv = ssh.VENV.replace("~", '"$HOME"') + "/bin/python3"
    command = shlex.join(["-m", "edgenets", "update", *words, "--json"])
    script = (
        f"for python in {venv} python3; do "
        "if \"$python\" -c 'import edgenets.updates' >/dev/null 2>&1; then "
        f'exec "$python" {command}; fi; done; exit {NO_EDGENETS}'
    )
    return f"exec sh -c {shlex.quote(script)}"


def _read(answer: bytes) -> dict[str, Any]:
    """Return the values of an answer that are shown."""
    try:
        value = json.loads(answer)
        release = value["release"] or {"model": None, "number": None}
        found = {
            "action": value.get("action", ""),
            "model": release["model"],
            "number": release["number"],
            "pending": value["pending"] is not None,
            "downloaded_bytes": value.get("downloaded_bytes", 0),
        }
        right = (
            found["action"] in ACTIONS
            and (found["model"] is None or isinstance(found["model"], str))
            and (found["number"] is None or type(found["number"]) is int)
            and type(found["downloaded_bytes"]) is int
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        right = False
    if not right:
        raise EdgenetsError("it answers what edgenets did not ask for; set it up anew")
    return found
