"""Packages (.epk) from file to file, for `en.File.pack` and `en.unpack`."""

from __future__ import annotations

from pathlib import Path

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.files import check_output, read_bytes, sha256_bytes, write_bytes
from edgenets.memory import read_bounded
from edgenets.quantize.package import epk
from edgenets.results.models import PackRecord


def pack_file(path: Path, out: Path, base: Path | None) -> PackRecord:
    """Write the package of a file, or of what changed since the file `base`.

    Raises:
        EdgenetsError: a file cannot be read or is no `.tflite`, or the package cannot be written.
    """
    paths = [path] if base is None else [path, base]
    check_output(out, paths)
    contents = [_read(each) for each in paths]
    package = epk.pack(*contents)
    write_bytes(out, package)
    sizes = len(contents[0]), len(package)
    return PackRecord(*sizes, sha256_bytes(contents[0]), epk.base_sha256(package))


def _read(path: Path) -> bytes:
    if path.is_file():
        epk.check_size(path.stat().st_size)
    content = read_bytes(path)
    flatbuffer.require_mark(content, str(path))
    return content


def unpack_file(package: Path, out: Path, base: Path | None) -> None:
    """Write the file that a package holds.

    Raises:
        EdgenetsError: a file cannot be read, the package is damaged or needs another base, or the
            file cannot be written.
    """
    check_output(out, [package] if base is None else [package, base])
    contents = [read_bounded(each) for each in (package, base) if each is not None]
    try:
        content = epk.unpack(*contents)
    except EdgenetsError as error:
        raise EdgenetsError(f"{package}: {error}") from error
    write_bytes(out, content)
