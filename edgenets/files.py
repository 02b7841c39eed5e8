"""Files that are whole or absent: atomic writes, hashes, JSON."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edgenets.errors import EdgenetsError, did_you_mean


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it there when the block ends well.

    Whatever happens, `path` holds either its old content or all of the new one. The temporary name
    is the same each time, so what a killed process left behind is overwritten by the next one.

    Raises:
        EdgenetsError: the folder cannot be made or written, or the disk is full.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise EdgenetsError(
            f"cannot write {path}: {error.strerror or error}; what was there is unchanged, "
            f"{'free some space' if full else 'pass another place'} and repeat the command"
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically (see `replacing`)."""
    with replacing(path) as partial:
        partial.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON to `path` atomically."""
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_bytes(path: Path) -> bytes:
    """Return the content of the file `path`.

    Raises:
        EdgenetsError: it is missing, a folder, or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        hint = _near_name(path) if error.errno == errno.ENOENT else ""
        raise EdgenetsError(f"cannot read {path}: {error.strerror or error}{hint}") from error


def read_json(path: Path) -> Any:
    """Return the parsed JSON file `path`.

    Raises:
        EdgenetsError: it cannot be read or is not JSON.
    """
    try:
        return json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise EdgenetsError(
            f"{path} is not valid JSON ({error}); restore the file or make it again"
        ) from error


def sha256_bytes(content: bytes) -> str:
    """Return the SHA-256 of `content` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of the file `path` in hexadecimal."""
    return sha256_bytes(read_bytes(path))


def sha256_json(value: Any) -> str:
    """Return the SHA-256 of a JSON value, whatever the order of its keys."""
    return sha256_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def _near_name(path: Path) -> str:
    try:
        return did_you_mean(path.name, [neighbour.name for neighbour in path.parent.iterdir()])
    except OSError:
        return ""
