"""Folders that are whole or absent: those that are replaced, those that are copied."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgenets.errors import EdgenetsError
from edgenets.files import (
    ANOTHER_PLACE,
    FOLDER,
    KEPT,
    MEND,
    TEMPORARY,
    UNCHANGED,
    check_output,
    disk_failure,
    make_folder,
    rename,
    sync,
    temporary_file,
)

OLD = ".old"
"""How the name of a folder ends that is being replaced."""


def check_folder(folder: Path, names: Iterable[str]) -> None:
    """Check that `folder` can be written as a whole, before the work, without touching it.

    Args:
        folder: it may be missing; what is there is replaced.
        names: of the files that it may hold.

    Raises:
        EdgenetsError: it is a file, holds something else, or cannot be made or replaced.
    """
    if not os.path.lexists(folder):
        check_output(folder)
        return
    if not folder.is_dir():
        raise EdgenetsError(f"{folder} is not a folder; pass another one with --out")
    if others := sorted({path.name for path in folder.iterdir()} - set(names)):
        raise EdgenetsError(
            f"{folder} holds {others[0]}, which would be lost; pass a new folder with --out"
        )
    check_output(Path(os.path.realpath(folder)).with_name(TEMPORARY))


@contextmanager
def replacing_folder(folder: Path, names: Iterable[str]) -> Iterator[Path]:
    """Yield an empty folder beside `folder`; it takes that one's place when the block ends well.

    Whatever happens, `folder` holds either its old files or all of the new ones; only a process
    killed between two renames, or soon after them, leaves the old ones beside it, under a name that
    ends in `.old`.

    Args:
        folder, names: as for `check_folder`.

    Raises:
        EdgenetsError: as there, or the disk is full.
    """
    check_folder(folder, names)
    folder = Path(os.path.realpath(folder))
    try:
        make_folder(folder.parent)
        with _temporary_folder(folder.parent) as partial:
            yield partial
            for path in partial.iterdir():
                sync(path)
            sync(partial)
            old = partial.with_suffix(OLD) if folder.is_dir() else None
            try:
                if old:
                    rename(folder, old)
                rename(partial, folder)
            except BaseException:
                with suppress(OSError):  # the new one is there, or still the old one
                    if old:
                        rename(old, folder)
                raise
            finally:
                if old and folder.is_dir():
                    shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise disk_failure(f"cannot write {folder}", error, UNCHANGED, ANOTHER_PLACE) from error


def copy_folder(folder: Path, copy: Path) -> None:
    """Copy a folder as a whole, onto the disk: where the copy has its name, it is complete.

    Raises:
        EdgenetsError: it cannot be read or written, or the disk is full.
    """
    partial = copy.with_name(f".{folder.name}.copy")
    try:
        make_folder(copy.parent)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        for path in sorted(folder.rglob("*")):  # a folder before what is in it
            place = partial / path.relative_to(folder)
            place.mkdir() if path.is_dir() else shutil.copy2(path, place)
        for path in (partial, *partial.rglob("*")):
            sync(path)
        shutil.rmtree(copy, ignore_errors=True)
        rename(partial, copy)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise disk_failure(f"cannot copy {folder} to {copy}", error, KEPT, MEND) from error


@contextmanager
def _temporary_folder(above: Path) -> Iterator[Path]:
    """Yield a new empty folder; what is there under its name at the end of the block is removed.

    A file beside it is locked while the block runs, which tells it from one that a killed process
    left behind: such are removed with their files (see `temporary_file`).
    """
    with temporary_file(above) as file:
        path = file.with_suffix(FOLDER)
        path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
