"""systemd units that update a board's model, and count the starts of the program that uses it."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgenets.errors import EdgenetsError
from edgenets.files import sha256_bytes, write_bytes
from edgenets.updates.defaults import MINUTES

LEAST_MINUTES, MOST_MINUTES = 15, 360
"""Between two updates: as many as a model is on trial, within these, so that one that is not
confirmed is left soon after; each board waits some more, so that not all come at once."""

SERVICE = """\
[Unit]
Description=Update the model in {into}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart={update}
"""
TIMER = """\
[Unit]
Description=Update the model in {into} every {minutes:g} minutes

[Timer]
OnBootSec=5min
OnUnitActiveSec={seconds:.0f}s
RandomizedDelaySec=15min

[Install]
WantedBy=timers.target
"""
DROP_IN = """\
# Each start of the program is counted until the model is confirmed; after too many the model before
# answers again. So the program itself is to count none (`start=True`). "-": whatever comes of it,
# the program starts; "+": whoever runs the program, the start is noted.
[Service]
ExecStartPre=-+{start}
"""


def service_units(
    into: Path,
    source: str,
    options: Mapping[str, object],
    program: str | None = None,
    minutes: float = MINUTES,
) -> dict[str, str]:
    """Return the texts of the units by their names.

    Args:
        into: the board's folder.
        source: the repository.
        options: of `edgenets update`, further ones and their values; None: it is left out.
        program: the unit of the program that uses the model, such as "camera.service".
        minutes: that a model is on trial.

    Raises:
        EdgenetsError: the program's unit is none, or an argument has a line break.

    >>> sorted(service_units(Path("/models"), "https://example.org", {"--model": "photos"}))
    ['edgenets-update-models.service', 'edgenets-update-models.timer']
    """
    if program is not None and not re.fullmatch(r"[\w@.:-]+\.service", program):
        raise EdgenetsError(
            f"the program must be the name of a unit, such as camera.service, got {program!r}"
        )
    into = into.absolute()
    source = source if "://" in source else str(Path(source).absolute())
    edgenets = [sys.executable, "-m", "edgenets", "update"]
    given = [(name, str(value)) for name, value in options.items() if value is not None]
    words = [word for pair in given for word in pair]
    update = _command([*edgenets, source, "--into", str(into), *words])
    start = _command([*edgenets, "--start", "--into", str(into)])
    minutes = max(LEAST_MINUTES, min(minutes, MOST_MINUTES))
    name = _unit_name(into)
    texts = {
        f"{name}.service": SERVICE.format(into=_escaped(str(into)), update=update),
        f"{name}.timer": TIMER.format(
            into=_escaped(str(into)), minutes=minutes, seconds=60 * minutes
        ),
    }
    if program is not None:
        texts[f"{program}.d/{name}.conf"] = DROP_IN.format(start=start)
    return texts


def write_units(folder: Path, texts: Mapping[str, str]) -> None:
    """Write units into a folder of systemd, each whole or not at all.

    Raises:
        EdgenetsError: it cannot be written, as by a user that is not root.
    """
    for name, text in texts.items():
        write_bytes(folder / name, text.encode())


def _unit_name(into: Path) -> str:
    """Return a name without ending for a folder's units, another one for each folder."""
    folder = str(into)
    name = "edgenets-update" + re.sub(r"[^A-Za-z0-9_.]+", "-", folder)
    if re.fullmatch(r"[A-Za-z0-9_./]+", folder):
        return name
    return f"{name}-{sha256_bytes(folder.encode())[:8]}"  # /a-b is not /a/b


def _command(words: Sequence[str]) -> str:
    return " ".join(shlex.quote(_escaped(word)) for word in words)


def _escaped(text: str) -> str:
    """Return a text as systemd reads it: it replaces what follows \\, % and $."""
    if "\n" in text:
        raise EdgenetsError(f"a unit cannot hold a line break, which {text!r} has")
    return text.replace("\\", "\\\\").replace("%", "%%").replace("$", "$$")
