"""Open a device by its name: `local`, `ssh://[user@]host[:port]`, `emulated:CPU`."""

from __future__ import annotations

from typing import Any

from edgenets.errors import EdgenetsError
from edgenets.export.devices import emulator, ssh
from edgenets.export.devices.interpreter import runtime_name_and_version
from edgenets.export.devices.local import EmulatedSession, LocalSession
from edgenets.export.devices.session import LOCAL, PATIENCE_SECONDS, Session
from edgenets.export.devices.ssh_session import GREETING_SECONDS, SshSession


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
