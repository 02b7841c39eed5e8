"""What people see on stderr: messages, progress bars on a terminal, no chatter of C++ libraries."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from edgenets.errors import EdgenetsError


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
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(description, total=total, note="")

        def advance(steps: int = 1, note: str = "") -> None:
            progress.update(task, advance=steps, note=note)

        yield advance


def say(message: str) -> None:
    """Print one message line to stderr."""
    print(message, file=sys.stderr, flush=True)


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
            os.write(stderr, captured.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
