"""An SSH server of the tests' own on loopback and a client that knows it alone."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from edgenets.export.devices.device import parse_device

WAIT_SECONDS = 20
PATH = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"


class Board:
    """A running `sshd` and the folder of its files.

    Attributes:
        url: the device, as a user writes it.
        device: the same.
        home: HOME and TMPDIR of its sessions; `home/bin` comes first in their PATH.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.port = free_port()
        self.url = self.url_at(self.port)
        self.device = parse_device(self.url)
        (self.home / "bin").mkdir(parents=True)

    @staticmethod
    def url_at(port: int, user: str | None = None) -> str:
        return f"ssh://{user or getpass.getuser()}@127.0.0.1:{port}"

    def add_program(self, name: str, script: str) -> None:
        path = self.home / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def know_as(self, key: str, port: int | None = None) -> None:
        """Let the client expect the public key `key` at the port, and nothing else."""
        line = f"[127.0.0.1]:{port or self.port} {(self.folder / f'{key}.pub').read_text()}"
        (self.folder / "known_hosts").write_text(line)

    def sessions(self) -> list[Path]:
        return list(self.home.glob("edgenets-*"))

    def processes(self) -> list[str]:
        """The ids of processes that work in a session's folder."""
        found = []
        for link in Path("/proc").glob("[0-9]*/cwd"):
            with suppress(OSError):
                if str(link.readlink()).startswith(f"{self.home}/edgenets-"):
                    found.append(link.parent.name)
        return found

    def is_clean(self) -> bool:
        """Whether, soon enough, no folder and no process of a session is left."""
        return eventually(lambda: not self.sessions() and not self.processes())


def eventually(holds: Callable[[], object]) -> bool:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.02)
    return False


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@pytest.fixture
def start_board(tmp_path, monkeypatch):
    """A function that starts a board whose sessions have the PATH it is given."""
    server = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if server is None:
        pytest.skip("sshd is not installed (apt-get install openssh-server)")
    client = shutil.which("ssh")
    if client is None:
        pytest.skip("ssh is not installed (apt-get install openssh-client)")

    with ExitStack() as running:

        def start(path: str = PATH) -> Board:
            board = Board(tmp_path / "the board's")
            write_keys_and_settings(board, path)
            write_client(board, client)
            monkeypatch.setenv("PATH", f"{board.folder / 'client'}:{os.environ['PATH']}")
            running.enter_context(serving(board, server))
            return board

        yield start


@pytest.fixture
def board(start_board):
    """A board whose Python is the one that runs the tests."""
    return start_board()


def write_keys_and_settings(board: Board, path: str) -> None:
    for key in ("host", "another_host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(board.folder / key)],
            check=True,
        )
    environment = {"PATH": f"{board.home}/bin:{path}", "HOME": board.home, "TMPDIR": board.home}
    pairs = " ".join(f'"{key}={value}"' for key, value in environment.items())
    (board.folder / "sshd_config").write_text(
        f"Port {board.port}\n"
        "ListenAddress 127.0.0.1\n"
        f'HostKey "{board.folder / "host"}"\n'
        f'AuthorizedKeysFile "{board.folder / "user.pub"}"\n'
        "PidFile none\n"
        "StrictModes no\n"  # the temporary folder may be writable by others
        "UsePAM no\n"
        "PasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\n"
        "PermitRootLogin prohibit-password\n"
        f"SetEnv {pairs}\n"
    )


def write_client(board: Board, client: str) -> None:
    settings = board.folder / "ssh_config"
    settings.write_text(
        "Host *\n"
        f'  IdentityFile "{board.folder / "user"}"\n'
        "  IdentitiesOnly yes\n"
        f'  UserKnownHostsFile "{board.folder / "known_hosts"}"\n'
        "  GlobalKnownHostsFile /dev/null\n"
    )
    board.know_as("host")
    wrapper = board.folder / "client" / "ssh"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {client} -F {shlex.quote(str(settings))} "$@"\n')
    wrapper.chmod(0o755)


@contextmanager
def serving(board: Board, server: str):
    if os.geteuid() == 0:
        with suppress(OSError):  # lacking where no server was started since the boot
            Path("/run/sshd").mkdir(exist_ok=True)
    log = board.folder / "sshd.log"
    with log.open("wb") as messages:
        process = subprocess.Popen(
            [server, "-D", "-e", "-f", str(board.folder / "sshd_config")], stderr=messages
        )
    try:
        if not eventually(lambda: process.poll() is not None or listens(board.port)):
            pytest.skip("sshd does not listen on loopback")
        if process.poll() is not None:
            pytest.skip(f"sshd cannot run here: {log.read_text().strip()}")
        yield
    finally:
        process.terminate()
        process.wait()


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class Link:
    """A port that leads to another one until it is cut.

    Attributes:
        port: on loopback.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._ends: list[socket.socket] = []
        self._silent = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def go_silent(self) -> None:
        """Lose every packet from now on, as when the power of a switch fails."""
        self._silent.set()

    def close(self) -> None:
        """Close the connections."""
        for end in [*self._ends, self._listening]:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near = self._listening.accept()[0]
                far = socket.create_connection(("127.0.0.1", self._target))
                self._ends += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not self._silent.is_set():
                    target.sendall(data)
            if not self._silent.is_set():
                target.shutdown(socket.SHUT_WR)


@pytest.fixture
def link(board):
    """A way to the board that can be cut."""
    link = Link(board.port)
    board.know_as("host", link.port)
    yield link
    link.close()


@pytest.fixture(scope="session")
def slow_file(tmp_path_factory, colour_net) -> Path:
    """The net of `colour_file` for images so large that 10,000 inferences outlast any test."""
    path = tmp_path_factory.mktemp("slow") / "slow.tflite"
    path.write_bytes(colour_net(2048))
    return path
