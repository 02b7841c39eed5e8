"""Where a file runs: this machine, a board over SSH, or the emulated board; parsed once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from edgenets.errors import EdgenetsError, unknown_name
from edgenets.export.devices.emulator import CPUS

PREFIX = "emulated:"
ADDRESS = re.compile(
    r"ssh://(?:(?P<user>[^@:/]*)@)?(?P<host>\[[^\]]*\]|[^@:/\[\]]*)(?::(?P<port>\d*))?/?"
)
HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*|[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?")
USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*\$?")


@dataclass(frozen=True)
class Local:
    """This machine."""

    name: ClassVar[str] = "local"


@dataclass(frozen=True)
class Ssh:
    """A board over SSH; None is left to the user's configuration."""

    user: str | None
    host: str
    port: int | None

    @property
    def name(self) -> str:
        """The address, as a user writes it.

        >>> Ssh("pi", "fe80::1%eth0", 2222).name
        'ssh://pi@[fe80::1%eth0]:2222'
        """
        user = "" if self.user is None else f"{self.user}@"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ssh://{user}{host}" + ("" if self.port is None else f":{self.port}")


@dataclass(frozen=True)
class Emulated:
    """The emulated board with the core `cpu`, one of `emulator.CPUS`."""

    cpu: str

    @property
    def name(self) -> str:
        """The core, as a user writes it."""
        return PREFIX + self.cpu


Device: TypeAlias = Local | Ssh | Emulated
LOCAL = Local()


def parse_device(text: str | Device) -> Device:
    """Return the device that `local`, `ssh://[user@]host[:port]` or `emulated:CPU` names.

    >>> parse_device("ssh://pi@raspberrypi.local:2222")
    Ssh(user='pi', host='raspberrypi.local', port=2222)
    >>> parse_device("emulated:cortex-a72")
    Emulated(cpu='cortex-a72')

    Args:
        text: or a device, which is returned.

    Raises:
        EdgenetsError: there is no such device, or a part of an address could be taken for an option
            or a command.
    """
    if not isinstance(text, str):
        return text
    if text == LOCAL.name:
        return LOCAL
    if text.startswith(PREFIX):
        cpu = text.removeprefix(PREFIX)
        if cpu not in CPUS:
            raise unknown_name("emulated core", cpu, CPUS)
        return Emulated(cpu)
    if text.startswith("ssh:"):
        return _parse_address(text)
    raise EdgenetsError(
        f"unknown device {text!r}; pass {LOCAL.name}, ssh://[user@]host[:port] or {PREFIX}CPU, CPU "
        f"one of {', '.join(CPUS)}"
    )


def _parse_address(text: str) -> Ssh:
    match = ADDRESS.fullmatch(text)
    if not match:
        raise EdgenetsError(f"{text!r} is no address of a board; pass ssh://[user@]host[:port]")
    user, host, port = match["user"], match["host"].strip("[]"), match["port"]
    for kind, pattern, value in (("host", HOST, host), ("user", USER, user)):
        if value is not None and not pattern.fullmatch(value):
            raise EdgenetsError(
                f"{value!r} in {text!r} cannot be the {kind}: it must begin with a letter or a "
                "digit and hold no spaces or signs; put another name for it into ~/.ssh/config"
            )
    if port is not None and not (port and 0 < int(port) < 65536):
        raise EdgenetsError(f"{port!r} in {text!r} is no port; pass 1 to 65535")
    return Ssh(user, host, None if port is None else int(port))
