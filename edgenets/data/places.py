"""Where folders of images are on this machine, which may be elsewhere than their names say.

A node of a cluster has copies; what is recorded of them names the folders that they are of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType

_PLACES: ContextVar[Mapping[str, Path]] = ContextVar("places", default=MappingProxyType({}))


@contextmanager
def folders_here(places: Mapping[str, Path]) -> Iterator[None]:
    """Have folders of images read from other places while the block runs, under their own names.

    >>> with folders_here({"/data/photos": Path("/tmp/copy")}):
    ...     folder_here("/data/photos").as_posix()
    '/tmp/copy'
    """
    token = _PLACES.set(places)
    try:
        yield
    finally:
        _PLACES.reset(token)


def folder_here(source: str) -> Path:
    """Return where a folder of images is on this machine; see `folders_here`."""
    return _PLACES.get().get(source, Path(source))
