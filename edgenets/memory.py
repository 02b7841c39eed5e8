"""How much memory a file may take: a quarter of what is free, unless the user says otherwise.

What a file claims is compared with that before anything is allocated: a picture of a few bytes may
declare any size, and a package unpack to any. Limits of control groups (containers, systemd) count.

Sources: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst of Linux.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from edgenets.errors import EdgenetsError
from edgenets.files import read_bytes, require_regular
from edgenets.units import format_bytes

SHARE = 0.25
"""Of the free memory, that a file may take."""
SMALL_BYTES = 2**22
"""That a file may always take: to ask what is free would take longer than to read it."""
ASSUMED_BYTES = 2 * 2**30
"""Where the system does not say what is free."""

# Version of control groups -> folder, and its files: limit, used, and the key of what can go.
GROUPS = {
    1: ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("", "memory.max", "memory.current", "inactive_file"),
}


def free_bytes(root: Path = Path("/")) -> int:
    """Return how much memory this process can have without swapping.

    Args:
        root: where /proc and /sys are.
    """
    free = [_of_machine(root), *_of_groups(root)]
    return max(0, min((size for size in free if size is not None), default=ASSUMED_BYTES))


def bound_bytes() -> int:
    """Return how much a file may take: what `at_most` says, else a quarter of the free memory."""
    return int(SHARE * free_bytes()) if (chosen := _chosen()) is None else chosen


@contextmanager
def at_most(size_bytes: int | None) -> Iterator[None]:
    """Let files take so much memory while the block runs, in all threads; None: as is usual.

    Of blocks that run at the same time the one that began last counts.
    """
    global _limits
    limit = _Limit(size_bytes)
    with _changed:
        _limits = (*_limits, limit)
    try:
        yield
    finally:
        with _changed:
            _limits = tuple(each for each in _limits if each is not limit)


def require(size_bytes: int, what: str) -> None:
    """Check that something may take so much memory; errors begin with `what`, a sentence.

    >>> require(2**10, "the picture is too large")

    Raises:
        EdgenetsError: it may not.
    """
    if not _is_small(size_bytes) and size_bytes > (bound := bound_bytes()):
        whose = "a quarter of what is free" if _chosen() is None else "as was passed"
        raise EdgenetsError(
            f"{what}, which would take {format_bytes(size_bytes)} of memory, where a file may take "
            f"{format_bytes(bound)} ({whose}); if you trust it, end other programs, or allow more "
            "with --max-bytes where the command takes it"
        )


def read_bounded(path: Path) -> bytes:
    """Return the content of a regular file that may be held in memory.

    Raises:
        EdgenetsError: it is missing, no regular file, too large, or cannot be read.
    """
    require_regular(path)
    with suppress(OSError):  # `read_bytes` has the words
        require(path.stat().st_size, f"{path} is too large")
    return read_bytes(path)


@contextmanager
def reserved(size_bytes: int, what: str) -> Iterator[None]:
    """Wait until the blocks of other threads leave so much of the bound, then run the block.

    Raises:
        EdgenetsError: it is more than the bound.
    """
    global _reserved
    if _is_small(size_bytes):
        yield
        return
    with _changed:
        while _reserved and size_bytes > bound_bytes() - _reserved:
            _changed.wait()
        require(size_bytes, what)
        _reserved += size_bytes
    try:
        yield
    finally:
        with _changed:
            _reserved -= size_bytes
            _changed.notify_all()


@dataclass(frozen=True, eq=False)
class _Limit:
    """What one block of `at_most` says."""

    size_bytes: int | None


_limits: tuple[_Limit, ...] = ()
_reserved = 0
_changed = threading.Condition()


def _chosen() -> int | None:
    limits = _limits  # of this moment
    return limits[-1].size_bytes if limits else None


def _is_small(size_bytes: int) -> bool:
    return _chosen() is None and size_bytes <= SMALL_BYTES


def _of_machine(root: Path) -> int | None:
    return _entry(root / "proc/meminfo", "MemAvailable:", 1024)


def _of_groups(root: Path) -> Iterator[int | None]:
    """Yield what is free in each control group around this process that has a limit."""
    for line in (_text(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        folder, limit, used, droppable = GROUPS[1 if controllers else 2]
        top = root / "sys/fs/cgroup" / folder
        group = top / path.lstrip("/")
        if not group.is_dir():  # a container sees its own group as the top
            group = top
        for place in (group, *group.parents):
            if place == top.parent:
                break
            yield _left(place, limit, used, droppable)


def _left(group: Path, limit: str, used: str, droppable: str) -> int | None:
    most, now = (_text(group / name) or "" for name in (limit, used))
    if not (most.isdecimal() and now.isdecimal()):  # "max", or there is none
        return None
    cache = _entry(group / "memory.stat", droppable, 1) or 0
    return int(most) - int(now) + min(cache, int(now))


def _entry(path: Path, key: str, unit: int) -> int | None:
    """Return the number behind a key, of a file with one in each line."""
    for line in (_text(path) or "").splitlines():
        match line.split():
            case [name, number, *_] if name == key and number.isdecimal():
                return int(number) * unit
    return None


def _text(path: Path) -> str | None:
    with suppress(OSError, ValueError):
        return path.read_text().strip()
    return None
