"""Where results go: places that are checked, and kept for one process, before the work begins."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgenets.errors import EdgenetsError


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Make `folder` and keep other edgenets processes out of it while the block runs.

    A folder that was made here and is still empty at the end is removed.

    Raises:
        EdgenetsError: it cannot be made or written, or another process works in it.
    """
    is_new = not os.path.lexists(folder)
    if not is_new and not folder.is_dir():
        raise EdgenetsError(f"{folder} is not a folder; pass the name of a new one with --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise _unusable(folder, str(error.strerror)) from error
    try:
        _lock(descriptor, folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise _unusable(folder, "it cannot be written")
        yield
    finally:
        os.close(descriptor)
        if is_new:
            with suppress(OSError):  # it holds something
                folder.rmdir()


def check_writable(file: Path) -> None:
    """Check that `file` can be written, without touching it or making a folder.

    Raises:
        EdgenetsError: it is a folder, or the folder that it is to be in cannot be written.
    """
    if file.is_dir():
        raise EdgenetsError(f"{file} is a folder; pass the name of a file with --out")
    above = file.absolute().parent
    while not os.path.lexists(above):
        above = above.parent
    if not above.is_dir():
        raise EdgenetsError(
            f"{file} cannot be written: {above} is not a folder; pass another --out"
        )
    if not os.access(above, os.W_OK | os.X_OK):
        raise _unusable(above, "it cannot be written")


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise EdgenetsError(
            f"{folder} is in use by another edgenets process; wait for it, or pass another --out"
        ) from error
    except OSError as error:
        raise _unusable(folder, str(error.strerror)) from error


def _unusable(folder: Path, reason: str) -> EdgenetsError:
    return EdgenetsError(f"cannot use the folder {folder}: {reason}; pass another one with --out")
