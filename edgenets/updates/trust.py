"""What a board believes: metadata that python-tuf has checked by the rules of TUF.

    DIR/trusted/{first_root,root,timestamp,snapshot,targets}.json

python-tuf works on a copy of them in a temporary folder; what it accepted is then written here, so
that each file is whole after a power cut.

A board without a clock begins in 1970. So what is expired is asked of the newest time that is
known: its clock's, or when the newest root and timestamp that it accepted were signed.

Source: The Update Framework, specification 1.0.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from tuf.api import exceptions
from tuf.api.metadata import Metadata, Root, TargetFile
from tuf.ngclient import Updater

from edgenets.errors import EdgenetsError
from edgenets.files import read_bytes
from edgenets.updates import disk
from edgenets.updates.defaults import ROLES
from edgenets.updates.fetch import Fetcher, address_of
from edgenets.updates.repository import SIGNED_AT, now

FIRST_ROOT = "first_root"
"""The root that was passed, from which the trusted one follows."""


class Trusted(NamedTuple):
    """A state of a repository that was checked."""

    targets: dict[str, TargetFile]
    address: str  # of the repository


def refresh(folder: Path, source: str, root: bytes | None) -> Trusted:
    """Fetch the newest metadata of a repository, check them, and keep those that hold.

    Args:
        folder: where trusted ones are kept; it may be missing.
        source: of the repository: an address or a folder.
        root: the metadata that trust begins with; None: those that were passed before.

    Raises:
        EdgenetsError: no root was passed, the repository cannot be reached, or what it offers is
            not signed as it must be, expired, older than what was seen, or mixed up.
    """
    address = address_of(source)
    follows = _kept(folder, FIRST_ROOT) == root and _is_root(_kept(folder, "root"))
    begins_anew = root is not None and not follows
    bootstrap = root if begins_anew else _kept(folder, "root")
    if bootstrap is None:
        raise EdgenetsError(
            "trust begins with the repository's root, which was not passed yet; pass its "
            "metadata/1.root.json with --root"
        )
    with tempfile.TemporaryDirectory(prefix="edgenets-") as scratch:
        is_whole = False
        try:
            for role in () if begins_anew else ROLES[1:]:
                if (content := _kept(folder, role)) is not None:
                    Path(scratch, f"{role}.json").write_bytes(content)
            updater = _updater(scratch, address, bootstrap)
            with explained(source):
                updater.refresh()
            is_whole = True
        finally:
            if is_whole or not begins_anew:  # another root that leads nowhere replaces none
                _keep(folder, Path(scratch), root if begins_anew else None)
        signed = {role: _signed(Path(scratch, f"{role}.json").read_bytes()) for role in ROLES}
    time = max(now(), *(_signed_at(signed[role]) for role in ("root", "timestamp")))
    for role, metadata in signed.items():
        if metadata.is_expired(time):
            raise EdgenetsError(_expired(f"{role}.json is expired", source))
    return Trusted(signed["targets"].targets, address)


def _updater(scratch: str, address: str, root: bytes) -> Updater:
    try:
        return Updater(scratch, f"{address}/metadata/", fetcher=Fetcher(), bootstrap=root)
    except exceptions.RepositoryError as error:
        raise EdgenetsError(
            f"the root that was passed cannot be used ({error}); pass the repository's "
            "metadata/1.root.json with --root"
        ) from error


def _kept(folder: Path, name: str) -> bytes | None:
    path = folder / f"{name}.json"
    return read_bytes(path) if path.is_file() else None


def _is_root(content: bytes | None) -> bool:
    """Return whether the root that was kept can be read: a disk may have damaged it."""
    try:
        return content is not None and isinstance(_signed(content), Root)
    except exceptions.RepositoryError:
        return False


def _keep(folder: Path, scratch: Path, first_root: bytes | None) -> None:
    """Keep what python-tuf accepted; with a first root all that was trusted before is forgotten."""
    if not (scratch / "root.json").exists():  # the root itself was refused
        return
    with disk.explained(folder):
        disk.make_folder(folder)
        if first_root is not None:
            for role in ROLES:
                disk.remove(folder / f"{role}.json")
        for role in ROLES:
            accepted = scratch / f"{role}.json"
            if accepted.exists() and accepted.read_bytes() != _kept(folder, role):
                disk.replace(folder / f"{role}.json", accepted.read_bytes())
        if first_root is not None:
            disk.replace(folder / f"{FIRST_ROOT}.json", first_root)


def _signed(content: bytes) -> Any:
    return Metadata[Any].from_bytes(content).signed


def _signed_at(signed: Any) -> datetime:
    """Return when metadata were signed; the first time of all where they do not say."""
    try:
        text = signed.unrecognized_fields.get(SIGNED_AT, "")
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    except (TypeError, ValueError):
        return datetime.fromtimestamp(0, timezone.utc)


@contextmanager
def explained(source: str) -> Iterator[None]:
    """Say what python-tuf refuses in one sentence each."""
    nothing = "nothing was changed"
    try:
        yield
    except exceptions.ExpiredMetadataError as error:
        raise EdgenetsError(
            _expired(str(error).removeprefix("Final ").removeprefix("New "), source)
        ) from error
    except exceptions.BadVersionNumberError as error:
        raise EdgenetsError(
            f"{source} offers an older state than this board has seen, or a mixture of two "
            f"({error}); {nothing}, ask who publishes it"
        ) from error
    except exceptions.UnsignedMetadataError as error:
        raise EdgenetsError(
            f"{source} is not signed as the root asks ({error}): it is another repository, its "
            f"keys were replaced in a way that does not follow from the root, or someone changed "
            f"it; {nothing}"
        ) from error
    except exceptions.LengthOrHashMismatchError as error:
        raise EdgenetsError(
            f"{source} offers files that do not belong together ({error}): they are of two states, "
            f"or someone changed them; {nothing}, try again later"
        ) from error
    except exceptions.RepositoryError as error:
        raise EdgenetsError(
            f"{source} offers metadata that cannot be used ({error}); {nothing}"
        ) from error
    except exceptions.DownloadLengthMismatchError as error:
        raise EdgenetsError(
            f"{source} sends more than such a file may have ({error}), and was stopped; {nothing}"
        ) from error
    except exceptions.DownloadError as error:
        raise EdgenetsError(
            f"{source} cannot be fetched from ({error}); {nothing}, repeat the command, which goes "
            "on"
        ) from error


def _expired(what: str, source: str) -> str:
    return (
        f"{source}: {what}: it may be held back by someone, or was not signed for long; nothing "
        "was changed, let its publisher run edgenets release renew, and check this board's clock"
    )
