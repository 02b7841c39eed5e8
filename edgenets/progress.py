"""What people see: messages, progress bars on a terminal, no chatter of C++ libraries.

Names of files, labels, tensors and what boards and servers say come from outside. `printable`
stands between them and a terminal, which obeys control characters.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from edgenets.errors import EdgenetsError

# Unicode's control characters, what breaks lines, what turns the direction of writing, and halves
# of characters, as which bytes of file names come that are no text.
COMMANDING = (
    *(range(0x20), range(0x7F, 0xA0), (0x61C, 0x200E, 0x200F)),
    *(range(0x2028, 0x202F), range(0x2066, 0x206A), range(0xD800, 0xE000)),
)
ESCAPES = {
    code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    for part in COMMANDING
    for code in part
}


def printable(line: str) -> str:
    r"""Return a line with what a terminal would obey as its number.

    >>> printable("tench\x1b[31m \u202egpj.exe")
    'tench\\x1b[31m \\u202egpj.exe'
    """
    return line.translate(ESCAPES)


class Advance(Protocol):
    """Moves a bar on by `steps` and, if given, shows `note` behind it."""

    def __call__(self, steps: int = 1, note: str = "") -> None:
        """Move on."""


@contextmanager
def progress_bar(description: str, total: int) -> Iterator[Advance]:
    """Show a bar of `total` steps while the block runs; yield the function that moves it.

    Without a terminal nothing is shown and nothing is imported.
    """
    if not sys.stderr.isatty():
        yield lambda steps=1, note="": None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(printable(description), total=total, note="")

        def advance(steps: int = 1, note: str = "") -> None:
            progress.update(task, advance=steps, note=printable(note))

        yield advance


def say(message: str) -> None:
    """Print one message line to stderr, as `printable` shows it."""
    print(printable(message), file=sys.stderr, flush=True)


def warn(sentences: Iterable[str]) -> None:
    """Print to stderr what nobody should miss."""
    for sentence in sentences:
        say(f"WARNING: {sentence}")


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keep what C++ code prints to stderr off the terminal, unless the block fails.

    Ctrl-C is no failure, and an `EdgenetsError` says itself what there is to say.
    """
    with tempfile.TemporaryFile() as captured:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except EdgenetsError:
            raise
        except Exception:
            captured.seek(0)
            text = captured.read().decode(errors="backslashreplace")
            lines = map(printable, text.splitlines())
            os.write(stderr, "".join(f"{line}\n" for line in lines).encode())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
