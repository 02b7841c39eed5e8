"""What an update does to the files of a board, one operation at a time.

All of it goes through `perform`, so that a test can cut the power before and after each operation,
and can lose what was not synced. An operation alone is not yet on the disk: the content of a file
is after `sync` of it, a name in a folder after `sync` of the folder. `replace` and `link` do both.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgenets.errors import EdgenetsError
from edgenets.files import remedy, sync

NEW = ".new"
"""How the name of a file or link ends that takes another's place next."""


def perform(operation: Callable[..., None], *arguments: Path | bytes | str) -> None:
    """Do one operation: the one way to the disk."""
    operation(*arguments)


def make_folder(path: Path) -> None:
    """Make a folder, on the disk too, if it is missing."""
    if not path.is_dir():
        perform(_make_folder, path)
        perform(sync, path.parent)


def replace(path: Path, content: bytes) -> None:
    """Give a file its content: it holds either the old one or all of the new, after a cut too."""
    new = path.with_name(path.name + NEW)
    perform(_write, new, content)
    perform(sync, new)
    perform(_rename, new, path)
    perform(sync, path.parent)


def link(path: Path, target: str) -> None:
    """Let a symbolic link lead to `target`: to the old place or to this one, after a cut too."""
    new = path.with_name(path.name + NEW)
    if os.path.lexists(new):  # of an update that was cut off
        perform(_unlink, new)
    perform(_symlink, new, target)
    perform(_rename, new, path)
    perform(sync, path.parent)


def remove(path: Path) -> None:
    """Remove a file, on the disk too, if it is there."""
    if os.path.lexists(path):
        perform(_unlink, path)
        perform(sync, path.parent)


def append(path: Path, content: bytes) -> None:
    """Write at the end of a file, which need not be on the disk before `sync`."""
    perform(_append, path, content)


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Say in one sentence what the block's operations met: a full disk, one that is read-only.

    Raises:
        EdgenetsError: one failed.
    """
    try:
        yield
    except OSError as error:
        way_out = remedy(error, "make it writable, or look at the disk, and repeat the command")
        raise EdgenetsError(
            f"cannot write in {folder}: {error.strerror or error}; the model that answers is the "
            f"same, {way_out}"
        ) from error


def _make_folder(path: Path) -> None:
    path.mkdir()


def _write(path: Path, content: bytes) -> None:
    with suppress(FileNotFoundError):  # an interpreter may have the old one mapped
        path.unlink()
    with path.open("xb") as file:
        file.write(content)


def _append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def _rename(path: Path, name: Path) -> None:
    path.replace(name)


def _unlink(path: Path) -> None:
    path.unlink()


def _symlink(path: Path, target: str) -> None:
    path.symlink_to(target)
