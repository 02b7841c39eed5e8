"""Files that are whole or absent: places that are checked, atomic writes, hashes, JSON."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import math
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edgenets.errors import EdgenetsError, did_you_mean

TEMPORARY, PARTIAL, FOLDER = ".edgenets-", ".partial", ".folder"
"""How a name begins of what is being written, and how that of a file and of a folder ends."""
UNCHANGED, KEPT = "what was there is unchanged", "what is done is kept"
ANOTHER_PLACE, MEND = (
    "pass another place and repeat the command",
    "mend that and repeat the command",
)
"""What `disk_failure` says of what was there, and to do."""
PACKAGE = b"\x89EPK"  # that an `.epk` begins with
PIECE_BYTES = 2**16  # of a file that is hashed: a large one need not be in memory
SEAL = "sha256"  # the key of a sealed JSON value that holds the hash of the others


def check_output(path: Path, inputs: Iterable[Path] = (), *, option: str = "--out") -> None:
    """Check that `path` can be written as a file, before the work, without touching it.

    Links are followed: a link to a device is one, and a link to an input is that input.

    Args:
        path: the file; it and folders above it may be missing.
        inputs: files that are read, which it must not replace; missing ones are passed over.
        option: of the command line, which the message names.

    Raises:
        EdgenetsError: what is there is no regular file or one of `inputs`, or the folder that the
            file is to be in cannot be written.

    >>> check_output(Path("model.tflite"), [Path("model.h5")])
    """
    found = _regular(path, option)
    for source in inputs if found else ():
        read = _stat(source)
        if found and read and os.path.samestat(found, read):
            same = "" if path == source else f" ({source})"
            raise EdgenetsError(
                f"{path} is a file that is read{same}; pass another one with {option}"
            )
    above = _linked(path).absolute().parent
    while not os.path.lexists(above):
        above = above.parent
    if not above.is_dir():
        raise EdgenetsError(
            f"{path} cannot be written: {above} is not a folder; pass another {option}"
        )
    if not os.access(above, os.W_OK | os.X_OK):
        raise EdgenetsError(
            f"cannot use the folder {above}: it cannot be written; pass another one with {option}"
        )


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`; move it there when the block ends well.

    Of a link that is the file that it leads to, as for `check_output`; the link stays.

    Whatever happens, `path` holds either its old content or all of the new one, and so it is after
    a power cut. The temporary name is another one each time, so that two writers do not meet; what
    a killed process left behind in the folder is removed. Of files that belong together the one
    whose block is the outermost gets its name last: while it is not there, they are not.

    Raises:
        EdgenetsError: what is there is no regular file, the folder cannot be made or written, or
            the disk is full.
    """
    _regular(path, "--out")
    place = _linked(path)
    try:
        make_folder(place.parent)
        with temporary_file(place.parent) as partial:
            yield partial
            sync(partial)
            rename(partial, place)
    except OSError as error:
        raise disk_failure(f"cannot write {path}", error, UNCHANGED, ANOTHER_PLACE) from error


@contextmanager
def temporary_file(folder: Path) -> Iterator[Path]:
    """Yield a new empty file, locked while the block runs and removed at its end.

    The lock tells it from one that a killed process left behind; such are removed first, each with
    the folder of the same name that was written.
    """
    _remove_leftovers(folder)
    path, descriptor = _new_file(folder)
    try:
        yield path
    finally:
        os.close(descriptor)
        with suppress(OSError):
            path.unlink(missing_ok=True)


@contextmanager
def locked_folder(
    folder: Path,
    *,
    wait: Callable[[], object] | None = None,
    way_out: str = "pass another one with --out",
) -> Iterator[None]:
    """Make `folder` and keep other edgenets processes out of it while the block runs.

    The lock is the kernel's: it ends with the process, however that ends, and a killed one leaves
    nothing to clean. Of the folders that were made, those that are empty at the end are removed.

    Args:
        folder: to work in; it and folders above it may be missing.
        wait: is called before it waits for another process; None: it does not wait.
        way_out: what to do where the folder cannot be used.

    Raises:
        EdgenetsError: it cannot be made or written, or another process works in it and `wait` is
            None.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as above, locked_folder(Path(above) / "run"):
    ...     write_bytes(Path(above) / "run" / "done", b"")
    """
    made = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    if not made and not folder.is_dir():
        raise EdgenetsError(f"{folder} is not a folder; {way_out}")
    try:
        descriptor = _open_locked(folder, wait)
        if not os.access(folder, os.W_OK | os.X_OK):
            os.close(descriptor)
            raise PermissionError(errno.EACCES, "it cannot be written")
    except BlockingIOError as error:
        raise EdgenetsError(
            f"{folder} is in use by another edgenets process; wait for it, or {way_out}"
        ) from error
    except OSError as error:
        raise EdgenetsError(
            f"cannot use the folder {folder}: {error.strerror}; {remedy(error, way_out)}"
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):  # it holds something
            for path in made:
                path.rmdir()  # before another process can have the lock
        os.close(descriptor)


def remedy(error: OSError, otherwise: str) -> str:
    """Return what to do about a file system's error: on a full disk free some space."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "free some space and repeat the command" if full else otherwise


def disk_failure(failed: str, error: OSError, kept: str, otherwise: str) -> EdgenetsError:
    """Return what to say where a file system fails.

    Args:
        failed: what could not be done.
        error: why.
        kept: what became of what was there.
        otherwise: what to do, as for `remedy`.
    """
    return EdgenetsError(f"{failed}: {error.strerror or error}; {kept}, {remedy(error, otherwise)}")


def make_folder(folder: Path) -> None:
    """Make `folder` and those above it, on the disk too, if they are missing."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in made:
        sync(path.parent)


def rename(path: Path, name: Path) -> None:
    """Give a file or folder another name in its folder, on the disk too; a file may be replaced."""
    path.replace(name)
    sync(name.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically (see `replacing`)."""
    with replacing(path) as partial:
        partial.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON to `path` atomically."""
    write_bytes(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """Return what `write_json` writes.

    >>> json_bytes({"a": 1})
    b'{\\n  "a": 1\\n}\\n'
    """
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Write `value` as JSON to `path` atomically, with the SHA-256 of it all under `sha256`."""
    write_json(path, {**value, SEAL: sha256_json(value)})


def read_bytes(path: Path) -> bytes:
    """Return the content of the file `path`.

    Raises:
        EdgenetsError: it is missing, a folder, a pipe or the like, or cannot be read.
    """
    with _reading(path):
        return path.read_bytes()


def require_regular(path: Path) -> None:
    """Check that a path that is there is a file or folder: to read a pipe may never end.

    Raises:
        EdgenetsError: it is a pipe, a socket or a device.
    """
    with suppress(OSError):  # it is not there, which whoever reads it says
        if not (path.is_file() or path.is_dir()) and path.exists():
            raise EdgenetsError(f"{path} is not a regular file; pass one")


def read_json(path: Path) -> Any:
    """Return the parsed JSON file `path`.

    Raises:
        EdgenetsError: it cannot be read or is not JSON, in which every number is finite.
    """
    try:
        return json.loads(read_bytes(path), parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError) as error:
        raise EdgenetsError(
            f"{path} is not valid JSON ({error}); restore the file or make it again"
        ) from error


def read_sealed(path: Path) -> dict[str, Any]:
    """Return what `write_sealed` wrote to `path`.

    Raises:
        EdgenetsError: it cannot be read, or anything in it has changed.
    """
    value = read_json(path)
    if not isinstance(value, dict) or value.pop(SEAL, None) != sha256_json(value):
        raise EdgenetsError(f"{path} is damaged: its SHA-256 is another one; make it again")
    return value


def sha256_bytes(content: bytes) -> str:
    """Return the SHA-256 of `content` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of the file `path` in hexadecimal."""
    digest = hashlib.sha256()
    with _reading(path), path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def sha256_json(value: Any) -> str:
    """Return the SHA-256 of a JSON value, whatever the order of its keys."""
    return sha256_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say in one sentence why the block cannot read a file."""
    require_regular(path)
    try:
        yield
    except ValueError as error:  # of its name
        raise EdgenetsError(f"cannot read {str(path)!r}: {error}") from error
    except OSError as error:
        hint = _near_name(path) if error.errno == errno.ENOENT else ""
        if error.errno == errno.EISDIR:
            hint = "; pass a file"
        raise EdgenetsError(f"cannot read {path}: {error.strerror or error}{hint}") from error


def _near_name(path: Path) -> str:
    try:
        return did_you_mean(path.name, [neighbour.name for neighbour in path.parent.iterdir()])
    except OSError:
        return ""


def _regular(path: Path, option: str) -> os.stat_result | None:
    """Return what is at `path`, links followed, which must be a file or nothing (None)."""
    found = _stat(path)
    if found and not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a device, a pipe or a socket"
        raise EdgenetsError(f"{path} is {kind}; pass the name of a file with {option}")
    return found


def _linked(path: Path) -> Path:
    """Return the file that is written at `path`: where that is a link, what it leads to."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _stat(path: Path) -> os.stat_result | None:
    """Return what is at `path`, links followed; None if there is nothing."""
    try:
        # Of missing/../file too, whose folder will be made.
        return Path(os.path.realpath(path)).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise EdgenetsError(f"cannot use {path}: {error.strerror}; pass another place") from error


def _new_file(folder: Path) -> tuple[Path, int]:
    while True:
        path = folder / f"{TEMPORARY}{secrets.token_hex(8)}{PARTIAL}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with suppress(OSError):  # a file system without locks: no leftover is removed there
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)  # another process took it, not locked yet, for a leftover


def _remove_leftovers(folder: Path) -> None:
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if e.name.startswith(TEMPORARY)]
    for path in (folder / name for name in names if name.endswith(PARTIAL)):
        with suppress(OSError), path.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails if its writer is alive
            shutil.rmtree(path.with_suffix(FOLDER), ignore_errors=True)
            path.unlink()


def _open_locked(folder: Path, wait: Callable[[], object] | None) -> int:
    """Make `folder` and return the descriptor of its lock, which closing releases."""
    while True:
        make_folder(folder)
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if wait is None:
                    raise
                wait()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            found = _stat(folder)
            if found and os.path.samestat(os.fstat(descriptor), found):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # who had it removed it


def sync(path: Path) -> None:
    """Have what is in a file, or the names that are in a folder, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that has no such thing for folders
            raise
    finally:
        os.close(descriptor)


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is not finite")
    return number
