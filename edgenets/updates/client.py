"""The board's side of an update: check, fetch, unpack into the other slot, try, switch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tuf.api.exceptions import LengthOrHashMismatchError
from tuf.api.metadata import TargetFile

from edgenets.errors import EdgenetsError
from edgenets.export.board.interpreter import RUNTIMES
from edgenets.files import read_bytes, sha256_bytes
from edgenets.memory import require
from edgenets.packages import installed_version
from edgenets.quantize.package import epk
from edgenets.results.updates import Release, UpdateRecord
from edgenets.updates import disk, slots
from edgenets.updates.defaults import MINUTES, STARTS
from edgenets.updates.fetch import fetch_target
from edgenets.updates.kept import keep_inputs, kept_inputs, remove_unneeded
from edgenets.updates.probes import check_probes
from edgenets.updates.release import Board, choose, machine_id, probe_targets, targets_of
from edgenets.updates.repository import releases_of
from edgenets.updates.trust import Trusted, explained, refresh

TRIES = 2
"""Of a target that comes damaged: what was there of it may have been."""


class Got(NamedTuple):
    """A model that is to be installed: what came over the network, and to what a delta was."""

    content: bytes
    downloaded_bytes: int
    base_sha256: str | None
    notes: tuple[str, ...] = ()


def update(
    folder: Path,
    source: str,
    model: str,
    root: bytes | None,
    *,
    device_class: str | None = None,
    device_id: str | None = None,
    starts: int = STARTS,
    minutes: float = MINUTES,
    retry: bool = False,
) -> UpdateRecord:
    """Install the newest release of a model that is for this board, if it is not there.

    Args:
        folder: of the board; it may be missing.
        source: the repository's address or folder.
        model: its name.
        root: the metadata that trust begins with; None: those of the first update.
        device_class: of the board.
        device_id: decides on staged releases; None: this machine's.
        starts, minutes: in which the new model is to be confirmed.
        retry: also a release that was left before.

    Raises:
        EdgenetsError: another update runs, the repository is refused (`trust.refresh`), no release
            is for this board, a file is not what the release says, or its answers are not. The
            model that answers is the same as before.
    """
    with slots.locked_download(folder) as download:
        with slots.locked(folder):
            state = slots.settle(folder)
        trusted = refresh(folder / "trusted", source, root)
        releases = releases_of(trusted.targets)
        installed = slots.release_in(folder, slots.current_slot(folder))
        withdrawn = _why_withdrawn(installed, releases)
        if state.pending and not withdrawn:
            return _record(folder, "waiting")
        if state.pending:
            with slots.locked(folder):
                state = slots.settle(folder)
                if state.pending:  # a program may have confirmed or left it meanwhile
                    state = slots.leave(folder, state, withdrawn)
            installed = slots.release_in(folder, slots.current_slot(folder))
        board = Board(device_class, device_id or machine_id(), _runtime())
        left = () if retry else [row["number"] for row in state.left]
        choice = choose(releases, model, board, installed, left)
        if choice.release is None:
            return _record(folder, "current", notes=choice.notes)
        wanted = [target["sha256"] for target in targets_of(choice.release)]
        _remove_parts(download, wanted)
        remove_unneeded(folder, wanted)
        allowed = (starts, 60 * minutes)
        got = _install(folder, download, choice.release, installed, trusted, allowed)
        _remove_parts(download)
        remove_unneeded(folder)
        return _record(
            folder,
            "installed",
            downloaded_bytes=got.downloaded_bytes,
            base_sha256=got.base_sha256,
            notes=(*choice.notes, *got.notes),
        )


def _why_withdrawn(installed: Release | None, releases: Collection[Release]) -> str:
    """Return why a release is not to be tried any longer; "" if it is."""
    if installed is None:
        return "it is damaged"
    of_model = [each for each in releases if each.model == installed.model]
    numbers = {each.number for each in of_model}
    if max(numbers, default=0) < installed.number:
        return ""
    if installed.number not in numbers:
        return "newer ones have replaced it"
    return next(
        ("it was yanked" for r in of_model if r.number == installed.number and r.yanked), ""
    )


def _runtime() -> tuple[str, str]:
    """Return the interpreter that will be taken, which is not loaded in this process."""
    versions = ((name, installed_version(name)) for name in RUNTIMES)
    found = next(((name, version) for name, version in versions if version), None)
    if found is None:
        raise EdgenetsError(
            "no interpreter for .tflite files is installed; run: pip install ai-edge-litert, or on "
            "armv7: pip install 'edgenets[tflite-runtime]'"
        )
    return found


def _install(
    folder: Path,
    download: Path,
    release: Release,
    installed: Release | None,
    trusted: Trusted,
    allowed: tuple[int, float],
) -> Got:
    """Fetch a release into the other slot, try it there, and let it answer."""
    got = _fetch_model(folder, release, installed, trusted, download)
    probes, probe_bytes = _fetch_probes(folder, release, trusted, download)
    slot = slots.other_slot(slots.current_slot(folder))
    path = slots.fill(folder, slot, got.content)
    got = got._replace(content=b"")  # the process that tries it may need the memory
    try:
        check_probes(path, probes, release.probes)
    except EdgenetsError as error:
        with slots.locked(folder):
            state = slots.note_left(slots.read_state(folder), release, f"it was tried: {error}")
            slots.write_state(folder, state)
        raise EdgenetsError(
            f"release {release.number} of {release.model} was tried, and is not installed: "
            f"{error}; the model that answered still does"
        ) from error
    slots.finish(folder, slot, release)
    goes_back = installed is not None and release.number < installed.number
    with slots.locked(folder):  # nobody is to go back to a release that was yanked
        slots.switch(folder, slot, None if goes_back else allowed)
    return got._replace(downloaded_bytes=got.downloaded_bytes + probe_bytes)


def _fetch_model(
    folder: Path, release: Release, installed: Release | None, trusted: Trusted, download: Path
) -> Got:
    """Fetch what the release has for the present model, if it can be used, else the package.

    Nothing is fetched where the other slot has the model, as after a release was yanked.
    """
    current = slots.current_slot(folder)
    other = slots.other_slot(current)
    there = slots.release_in(folder, other)
    if there and there.sha256 == release.sha256:
        return Got(read_bytes(slots.model_path(folder, other)), 0, None)
    fetched, notes = 0, []
    for delta in release.deltas:
        if current is None or installed is None or delta["base_sha256"] != installed.sha256:
            continue  # a damaged file is no installed one, and no base
        try:
            package, fetched = _fetch(delta, trusted, download)
            base = read_bytes(slots.model_path(folder, current))
            return Got(_unpack(release, package, base), fetched, installed.sha256)
        except EdgenetsError as error:
            notes.append(f"the package was fetched, because the delta is refused: {error}")
    package, more = _fetch(release.package, trusted, download)
    return Got(_unpack(release, package), fetched + more, None, tuple(notes))


def _fetch_probes(
    folder: Path, release: Release, trusted: Trusted, download: Path
) -> tuple[list[bytes], int]:
    """Return the files of a release's probes, and how many bytes were fetched."""
    contents, fetched = [], 0
    for row in probe_targets(release):
        content, more = kept_inputs(folder, row["sha256"]), 0
        if content is None:
            content, more = _fetch(row, trusted, download)
            if release.probes and row is release.probes.get("inputs"):
                keep_inputs(folder, content)
        contents.append(content)
        fetched += more
    return contents, fetched


def _unpack(release: Release, package: bytes, base: bytes | None = None) -> bytes:
    require(release.size_bytes, f"release {release.number} is too large for this board")
    try:
        content = epk.unpack(package, base)
    except EdgenetsError as error:
        raise EdgenetsError(
            f"the package of release {release.number} is signed and cannot be unpacked ({error}); "
            "nothing was changed, publish it again"
        ) from error
    if sha256_bytes(content) != release.sha256 or len(content) != release.size_bytes:
        raise EdgenetsError(
            f"the package of release {release.number} holds another file than the release says "
            f"(SHA-256 {sha256_bytes(content)[:8]}, not {release.sha256[:8]}); nothing was "
            "changed, publish it again"
        )
    return content


def _remove_parts(download: Path, keep: Collection[str] = ()) -> None:
    """Remove what was fetched in part, such as of a release that nobody wants any more."""
    for part in download.iterdir():
        if part.stem not in keep:
            disk.remove(part)


def _fetch(row: Mapping[str, Any], trusted: Trusted, download: Path) -> tuple[bytes, int]:
    """Return a target that a release names, and how many bytes were fetched."""
    target = _target(row, trusted)
    require(target.length, f"{row['target']} is too large")
    part = download / f"{row['sha256']}.part"
    fetched = 0
    with explained(trusted.address):
        for tried in range(TRIES):
            (hashed,) = target.get_prefixed_paths()
            url = f"{trusted.address}/targets/{hashed}"
            fetched += fetch_target(url, part, target.length)
            content = read_bytes(part)
            try:
                target.verify_length_and_hashes(content)
            except LengthOrHashMismatchError:
                disk.remove(part)
                if tried + 1 == TRIES:
                    raise
            else:
                break
    return content, fetched


def _target(row: Mapping[str, Any], trusted: Trusted) -> TargetFile:
    """Return a target, which must be listed as the release says."""
    target = trusted.targets.get(row["target"])
    listed = target and (target.hashes.get("sha256"), target.length)
    if target is None or listed != (row["sha256"], row["size_bytes"]):
        raise EdgenetsError(
            f"the release names {row['target']}, which the repository does not list as it says; "
            "publish it again"
        )
    return target


def _record(folder: Path, action: str, **more: Any) -> UpdateRecord:
    found = {"downloaded_bytes": 0, "base_sha256": None, "notes": (), **more}
    return UpdateRecord(**vars(slots.status(folder)), action=action, **found)
