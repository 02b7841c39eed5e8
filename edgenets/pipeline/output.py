"""Where results go: places that are checked, and kept for one process, before the work begins."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgenets.errors import EdgenetsError
from edgenets.files import check_output, make_folder
from edgenets.models.folder import CODES, SPEC, WEIGHTS

MODEL_FILES = (SPEC, WEIGHTS, CODES)


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
        make_folder(folder)
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


def check_outputs(folder: Path, names: Iterable[str], inputs: Iterable[str | None]) -> None:
    """Check that the files `names` can be written in `folder`, and are none of `inputs`.

    Args:
        inputs: files that are read, or None; a model folder stands for the files in it. What is no
            file, such as the name of weights, is passed over.

    Raises:
        EdgenetsError: as `edgenets.files.check_output`.
    """
    sources = [file for name in inputs if name for file in files_of(Path(name))]
    for name in names:
        check_output(folder / name, sources)


def files_of(model: Path) -> list[Path]:
    """Return the files that are read of a model: those of its folder, or the file itself."""
    return [model / name for name in MODEL_FILES] if model.is_dir() else [model]


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
