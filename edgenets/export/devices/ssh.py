"""A board over SSH: the OpenSSH client, one connection, and what its failures mean.

The client runs with `BatchMode` (never asks) and `StrictHostKeyChecking` (a host whose key is
unknown or has changed is refused); user names, keys, ports and jump hosts come from the user's own
configuration. On the board runs `supervisor.py` in the Python of `VENV` if that exists, else in
`python3`.
"""

from __future__ import annotations

import shlex
import subprocess

from edgenets.errors import EdgenetsError
from edgenets.export.devices.archive import SUPERVISOR
from edgenets.export.devices.device import Ssh
from edgenets.packages import python_versions

VENV = "~/.local/share/edgenets/venv"
"""The virtual environment on the board that `--setup` makes."""

CONNECT_SECONDS = 10
ALIVE_SECONDS = 5
ALIVE_MISSES = 3
"""A silent link is given up after ALIVE_SECONDS * ALIVE_MISSES."""
SILENCE_SECONDS = 30
"""After which the board takes the host for gone, which gives a sign of life every sixth of it."""

OPTIONS = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "ConnectTimeout": str(CONNECT_SECONDS),
    "ServerAliveInterval": str(ALIVE_SECONDS),
    "ServerAliveCountMax": str(ALIVE_MISSES),
    "RemoteCommand": "none",
    "RequestTTY": "no",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "ClearAllForwardings": "yes",
    "ControlPath": "none",  # a shared connection would have its own time-outs
}
NO_PYTHON, OLD_PYTHON = 127, 78
PYTHON_FAILURES = {
    NO_PYTHON: "it has no python3; run there: sudo apt install python3-venv",
    OLD_PYTHON: "its python3 is older than {oldest}; install a newer system on it",
}
"""By the status of the remote command."""
SSH_FAILED = 255
NO_CLIENT = "the OpenSSH client is not installed; run: sudo apt install openssh-client"


def client_command(board: Ssh, remote: str) -> list[str]:
    """Return the argument list of the OpenSSH client that runs the shell command `remote`."""
    options = [f"-o{name}={value}" for name, value in OPTIONS.items()]
    user = ["-l", board.user] if board.user else []
    port = ["-p", str(board.port)] if board.port else []
    return ["ssh", *options, *user, *port, "--", board.host, remote]


def remote_command(supervisor_bytes: int) -> str:
    """Return the shell command that finds Python and lets it execute a source sent on stdin."""
    oldest, _ = python_versions()
    start = (
        f"import sys;sys.version_info<{oldest}and sys.exit({OLD_PYTHON});"
        f'f=open(0,"rb",closefd=False);exec(f.read({supervisor_bytes}));'
        f"main(sys.argv[1],f,{SILENCE_SECONDS})"
    )
    venv = VENV.replace("~", '"$HOME"') + "/bin/python3"
    script = (
        f"for python in {venv} python3; do "
        'if command -v "$python" >/dev/null 2>&1; then '
        f'exec "$python" -u -c {shlex.quote(start)} "$python"; fi; done; exit {NO_PYTHON}'
    )
    return f"exec sh -c {shlex.quote(script)}"


def connect(board: Ssh, messages: int) -> subprocess.Popen[bytes]:
    """Start the client with the supervisor on the board; its stderr goes to the file `messages`.

    Raises:
        EdgenetsError: there is no OpenSSH client here.
    """
    source = SUPERVISOR.read_bytes()
    command = client_command(board, remote_command(len(source)))
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=messages
        )
    except FileNotFoundError as error:
        raise EdgenetsError(NO_CLIENT) from error
    assert process.stdin
    try:
        process.stdin.write(source)
        process.stdin.flush()
    except OSError:  # it ended already; its status and messages say why
        pass
    return process


# What the client says -> what it means and what to do, tried in this order.
FAILURES = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "its host key is not the one in your known_hosts: another machine may answer in its place; "
        "if the board was installed anew, run: ssh-keygen -R {known}, then: ssh {ssh}",
    ),
    (
        "Host key verification failed",
        "its host key is not known here; compare and accept it once with: ssh {ssh}",
    ),
    (
        "Permission denied",
        "it does not let you in ({last}); check the user name, and run: ssh-copy-id {ssh}",
    ),
    ("Could not resolve hostname", "there is no such name in the network ({last})"),
    ("Connection refused", "no SSH server answers ({last}); on a Raspberry Pi enable SSH"),
    ("timed out", "it does not answer within {seconds} s ({last})"),
    ("No route to host", "the network does not reach it ({last})"),
    ("not responding", "the link was lost ({last})"),
    ("Connection closed", "the link was closed ({last})"),
    ("closed by remote host", "the link was closed ({last})"),
)


def failure(board: Ssh, status: int, messages: str) -> str:
    """Return the sentence for a client that ended with `status` after saying `messages`."""
    lines = [line.strip() for line in messages.splitlines() if line.strip()]
    last = lines[-1].rstrip(".") if lines else "no message"
    if status in PYTHON_FAILURES:
        oldest = ".".join(map(str, python_versions()[0]))
        return PYTHON_FAILURES[status].format(oldest=oldest)
    port = f"-p {board.port} " if board.port else ""
    user = f"{board.user}@" if board.user else ""
    known = f"'[{board.host}]:{board.port}'" if board.port else board.host
    for sign, sentence in FAILURES:
        if status == SSH_FAILED and sign.lower() in messages.lower():
            return sentence.format(
                known=known, ssh=f"{port}{user}{board.host}", last=last, seconds=CONNECT_SECONDS
            )
    what = "the link was lost" if status == SSH_FAILED else f"ssh ended with status {status}"
    return f"{what} ({last})"
