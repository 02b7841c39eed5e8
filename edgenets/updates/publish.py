"""Put a file into a repository as a release; take one back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.export.metadata import read_entry
from edgenets.files import locked_folder, read_bytes, read_json, sha256_bytes
from edgenets.memory import read_bounded
from edgenets.quantize.package.epk import pack, unpack
from edgenets.results.updates import Release
from edgenets.updates.expected import make_probes
from edgenets.updates.release import (
    check_name,
    count_newer,
    parse_runtime,
    read_release,
    release_json,
    targets_of,
)
from edgenets.updates.repository import (
    Keys,
    Repository,
    add_target,
    describe_target,
    open_repository,
    require_keys,
    set_release,
    sign,
    target_path,
)

BASES = 3
"""Earlier releases that a new one has deltas for: boards that skipped more fetch the package."""
LISTED = 5
"""Newer releases for the same boards, after which one is listed no more: metadata stay small."""
EVALUATED = ("top1", "ci95", "samples")
"""What a release has of what `edgenets evaluate --json` printed."""


def publish(
    folder: Path,
    path: Path,
    model: str,
    keys: Keys,
    *,
    probes: str | None = None,
    device_class: str | None = None,
    runtimes: tuple[str, ...] = (),
    percent: int = 100,
    evaluation: Path | None = None,
) -> Release:
    """Release a `.tflite` as the newest of a model; of one that is it already, set the share.

    Args:
        folder: of the repository.
        path: of the file.
        model: its name.
        keys: of targets, snapshot and timestamp.
        probes: a dataset, from which inputs are taken that boards try the file with.
        device_class: of the devices that it is for; None: of any.
        runtimes: that may run it, such as "ai-edge-litert>=2.1"; none: all.
        percent: of the devices that get it.
        evaluation: a file with what `edgenets evaluate --json` printed.

    Raises:
        EdgenetsError: a name or a file is wrong, a key is missing, or it cannot be written.
    """
    check_name(model, "the name of a model")
    if device_class is not None:
        check_name(device_class, "a class of devices")
    ranges = tuple(map(parse_runtime, runtimes))
    content = read_bounded(path)
    preparation = read_entry(flatbuffer.read(content, str(path))).get("preparation")
    about = _about(path, content, evaluation)
    with locked_folder(folder, way_out="pass another repository"):
        repository = open_repository(folder)
        require_keys(repository, keys)
        earlier = [each for each in repository.releases() if each.model == model]
        for_class = [r for r in earlier if device_class is None or _is_for(r, device_class)]
        newest = for_class[-1] if for_class else None
        if newest and newest.sha256 == sha256_bytes(content) and not newest.yanked:
            if probes or runtimes or evaluation or device_class not in (None, newest.device_class):
                raise EdgenetsError(
                    f"{path} is release {newest.number} of {model} already, of which only the "
                    "share of devices can be set; pass nothing but --percent"
                )
            release = replace(newest, percent=percent)
        else:
            number = earlier[-1].number + 1 if earlier else 1
            bases = [r for r in earlier if not r.yanked and _is_for(r, device_class)]
            files = _add_files(
                repository, f"{model}/{number}", path, content, bases[-BASES:], probes
            )
            release = Release(
                model=model,
                number=number,
                device_class=device_class,
                runtimes=ranges,
                preparation=preparation,
                percent=percent,
                yanked=False,
                **about,
                **files,
            )
        read_release(release_json(release), str(path))  # as boards will
        set_release(repository, release)
        _retire(repository, model)
        sign(repository, keys)
    return release


def yank(folder: Path, model: str, number: int, keys: Keys) -> Release:
    """Take a release back: no board installs it, and those that have it go to the newest other.

    Raises:
        EdgenetsError: there is no such release, a key is missing, or it cannot be written.
    """
    with locked_folder(folder, way_out="pass another repository"):
        repository = open_repository(folder)
        for release in repository.releases():
            if (release.model, release.number) == (model, number):
                yanked = replace(release, yanked=True)
                set_release(repository, yanked)
                sign(repository, keys)
                return yanked
    raise EdgenetsError(
        f"{folder} lists no release {number} of {model!r}; edgenets release list {folder} shows "
        "all that boards can have"
    )


def _is_for(release: Release, device_class: str | None) -> bool:
    """Tell whether all devices of a class may have had a release."""
    return release.device_class in (None, device_class)


def _add_files(
    repository: Repository,
    where: str,
    path: Path,
    content: bytes,
    bases: list[Release],
    probes: str | None,
) -> dict[str, Any]:
    """Put package, deltas and probes into the repository; return the release's fields on them."""
    package = pack(content)
    return {
        "sha256": sha256_bytes(content),
        "size_bytes": len(content),
        "package": add_target(repository, f"{where}.epk", package),
        "deltas": _add_deltas(repository, where, content, bases, len(package)),
        "probes": None if probes is None else _add_probes(repository, where, path, probes),
    }


def _add_probes(repository: Repository, where: str, path: Path, data: str) -> dict[str, Any]:
    """Add the answers, and the inputs where no earlier release of the model has the same."""
    made = make_probes(path, data)
    inputs = f"{where.partition('/')[0]}/{made.name}.inputs.epk"
    if inputs not in repository.targets.signed.targets:
        add_target(repository, inputs, made.inputs)
    return {
        **made.promised,
        "inputs": describe_target(repository, inputs),
        "answers": add_target(repository, f"{where}.answers.epk", made.answers),
    }


def _add_deltas(
    repository: Repository, where: str, content: bytes, bases: list[Release], size_bytes: int
) -> tuple[dict[str, Any], ...]:
    """Add packages that need an earlier release, where they are smaller than the full one."""
    deltas: list[dict[str, Any]] = []
    for release in bases:
        base = unpack(read_bytes(target_path(repository, release.package["target"])))
        package = pack(content, base)
        if len(package) < size_bytes and release.sha256 not in {d["base_sha256"] for d in deltas}:
            added = add_target(repository, f"{where}-from-{release.number}.epk", package)
            deltas.append({"base_sha256": release.sha256, **added})
    return tuple(deltas)


def _retire(repository: Repository, model: str) -> None:
    """List no deltas of releases that have two newer ones for their boards, and no old releases."""
    releases = [each for each in repository.releases() if each.model == model]
    listed: set[str] = set()
    for release in releases:
        newer = count_newer(release, releases)
        if newer >= LISTED:
            continue
        if newer > 1 and release.deltas:  # the newest may be yanked
            release = replace(release, deltas=())
            set_release(repository, release)
        listed |= {target["target"] for target in targets_of(release)}
    targets = repository.targets.signed.targets
    for path in {path for path in targets if path.startswith(f"{model}/")} - listed:
        del targets[path]


def _about(path: Path, content: bytes, evaluation: Path | None) -> dict[str, Any]:
    """Return what files beside a `.tflite` say of it: its targets and accuracy."""
    about: dict[str, Any] = {"targets": (), **dict.fromkeys(EVALUATED)}
    beside = path.with_name(f"{path.name}.json")
    record = read_json(beside) if beside.is_file() else None
    if not isinstance(record, dict):  # nothing of edgenets
        record = {}
    if record.get("sha256") == sha256_bytes(content) and record.get("target"):
        about["targets"] = (record["target"],)
    if evaluation is not None:
        value = read_json(evaluation)
        try:
            about |= {key: value[key] for key in EVALUATED}
        except (KeyError, TypeError) as error:
            raise EdgenetsError(
                f"{evaluation} is not what edgenets evaluate --json printed: {error} is missing; "
                "write its output to a file"
            ) from error
    return about
