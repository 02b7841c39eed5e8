"""A sweep's journal: Optuna's, with a lock that ends with its process, and without half lines.

A disk that is full, or a process that is killed, may leave half a line. Optuna would append to it
and could read neither it nor what follows.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgenets.errors import EdgenetsError
from edgenets.files import KEPT, disk_failure
from edgenets.packages import missing_package

try:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
except ImportError as error:
    raise missing_package("optuna") from error


def open_journal(path: Path) -> JournalStorage:
    """Open the journal in a file, or make it; several processes may append to it."""
    return JournalStorage(JournalFileBackend(str(path), _Lock(path)))


@contextmanager
def journal_used(path: Path) -> Iterator[None]:
    """Say in a sentence why the journal in a file cannot be read or written.

    Raises:
        EdgenetsError: the block could not.
    """
    try:
        yield
    except OSError as error:
        way_out = "make it writable, or pass another folder with --out"
        raise disk_failure(f"cannot use {path}", error, KEPT, way_out) from error
    except (ValueError, KeyError) as error:
        raise EdgenetsError(
            f"{path} is damaged; restore it, or pass another folder with --out"
        ) from error


class _Lock(JournalFileOpenLock):  # of which nothing is left: it is Optuna's type of a lock
    """The kernel's lock on the journal itself; who has it cuts half a line at the end off."""

    def __init__(self, path: Path) -> None:
        self._path, self._descriptor = path, -1

    def acquire(self) -> bool:
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            content = self._path.read_bytes()
            os.ftruncate(self._descriptor, content.rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        os.close(self._descriptor)
