"""Open a device, and check that files can be run there."""

from __future__ import annotations

from math import inf
from typing import Any

from edgenets.errors import EdgenetsError
from edgenets.export.devices import ssh
from edgenets.export.devices.device import Device, Emulated, Local
from edgenets.export.devices.interpreter import runtime_name_and_version
from edgenets.export.devices.local import EmulatedSession, LocalSession
from edgenets.export.devices.session import PATIENCE_SECONDS, Session
from edgenets.export.devices.ssh_session import GREETING_SECONDS, SshSession


def open_device(
    device: Device, *, setup: bool = False, patience_seconds: float | None = None
) -> Session:
    """Open a device.

    Args:
        device: this machine, a board, or the emulated one.
        setup: make a virtual environment on the board and install NumPy and an interpreter.
        patience_seconds: that it may say nothing; None: PATIENCE_SECONDS, and GREETING_SECONDS to a
            board's first word. An emulated one may take as long as it likes.

    Raises:
        EdgenetsError: the patience is no time, it cannot be reached, or the set-up fails.
    """
    if patience_seconds is not None and not 0 < patience_seconds < inf:
        raise EdgenetsError(f"patience must be seconds above 0, got {patience_seconds!r}")
    if isinstance(device, Local):
        return LocalSession(patience_seconds=patience_seconds or PATIENCE_SECONDS)
    if isinstance(device, Emulated):
        return EmulatedSession(device)
    patience = (patience_seconds or PATIENCE_SECONDS, patience_seconds or GREETING_SECONDS)
    if setup:
        with SshSession(device, *patience) as session:
            (found,) = session.ask([{"do": "probe"}])
            packages = board_packages(found["device"])
            session.ask([{"do": "install", "folder": ssh.VENV, "packages": packages}])
    return SshSession(device, *patience)


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
