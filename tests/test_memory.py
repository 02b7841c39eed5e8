"""What is free, with the limits of control groups; what a file may take of it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from edgenets import memory
from edgenets.errors import EdgenetsError
from edgenets.memory import at_most, bound_bytes, free_bytes, read_bounded, require, reserved

GIB = 2**30


def machine(root: Path, groups: str, files: dict[str, str]) -> Path:
    """Make the files of a machine with 8 GiB free, in control groups."""
    files = {
        "proc/meminfo": f"MemTotal: 1 kB\nMemAvailable: {8 * GIB // 1024} kB\n",
        "proc/self/cgroup": groups,
        **files,
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def group(
    folder: str, limit: object, used: int, cache: int = 0, version: int = 2
) -> dict[str, str]:
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }[version]
    top = "sys/fs/cgroup/memory" if version == 1 else "sys/fs/cgroup"
    return {
        f"{top}/{folder}/{names[0]}": f"{limit}\n",
        f"{top}/{folder}/{names[1]}": f"{used}\n",
        f"{top}/{folder}/memory.stat": f"anon 5\n{names[2]} {cache}\n",
    }


@pytest.mark.parametrize(
    "groups, files, free",
    [
        ("0::/\n", {}, 8 * GIB),
        ("0::/a/b\n", group("a/b", 3 * GIB, GIB), 2 * GIB),
        ("0::/a/b\n", group("a/b", 3 * GIB, GIB, GIB // 2), 5 * GIB // 2),
        ("0::/a/b\n", {**group("a/b", "max", 0), **group("a", 4 * GIB, GIB)}, 3 * GIB),
        ("0::/outside\n", group(".", 3 * GIB, GIB), 2 * GIB),  # a container sees itself as the top
        ("4:cpu:/c\n3:memory:/c\n0::/\n", group("c", 2 * GIB, GIB, 0, 1), GIB),
        ("3:memory:/outside\n", group(".", 2 * GIB, GIB, 0, 1), GIB),
        ("3:memory:/c\n", group("c", 2**63 - 4096, GIB, 0, 1), 8 * GIB),
        ("0::/a\n", group("a", GIB, 2 * GIB), 0),
        ("3:cpu:/a\n", group("a", GIB, 0, 0, 1), 8 * GIB),
    ],
)
def test_free_memory_is_that_of_the_machine_or_of_the_tightest_group(groups, files, free, tmp_path):
    assert free_bytes(machine(tmp_path, groups, files)) == free


def test_where_nothing_is_told_something_is_assumed(tmp_path: Path):
    assert free_bytes(tmp_path) == memory.ASSUMED_BYTES


def test_a_file_may_take_a_quarter_or_what_is_passed(monkeypatch):
    assert 2**24 < free_bytes() < 2**46
    monkeypatch.setattr(memory, "free_bytes", lambda: 4 * GIB)
    require(GIB, "it is too large")
    with pytest.raises(EdgenetsError, match=r"^it is too large, which would take 1024\.00 MiB of"):
        require(GIB + 1, "it is too large")
    with at_most(2 * GIB):
        require(GIB + 1, "it is too large")
    with at_most(100), pytest.raises(EdgenetsError, match=r"\(as was passed\)"):
        require(101, "it is too large")
    assert bound_bytes() == GIB


def test_limits_of_threads_end_with_their_own_blocks(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda: 4 * GIB)
    first, second = at_most(100), at_most(2 * GIB)
    with first:
        second.__enter__()  # of another thread, which goes on after this one
        assert bound_bytes() == 2 * GIB
    assert bound_bytes() == 2 * GIB
    second.__exit__(None, None, None)
    assert bound_bytes() == GIB


def test_threads_wait_for_one_another_s_memory(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda: 4 * GIB)
    held, most, lock = [0], [0], threading.Lock()

    def work() -> None:
        with reserved(2 * GIB // 5, "it is too large"):
            with lock:
                held[0] += 1
                most[0] = max(most[0], held[0])
            threading.Event().wait(0.02)
            with lock:
                held[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (held[0], most[0]) == (0, 2)
    with pytest.raises(EdgenetsError), reserved(GIB + 1, "it is too large"):
        pass


def test_a_pipe_or_too_large_a_file_is_refused_and_not_read(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda: GIB)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(EdgenetsError, match="pipe is not a regular file"):
        read_bounded(tmp_path / "pipe")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(GIB)
    with pytest.raises(EdgenetsError, match="sparse is too large, which would take"):
        read_bounded(tmp_path / "sparse")
    with pytest.raises(EdgenetsError, match=r"cannot read .*nowhere: No such file"):
        read_bounded(tmp_path / "nowhere")
