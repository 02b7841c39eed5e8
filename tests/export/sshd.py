"""An SSH server of the tests' own on loopback, and a client that knows it and nothing else."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

WAIT_SECONDS = 10


class Server:
    """A running `sshd`, the folder of its files, and what its sessions are given.

    Attributes:
        url: the device.
        home: the sessions' HOME and TMPDIR; `home/bin` comes first in their PATH.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.port = free_port()
        self.url = f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def left_behind(self) -> list[Path]:
        """The folders of boards' sessions that are still there, after some time to go."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline and list(self.home.glob("edgenets-*")):
            time.sleep(0.05)
        return list(self.home.glob("edgenets-*"))

    def trust(self) -> None:
        key = (self.folder / "host.pub").read_text()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {key}")

    def put_first_in_path(self, name: str, script: str) -> None:
        path = self.home / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def why_not() -> str | None:
    """Return why no server can run here, or None."""
    if not (shutil.which("sshd") or Path("/usr/sbin/sshd").exists()):
        return "sshd is not installed (apt-get install openssh-server)"
    if not shutil.which("ssh"):
        return "ssh is not installed (apt-get install openssh-client)"
    return None


@contextmanager
def running(folder: Path, path: str) -> Iterator[Server]:
    """Start a server whose sessions have `path`; raise RuntimeError with its words if it ends."""
    server = Server(folder)
    (server.home / "bin").mkdir(parents=True)
    for key in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True
        )
    shutil.copy(folder / "user.pub", folder / "authorized_keys")
    environment = {
        "PATH": f"{server.home / 'bin'}:{path}",
        "HOME": str(server.home),
        "TMPDIR": str(server.home),
    }
    (folder / "sshd_config").write_text(
        f"Port {server.port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\nPidFile none\nStrictModes no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n"
        "PermitRootLogin prohibit-password\n"
        f"SetEnv {' '.join(f'{k}={v}' for k, v in environment.items())}\n"
    )
    (folder / "ssh_config").write_text(
        f"Host *\n IdentityFile {folder / 'user'}\n IdentitiesOnly yes\n"
        f" UserKnownHostsFile {server.known_hosts}\n GlobalKnownHostsFile /dev/null\n"
    )
    client = folder / "client" / "ssh"
    client.parent.mkdir()
    client.write_text(
        f'#!/bin/sh\nexec {shutil.which("ssh")} -F {shlex.quote(str(folder / "ssh_config"))} "$@"\n'
    )
    client.chmod(0o755)
    server.trust()
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where a server that was never started lacks it
    with (folder / "sshd.log").open("wb") as log:
        program = shutil.which("sshd") or "/usr/sbin/sshd"
        server.process = subprocess.Popen(
            [program, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log
        )
    try:
        wait_for(server)
        yield server
    finally:
        server.process.terminate()
        server.process.wait()


def wait_for(server: Server) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        assert server.process
        if server.process.poll() is not None:
            raise RuntimeError((server.folder / "sshd.log").read_text().strip())
        with suppress(OSError), socket.create_connection(("127.0.0.1", server.port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError("sshd does not listen")
