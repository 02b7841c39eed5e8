"""A release of a model: what its signed metadata say, and whether it is for this board."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from edgenets.errors import EdgenetsError, unknown_name
from edgenets.files import sha256_bytes
from edgenets.packages import is_older
from edgenets.results.updates import Release

FORMAT = 2
"""Of the JSON value in the metadata; an older edgenets refuses a newer one. In the first, the
inputs of probes were in one file with the answers."""
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
SHA256 = re.compile(r"[0-9a-f]{64}")
VERSION = re.compile(r"\d+(\.\w+)*")
MACHINE_ID = Path("/etc/machine-id")

Check = Callable[[Any], bool]


class Board(NamedTuple):
    """What decides which releases are for a board."""

    device_class: str | None
    device_id: str | None
    runtime: tuple[str, str]  # name and version of its interpreter


class Choice(NamedTuple):
    """The release to install; None: there is none, or none that is newer. Notes are sentences."""

    release: Release | None
    notes: tuple[str, ...] = ()


def check_name(name: str, kind: str) -> None:
    """Check the name of a model or a class of devices, which is part of addresses.

    Raises:
        EdgenetsError: it is none.
    """
    if not NAME.fullmatch(name):
        raise EdgenetsError(
            f"{kind} must be 1 to 64 of a-z, 0-9, '.', '_' and '-', such as photos-v2, got {name!r}"
        )


def parse_runtime(text: str) -> dict[str, Any]:
    """Return the range of versions of a runtime that may run a release.

    >>> parse_runtime("ai-edge-litert>=2.1,<3")
    {'name': 'ai-edge-litert', 'oldest': '2.1', 'before': '3'}

    Raises:
        EdgenetsError: it is none.
    """
    match = re.fullmatch(r"([a-z0-9-]+)(?:>=(\d[\w.]*))?(?:,?<(\d[\w.]*))?", text)
    if not match:
        raise EdgenetsError(
            f"a runtime must be a package and its versions, such as 'ai-edge-litert>=2.1,<3', got "
            f"{text!r}"
        )
    return {"name": match[1], "oldest": match[2], "before": match[3]}


def release_json(release: Release) -> str:
    """Return the JSON text that is signed: TUF's own JSON has no fractions.

    A release that has nothing new says the first format, which older boards read.
    """
    written = FORMAT if release.probes and "inputs" in release.probes else 1
    return json.dumps({"format": written, **release.to_json()}, allow_nan=False)


def read_release(text: Any, where: str) -> Release:
    """Return a release from its JSON text, every field of which is looked at.

    Raises:
        EdgenetsError: it is none, or a newer edgenets wrote it.
    """
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or type(value.get("format")) is not int:
        raise EdgenetsError(f"{where} is no release of edgenets; publish it again")
    if value["format"] > FORMAT:
        raise EdgenetsError(
            f"{where} has format {value['format']}, this edgenets reads {FORMAT}; install a newer "
            "edgenets"
        )
    names = {each.name for each in fields(Release)}
    content = {key: field for key, field in value.items() if key in names}
    for key in names:
        if key not in content or not FIELDS[key](content[key]):
            raise EdgenetsError(
                f"{where} has no right {key!r} in its release; publish it again with this edgenets"
            )
    return Release.from_json(content)


def choose(
    releases: Iterable[Release],
    model: str,
    board: Board,
    installed: Release | None,
    left: Collection[int] = (),
) -> Choice:
    """Return the newest release that a board is to have and does not have.

    An older one is taken only where the installed one was yanked: that the signed metadata say.

    Args:
        releases: all of the repository.
        model: whose.
        board: for which.
        installed: what it has.
        left: the numbers of releases that it does not install again.

    Raises:
        EdgenetsError: there is no such model, none of its releases is for this class of devices, or
            the newest is older than the installed one, of which the repository knows nothing.
    """
    known = list(releases)
    if not known:
        raise EdgenetsError("the repository holds no release yet; its publisher is to publish one")
    of_model = [release for release in known if release.model == model]
    if not of_model:
        raise unknown_name("model", model, {release.model for release in known})
    if installed and installed.model != model:
        raise EdgenetsError(
            f"the folder holds releases of {installed.model}, not of {model}; pass another one "
            "with --into"
        )
    fitting = [r for r in of_model if r.device_class in (None, board.device_class)]
    if not fitting:
        classes = ", ".join(sorted({str(release.device_class) for release in of_model}))
        raise EdgenetsError(
            f"{model} is released for devices of class {classes} alone, and this one is "
            + (f"of class {board.device_class}" if board.device_class else "of none")
            + "; nothing was changed, pass its class with --device-class"
        )
    newest = max(release.number for release in fitting)
    if installed and installed.number > newest:
        raise EdgenetsError(
            f"the repository's newest release of {model} is {newest}, and {installed.number} is "
            "installed: an older one is installed only after the newer one was yanked, which it "
            "was not; nothing was changed, ask who publishes it, and if the repository was made "
            "anew, update into another folder with --into"
        )
    ours = next((r for r in fitting if installed and r.number == installed.number), None)
    goes_back = bool(ours and ours.yanked)
    notes = []
    for release in sorted(fitting, key=lambda release: release.number, reverse=True):
        if installed and not goes_back and release.number <= installed.number:
            break
        if reason := _not_here(release, board, left):
            notes.append(f"release {release.number} {reason}")
            continue
        return Choice(release, tuple(notes))
    return Choice(None, tuple(notes))


def targets_of(release: Release) -> list[dict[str, Any]]:
    """Return all that may be fetched for a release, as it says."""
    return [release.package, *release.deltas, *probe_targets(release)]


def probe_targets(release: Release) -> list[dict[str, Any]]:
    """Return the inputs and the answers, or what has both in the first format of releases."""
    if not release.probes:
        return []
    if "inputs" in release.probes:
        return [release.probes["inputs"], release.probes["answers"]]
    return [release.probes]


def count_newer(release: Release, releases: Iterable[Release]) -> int:
    """Return how many newer releases of a model all boards get that may get this one."""
    return sum(
        newer.number > release.number
        and not newer.yanked
        and newer.percent == 100
        and newer.device_class in (None, release.device_class)
        and newer.runtimes in ((), release.runtimes)
        for newer in releases
    )


def reaches(release: Release, device_id: str) -> bool:
    """Return whether a staged release is for the device: its share, by a hash of its id."""
    digest = sha256_bytes(f"{release.model}/{release.number}/{device_id}".encode())
    return int(digest[:8], 16) % 100 < release.percent


def machine_id() -> str | None:
    """Return the id of this machine; None where it has none."""
    try:
        return MACHINE_ID.read_text().strip() or None
    except OSError:
        return None


def _not_here(release: Release, board: Board, left: Collection[int]) -> str:
    """Return why a board does not get a release; "" if it does."""
    if release.yanked:
        return "was yanked"
    if release.number in left:
        return "was left before; --retry tries it again"
    if release.percent < 100 and not (board.device_id and reaches(release, board.device_id)):
        return f"is for {release.percent} % of the devices yet, and not for this one"
    if release.runtimes and not any(_runs(row, board.runtime) for row in release.runtimes):
        return f"is not for {' '.join(board.runtime)}; install another runtime"
    return ""


def _runs(row: Mapping[str, Any], runtime: tuple[str, str]) -> bool:
    name, version = runtime
    return bool(
        name == row["name"]
        and not (row["oldest"] and is_older(version, row["oldest"]))
        and (row["before"] is None or is_older(version, row["before"]))
    )


def _text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 200


def _whole(least: int, most: int = 2**40) -> Check:
    return lambda value: type(value) is int and least <= value <= most


def _matches(pattern: re.Pattern[str]) -> Check:
    return lambda value: isinstance(value, str) and bool(pattern.fullmatch(value))


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _list(check: Check) -> Check:
    return lambda value: isinstance(value, list) and len(value) <= 1000 and all(map(check, value))


def _record(**checks: Check) -> Check:
    return lambda value: (
        isinstance(value, dict)
        and all(key in value and check(value[key]) for key, check in checks.items())
    )


def _fraction(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


def _tolerance(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < float("inf")


_SIZED: dict[str, Check] = {
    "target": _text,
    "sha256": _matches(SHA256),
    "size_bytes": _whole(1),
}
_RUNTIME = _record(
    name=_text, oldest=_or_none(_matches(VERSION)), before=_or_none(_matches(VERSION))
)
_PROMISED: dict[str, Check] = {
    "images": _whole(1),
    "runtime": _record(name=_text, version=_text),
    "tolerance": _tolerance,
}
_PROBES = _record(**_PROMISED, inputs=_record(**_SIZED), answers=_record(**_SIZED))
_FIRST_PROBES = _record(**_PROMISED, **_SIZED)
FIELDS: dict[str, Check] = {
    "model": _matches(NAME),
    "number": _whole(1),
    "sha256": _matches(SHA256),
    "size_bytes": _whole(1),
    "package": _record(**_SIZED),
    "deltas": _list(_record(base_sha256=_matches(SHA256), **_SIZED)),
    "device_class": _or_none(_matches(NAME)),
    "targets": _list(_text),
    "runtimes": _list(_RUNTIME),
    "preparation": _or_none(lambda value: isinstance(value, dict)),
    "top1": _or_none(_fraction),
    "ci95": _or_none(lambda value: _list(_fraction)(value) and len(value) == 2),
    "samples": _or_none(_whole(1)),
    "probes": _or_none(lambda value: _PROBES(value) or _FIRST_PROBES(value)),
    "percent": _whole(0, 100),
    "yanked": lambda value: type(value) is bool,
}
"""Of each field of a release, whether a value can be one."""
