"""The two slots of a board's folder, which one answers, and when it goes back to the other.

    DIR/current -> slots/a                     which model answers: one link, switched by a rename
    DIR/slots/{a,b}/{model.tflite,release.json}  a slot is whole when its release.json is there
    DIR/state.json                             what is not confirmed yet, and what was left

Two locks: that of DIR/download is held by an update from its beginning to its end, that of DIR for
the moments in which the state or the link changes. So a program that starts never waits for a
download.

Every step leaves a state from which `settle` goes on: the link decides which model answers, and
what state.json says of another slot than the link's has not happened, or is over.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgenets.errors import EdgenetsError
from edgenets.files import locked_folder, read_bytes, read_json, sha256_file
from edgenets.results.updates import Release, UpdateStatus
from edgenets.updates import disk
from edgenets.updates.release import read_release, release_json

SLOTS = ("a", "b")
MODEL, RELEASE, STATE, CURRENT = "model.tflite", "release.json", "state.json", "current"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
WAY_OUT = "pass another one with --into"
MOST_LEFT = 50
"""Releases that a board remembers to have left."""


@dataclass(frozen=True)
class Pending:
    """A switch that is not confirmed; seconds are those that the board was on since.

    Attributes:
        slot: that answers now, if the switch has happened.
        starts, starts_allowed: of programs that use the model.
        seconds, seconds_allowed: until `seen`, which is a boot and the seconds since it.
        leaving: whether it is being switched back.
    """

    slot: str
    starts: int
    starts_allowed: int
    seconds: float
    seconds_allowed: float
    boot: str
    seen: float
    leaving: bool = False

    def seconds_by_now(self) -> float:
        """Return the seconds that the board was on since the switch; those of a boot that nobody
        looked at are not known."""
        boot, uptime = clock()
        return self.seconds + uptime - (self.seen if boot == self.boot else 0.0)


@dataclass(frozen=True)
class State:
    """What state.json holds."""

    pending: Pending | None = None
    left: tuple[dict[str, Any], ...] = ()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of the state and the link, waiting for it; nobody has it for long."""
    with locked_folder(folder, wait=lambda: None, way_out=WAY_OUT), disk.explained(folder):
        yield


@contextmanager
def locked_download(folder: Path) -> Iterator[Path]:
    """Hold the lock that keeps a second update and a rollback out; yield the folder of parts."""
    download = folder / "download"
    with locked_folder(download, way_out=WAY_OUT), disk.explained(folder):
        yield download


def clock() -> tuple[str, float]:
    """Return which boot this is, and the seconds since it: right without a clock, too."""
    return BOOT_ID.read_text().strip(), time.clock_gettime(time.CLOCK_BOOTTIME)


def current_slot(folder: Path) -> str | None:
    """Return the slot that answers; None before the first update.

    Raises:
        EdgenetsError: what is there is no folder.
    """
    if folder.exists() and not folder.is_dir():
        raise EdgenetsError(f"{folder} is not a folder; {WAY_OUT}")
    link = folder / CURRENT
    target = str(link.readlink()) if link.is_symlink() else ""
    return next((slot for slot in SLOTS if target == f"slots/{slot}"), None)


def other_slot(slot: str | None) -> str:
    """Return the slot that does not answer."""
    return SLOTS[slot == SLOTS[0]]


def model_path(folder: Path, slot: str) -> Path:
    """Return the place of a slot's model."""
    return folder / "slots" / slot / MODEL


def release_in(folder: Path, slot: str | None) -> Release | None:
    """Return the release in a slot whose model is whole; None of one that is not."""
    if slot is None or (release := _release_named_in(folder, slot)) is None:
        return None
    try:
        whole = sha256_file(model_path(folder, slot)) == release.sha256
    except EdgenetsError:
        return None
    return release if whole else None


def model_name(folder: Path) -> str | None:
    """Return the name of a board's model, which may be damaged; None before the first update."""
    slot = current_slot(folder)
    releases = (_release_named_in(folder, each) for each in (slot, other_slot(slot)) if each)
    return next((release.model for release in releases if release), None)


def read_state(folder: Path) -> State:
    """Return what state.json holds.

    Raises:
        EdgenetsError: it is damaged.
    """
    path = folder / STATE
    if not path.exists():
        return State()
    read_bytes(path)  # one that cannot be read is not damaged
    try:
        value: Mapping[str, Any] = read_json(path)
        pending = value["pending"]
        return State(_pending_of(pending) if pending else None, tuple(map(_left_of, value["left"])))
    except (EdgenetsError, TypeError, KeyError, ValueError, OverflowError) as error:
        raise EdgenetsError(
            f"{path} is damaged ({error}); remove it: the model that answers stays"
        ) from error


def _pending_of(value: Mapping[str, Any]) -> Pending:
    return Pending(
        slot=str(value["slot"]),
        starts=int(value["starts"]),
        starts_allowed=int(value["starts_allowed"]),
        seconds=float(value["seconds"]),
        seconds_allowed=float(value["seconds_allowed"]),
        boot=str(value["boot"]),
        seen=float(value["seen"]),
        leaving=bool(value["leaving"]),
    )


def _left_of(row: Mapping[str, Any]) -> dict[str, Any]:
    texts = {key: str(row[key]) for key in ("sha256", "reason")}
    return {"number": int(row["number"]), **texts}


def settle(folder: Path, *, starting: bool = False) -> State:
    """Finish what a power cut left, and go back to the other slot where that is due.

    Args:
        folder: of the board; this process has its lock.
        starting: a program starts to use the model, which is counted.
    """
    state, slot = read_state(folder), current_slot(folder)
    pending = state.pending
    if pending is None:
        return state
    if pending.slot != slot:  # the switch did not happen, or was undone
        return _written(folder, replace(state, pending=None))
    if pending.leaving:
        return _switched_back(folder, state)
    seconds = pending.seconds_by_now()
    boot, seen = clock()
    if starting and pending.starts >= pending.starts_allowed:
        return leave(folder, state, f"it was not confirmed in {pending.starts_allowed} starts")
    if seconds > pending.seconds_allowed:
        minutes = pending.seconds_allowed / 60
        return leave(folder, state, f"it was not confirmed in {minutes:g} minutes")
    counted = replace(
        pending, starts=pending.starts + starting, seconds=seconds, boot=boot, seen=seen
    )
    return _written(folder, replace(state, pending=counted))


def fill(folder: Path, slot: str, content: bytes) -> Path:
    """Put a model into a slot, which is not whole until `finish`; return its path."""
    path = model_path(folder, slot)
    for above in (folder / "slots", path.parent):
        disk.make_folder(above)
    disk.remove(path.with_name(RELEASE))
    disk.replace(path, content)
    return path


def finish(folder: Path, slot: str, release: Release) -> None:
    """Say what is in a slot: now it is whole."""
    text = release_json(release).encode()
    disk.replace(model_path(folder, slot).with_name(RELEASE), text)


def switch(folder: Path, slot: str, allowed: tuple[int, float] | None) -> None:
    """Let another slot answer: to be confirmed, if there is one to go back to.

    Args:
        folder: of the board; this process has its lock.
        slot: that is whole.
        allowed: the starts and seconds until then; None: nothing is to be confirmed.
    """
    state = read_state(folder)
    if allowed and release_in(folder, current_slot(folder)):
        boot, seen = clock()
        pending = Pending(slot, 0, allowed[0], 0.0, allowed[1], boot, seen)
        state = _written(folder, replace(state, pending=pending))
    disk.link(folder / CURRENT, f"slots/{slot}")


def confirm(folder: Path, state: State) -> State:
    """Keep the model that answers, also where its release was left before."""
    release = release_in(folder, current_slot(folder))
    left = tuple(row for row in state.left if not release or row["number"] != release.number)
    confirmed = State(None, left)
    return state if confirmed == state else _written(folder, confirmed)


def leave(folder: Path, state: State, reason: str) -> State:
    """Go back to the other slot, and remember that this release is not to be installed again.

    Where the other slot is not whole, the model stays, as one that is confirmed.

    Raises:
        EdgenetsError: state.json cannot be written.
    """
    slot = current_slot(folder)
    if slot is None or release_in(folder, other_slot(slot)) is None:
        return _written(folder, replace(state, pending=None))
    pending = state.pending or Pending(slot, 0, 0, 0.0, 0.0, *clock())
    if release := release_in(folder, slot):  # a damaged one may come again
        state = note_left(state, release, reason)
    state = _written(folder, replace(state, pending=replace(pending, leaving=True)))
    return _switched_back(folder, state)


def note_left(state: State, release: Release, reason: str) -> State:
    """Return the state with a release that was left for a reason."""
    others = [row for row in state.left if row["number"] != release.number]
    row = {"number": release.number, "sha256": release.sha256, "reason": reason}
    return replace(state, left=(*others, row)[-MOST_LEFT:])


def write_state(folder: Path, state: State) -> None:
    """Write state.json."""
    disk.replace(folder / STATE, (json.dumps(asdict(state), indent=2) + "\n").encode())


def status(folder: Path) -> UpdateStatus:
    """Return what a board's folder holds, without changing it."""
    slot, state = current_slot(folder), read_state(folder)
    pending = state.pending
    waits = pending is not None and pending.slot == slot and not pending.leaving
    previous = release_in(folder, other_slot(slot)) if slot else None
    was_left = previous and previous.number in {row["number"] for row in state.left}
    return UpdateStatus(
        path=str(model_path(folder, slot)) if slot else None,
        release=release_in(folder, slot),
        pending={
            "starts": pending.starts,
            "starts_allowed": pending.starts_allowed,
            "seconds": round(pending.seconds_by_now(), 1),
            "seconds_allowed": pending.seconds_allowed,
        }
        if waits and pending
        else None,
        previous=previous.number if previous and not was_left else None,
        left=state.left,
    )


def _release_named_in(folder: Path, slot: str) -> Release | None:
    try:
        return read_release(read_bytes(model_path(folder, slot).with_name(RELEASE)), slot)
    except EdgenetsError:
        return None


def _switched_back(folder: Path, state: State) -> State:
    disk.link(folder / CURRENT, f"slots/{other_slot(current_slot(folder))}")
    return _written(folder, replace(state, pending=None))


def _written(folder: Path, state: State) -> State:
    write_state(folder, state)
    return state
