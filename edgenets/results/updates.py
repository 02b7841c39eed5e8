"""What releases and updates return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgenets.results.result import Result


@dataclass(frozen=True, repr=False)
class Release(Result):
    """A release of a model, as signed metadata hold it; docs/reference/releases.md has the fields.

    Attributes:
        number: of the release; of a model they only go up.
        sha256, size_bytes: of the `.tflite`.
        package: the target that holds it: `target`, `sha256`, `size_bytes`.
        deltas: packages that need another file, `base_sha256`; else as `package`.
        device_class: of the devices that it is for; None: of any.
        targets: that the file was exported for.
        runtimes: that may run it: `name`, `oldest` and `before`, None without such a bound; none:
            all may.
        probes: how many `images`, the targets of their `inputs` and of the expected `answers`, each
            as `package`, the `runtime` whose answers they are, and the `tolerance` of others.
        percent: of the devices that get it.
        yanked: whether no device is to have it.
    """

    model: str
    number: int
    sha256: str
    size_bytes: int
    package: dict[str, Any]
    deltas: tuple[dict[str, Any], ...]
    device_class: str | None
    targets: tuple[str, ...]
    runtimes: tuple[dict[str, Any], ...]
    preparation: dict[str, Any] | None
    top1: float | None
    ci95: tuple[float, float] | None
    samples: int | None
    probes: dict[str, Any] | None
    percent: int
    yanked: bool


@dataclass(frozen=True, repr=False)
class ReleaseListing(Result):
    """The releases of a repository, and when and by which keys its metadata are signed.

    Attributes:
        expires: by role, when its metadata end, such as "2026-12-24T00:00:00Z".
        keys: by role, the ids of its keys.
        threshold: how many of the root's keys must sign.
    """

    releases: tuple[Release, ...]
    expires: dict[str, str]
    keys: dict[str, list[str]]
    threshold: int


@dataclass(frozen=True, repr=False)
class UpdateStatus(Result):
    """The model of a board's folder.

    Attributes:
        path: of the model; None where none is installed yet.
        release: of it.
        pending: what must happen until it is confirmed, None where it is: `starts` of
            `starts_allowed`, `seconds` of `seconds_allowed`.
        previous: the number of the release that `rollback` leads to; None without one that was not
            left.
        left: releases that this board does not install again: `number`, `sha256`, `reason`.
    """

    path: str | None
    release: Release | None
    pending: dict[str, Any] | None
    previous: int | None
    left: tuple[dict[str, Any], ...]


@dataclass(frozen=True, repr=False)
class UpdateRecord(UpdateStatus):
    """What an update did.

    Attributes:
        action: "installed", "current" (there is nothing newer) or "waiting" (the last one is not
            confirmed yet).
        downloaded_bytes: of packages and probes.
        base_sha256: of the file that a delta was applied to; None of a full package.
        notes: sentences.
    """

    action: str
    downloaded_bytes: int
    base_sha256: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class BoardUpdate(Result):
    """What `edgenets update` did on one of several boards: `error`, or the others.

    Attributes:
        action: as of `UpdateRecord`; "" where nothing was to be updated.
        pending: whether the model is not confirmed yet.
    """

    device: str
    action: str | None
    model: str | None
    number: int | None
    pending: bool | None
    downloaded_bytes: int | None
    error: str | None
