"""The folder of images that was opened last, for processes that train on it again and again.

To open one decodes and hashes every file, which takes minutes where there are many.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from edgenets.data.dataset import Dataset
from edgenets.data.folder import existing_folder, files_below
from edgenets.data.sources import open_dataset

_KEEPING = ContextVar("keeping", default=False)
_kept: dict[tuple[object, ...], Dataset] = {}
"""The last one, by all that it depends on."""


@contextmanager
def last_dataset_kept() -> Iterator[None]:
    """Have `open_again` give again what it gave last, in an earlier block like this one too."""
    token = _KEEPING.set(True)
    try:
        yield
    finally:
        _KEEPING.reset(token)


def open_again(source: str, *, seed: int, strict: bool, test_fraction: float) -> Dataset:
    """Return what `open_dataset` does; within `last_dataset_kept` each folder is opened once.

    It is opened anew where a file in it has another size or time.
    """
    if not _KEEPING.get() or source == "digits":
        return open_dataset(source, seed=seed, strict=strict, test_fraction=test_fraction)
    key = (source, listing(existing_folder(source)), seed, strict, test_fraction)
    if key not in _kept:
        _kept.clear()
        _kept[key] = open_dataset(source, seed=seed, strict=strict, test_fraction=test_fraction)
    return _kept[key]


def listing(folder: Path) -> str:
    """Return a hash of the names, sizes and times of all files in a folder and below."""
    listed = hashlib.sha256()
    for path in sorted(path for path in files_below(folder) if path.is_file()):
        found = path.stat()
        listed.update(f"{path.relative_to(folder)} {found.st_size} {found.st_mtime_ns}\n".encode())
    return listed.hexdigest()
