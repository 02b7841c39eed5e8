"""Whatever operation an update is cut off at, a whole model answers and the next update completes.

The cut: from one operation on, none is done any more. Then the same with what was done but not
synced lost: the log of operations is replayed as a file system may leave it.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from edgenets import files
from edgenets.errors import EdgenetsError
from edgenets.updates import client, disk, slots
from edgenets.verbs import updating

LEAST_POINTS = 200


class PowerCutError(BaseException):
    """Nothing catches it, as nothing catches a cut."""


class Operation(NamedTuple):
    do: Callable
    arguments: tuple


class Recorder:
    """Takes the place of `disk.perform`: notes the operations, and stops doing them at one."""

    def __init__(self, root: Path, stop: int | None = None, half: bool = False) -> None:
        self.root, self.stop, self.half = root, stop, half
        self.log: list[Operation] = []

    def __call__(self, operation: Callable, *arguments) -> None:
        if self.stop is not None and len(self.log) >= self.stop:
            if (
                self.half
                and len(self.log) == self.stop
                and operation in (disk._write, disk._append)
            ):
                path, content = arguments
                operation(path, content[: len(content) // 2])
            self.half = False
            raise PowerCutError
        operation(*arguments)
        paths = (a.relative_to(self.root) if isinstance(a, Path) else a for a in arguments)
        self.log.append(Operation(operation, tuple(paths)))


@pytest.fixture
def ready(world, monkeypatch: pytest.MonkeyPatch):
    """The boards that updates begin with; no process tries a file, and nobody waits for a disk."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(client, "check_probes", lambda *_: None)
    return world


def to_second(world, board: Path) -> None:
    updating.update(world.repository, into=board, model=world.name, root=world.root)


def to_second_with_leftovers(world, board: Path) -> None:
    (board / "probes" / ("0" * 64)).write_bytes(b"inputs that no model has")
    (package,) = (world.repository / "targets" / world.name).glob("*.2-from-1.epk")
    part = board / "download" / f"{package.name.split('.')[0]}.part"
    part.write_bytes(package.read_bytes()[:50])
    to_second(world, board)


def confirmed(world, board: Path) -> None:
    to_second(world, board)
    updating.confirm(board)


def rolled_back(world, board: Path) -> None:
    confirmed(world, board)
    updating.rollback(board)


def started_too_often(world, board: Path) -> None:
    to_second(world, board)
    for _ in range(4):
        updating.current(board, start=True)


# What is done, and which board it begins with.
SCENARIOS = {
    to_second: "board",
    to_second_with_leftovers: "board",
    confirmed: "empty",
    rolled_back: "board",
    started_too_often: "board",
}


def begin(world, name: str, at: Path) -> Path:
    shutil.rmtree(at, ignore_errors=True)
    if name == "board":
        shutil.copytree(world.board, at, symlinks=True)
    (at / "download").mkdir(parents=True)  # the lock's, which is no operation of an update
    return at


def check(world, board: Path, scenario: Callable, where: object) -> None:
    """The board answers with a whole model, and the next update completes."""
    models = {world.file(number).read_bytes(): number for number in (1, 2)}
    begun = SCENARIOS[scenario] == "board"
    answer = board / "current" / "model.tflite"
    assert answer.exists() or not begun, where
    if answer.exists():
        assert answer.read_bytes() in models, where
        release = slots.release_in(board, slots.current_slot(board))
        assert release and release.number == models[answer.read_bytes()], where
    record = updating.update(
        world.repository, into=board, model=world.name, root=world.root, retry=True
    )
    assert record.release and record.release.number == 2, where
    assert answer.read_bytes() == world.file(2).read_bytes(), where


def logged(world, monkeypatch: pytest.MonkeyPatch, scenario: Callable, board: Path) -> Recorder:
    recorder = Recorder(begin(world, SCENARIOS[scenario], board))
    with monkeypatch.context() as patch:
        patch.setattr(disk, "perform", recorder)
        scenario(world, board)
    return recorder


@pytest.mark.slow
def test_a_cut_before_or_after_any_operation_or_amid_a_write_loses_nothing(
    ready, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    points = 0
    for scenario in SCENARIOS:
        operations = logged(ready, monkeypatch, scenario, tmp_path / "whole").log
        for stop, operation in enumerate(operations):
            halves = (False, True) if operation.do in (disk._write, disk._append) else (False,)
            for half in halves:
                board = begin(ready, SCENARIOS[scenario], tmp_path / "cut")
                with monkeypatch.context() as patch:
                    patch.setattr(disk, "perform", Recorder(board, stop, half))
                    with pytest.raises(PowerCutError):
                        scenario(ready, board)
                check(ready, board, scenario, (scenario.__name__, stop, operation, half))
                points += 1
    assert points > LEAST_POINTS


def test_a_rollback_that_was_cut_off_is_finished(
    ready, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    board = begin(ready, "board", tmp_path / "cut")
    confirmed(ready, board)
    with monkeypatch.context() as patch:
        patch.setattr(disk, "perform", Recorder(board, stop=4))  # the state is written: it is left
        with pytest.raises(PowerCutError):
            updating.rollback(board)
    assert slots.current_slot(board) == "b"
    assert updating.current(board, start=True).parent.name == "a"
    assert [row["number"] for row in updating.update_status(board).left] == [2]


@pytest.mark.parametrize(
    "write",
    [
        lambda path: disk.replace(path, b"x"),
        lambda path: disk.link(path, "slots/a"),
        lambda path: (path.touch(), disk.remove(path)),
    ],
    ids=["replace", "link", "remove"],
)
def test_every_change_of_a_name_ends_with_a_sync_of_its_folder(
    write: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    done = []
    monkeypatch.setattr(disk, "perform", lambda do, *more: (do(*more), done.append((do, more[0]))))
    write(tmp_path / "current")
    assert done[-1] == (files.sync, tmp_path)


@pytest.mark.slow
def test_operations_that_were_not_synced_may_be_lost(
    ready, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    points = 0
    for scenario in (to_second, confirmed, rolled_back):
        log = logged(ready, monkeypatch, scenario, tmp_path / "whole").log
        for stop in range(len(log) + 1):
            for loss in ("names", "content"):
                done = log[:stop]
                kept = [survives(done, index, loss) for index in range(stop)]
                if all(kept):  # which the test above has
                    continue
                board = begin(ready, SCENARIOS[scenario], tmp_path / "cut")
                replay(done, kept, board)
                check(ready, board, scenario, (scenario.__name__, stop, loss))
                points += 1
    assert points > 20


def survives(log: list[Operation], index: int, loss: str) -> bool:
    """Whether an operation is on the disk at the end of the log.

    A folder's names are those of its last sync (`loss` is "names"), or the content of a file is
    that of its last sync ("content").
    """
    do, (path, *_) = log[index]
    is_content = do in (disk._write, disk._append)
    if do is files.sync or is_content != (loss == "content"):
        return True
    synced = path if is_content else path.parent
    return any(late.do is files.sync and late.arguments[0] == synced for late in log[index:])


def replay(log: list[Operation], kept: list[bool], board: Path) -> None:
    """Do the operations that survived; of a file whose content did not, its name is there."""
    for operation, survived in zip(log, kept, strict=True):
        arguments = [board / a if isinstance(a, Path) else a for a in operation.arguments]
        if survived:
            operation.do(*arguments)
        elif operation.do in (disk._write, disk._append):
            operation.do(arguments[0], b"")


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9])
def test_a_killed_process_loses_nothing(
    share: float, ready, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    operations = len(logged(ready, monkeypatch, to_second, tmp_path / "whole").log)
    board = begin(ready, "board", tmp_path / "cut")
    child = os.fork()
    if not child:
        try:
            disk.perform = Killing(board, int(share * operations))  # type: ignore[assignment]
            to_second(ready, board)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    check(ready, board, to_second, share)


class Killing(Recorder):
    """Kills its process at an operation."""

    def __call__(self, operation: Callable, *arguments) -> None:
        if len(self.log) == self.stop:
            os.kill(os.getpid(), signal.SIGKILL)
        super().__call__(operation, *arguments)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """A function that lets the disk be full from one operation on."""

    def fill(at: int, error: OSError) -> None:
        done = []

        def perform(operation: Callable, *arguments) -> None:
            done.append(operation)
            if len(done) > at and operation in (disk._write, disk._append, disk._make_folder):
                raise error
            operation(*arguments)

        monkeypatch.setattr(disk, "perform", perform)

    return fill


@pytest.mark.parametrize("at", range(0, 24, 4))
@pytest.mark.parametrize(
    "error, sentence",
    [
        (OSError(28, "No space left on device"), "No space left on device.*free some space"),
        (OSError(30, "Read-only file system"), "Read-only file system.*make it writable"),
    ],
    ids=["full", "read-only"],
)
def test_a_full_or_read_only_disk_is_a_sentence(
    at: int, error: OSError, sentence: str, ready, full_disk, monkeypatch: pytest.MonkeyPatch
):
    full_disk(at, error)
    with pytest.raises(EdgenetsError, match=sentence):
        to_second(ready, ready.board)
    monkeypatch.setattr(disk, "perform", lambda operation, *arguments: operation(*arguments))
    assert ready.answers() == ready.file(1).read_bytes()
    to_second(ready, ready.board)
    assert ready.answers() == ready.file(2).read_bytes()
