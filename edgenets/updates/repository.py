"""The publisher's side: a folder of releases whose metadata are signed by the rules of TUF.

    DIR/metadata/{N.root,N.targets,N.snapshot,timestamp}.json
    DIR/targets/MODEL/SHA256.{NUMBER,NUMBER-from-BASE,NUMBER.answers,IMAGES.inputs}.epk

Any static web server can serve it, and a USB stick can carry it. timestamp.json is written last:
until then clients see the state before. A change that was cut off is repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Root,
    Signed,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from edgenets.errors import EdgenetsError
from edgenets.files import read_bytes, write_bytes
from edgenets.results.updates import Release
from edgenets.updates.defaults import ROLES, TIMESTAMP_DAYS
from edgenets.updates.keys import make_key
from edgenets.updates.release import read_release, release_json

DAYS = {"root": 1825, "targets": 365, "snapshot": 365, "timestamp": TIMESTAMP_DAYS}
"""After which the metadata of a role end, if they are not signed anew."""
SIGNED_AT = "signed_at"
"""A field of all metadata: when they were signed, which a board without a clock takes for now."""
BEGUN = {"1.root.json", "1.targets.json", "1.snapshot.json"}
"""Of metadata: a repository that has no others was cut off as it was made, and is made anew."""
RELEASE = "release"
"""The key of a release in a target's custom value."""

Keys = Mapping[str, CryptoSigner]


@dataclass
class Repository:
    """A repository that is open: its folder, and the metadata of its roles."""

    folder: Path
    root: Metadata[Root]
    targets: Metadata[Targets]
    snapshot: Metadata[Snapshot]
    timestamp: Metadata[Timestamp]

    def releases(self) -> list[Release]:
        """Return all releases, by model and number."""
        return releases_of(self.targets.signed.targets)

    def keys_of(self, role: str) -> list[str]:
        """Return the ids of the keys of a role."""
        return list(self.root.signed.roles[role].keyids)


def releases_of(targets: Mapping[str, TargetFile]) -> list[Release]:
    """Return the releases among targets, by model and number.

    Raises:
        EdgenetsError: one is not as edgenets writes it.
    """
    found = [
        read_release(target.custom[RELEASE], path)
        for path, target in targets.items()
        if isinstance(target.custom, dict) and RELEASE in target.custom
    ]
    return sorted(found, key=lambda release: (release.model, release.number))


def create_repository(folder: Path, keys: Path, root_keys: int = 1, threshold: int = 1) -> Path:
    """Make a repository without releases and its keys; return the root that boards are given.

    Raises:
        EdgenetsError: there is one, or the folder or the keys cannot be written.
    """
    if {path.name for path in (folder / "metadata").glob("*.json")} - BEGUN:
        raise EdgenetsError(f"{folder} is a repository already; publish into it")
    root = Root(consistent_snapshot=True)
    signers: dict[str, CryptoSigner] = {}
    for role in ROLES:
        for _ in range(root_keys if role == "root" else 1):
            signer = make_key(keys, role)
            root.add_key(signer.public_key, role)
            signers[signer.public_key.keyid] = signer
    root.roles["root"].threshold = threshold
    repository = Repository(
        folder,
        Metadata(root),
        Metadata(Targets()),
        Metadata(Snapshot()),
        Metadata(Timestamp()),
    )
    root_path = _sign_root(repository, signers)
    sign(repository, signers)
    return root_path


def open_repository(folder: Path) -> Repository:
    """Return the repository in a folder.

    Raises:
        EdgenetsError: there is none, or its metadata cannot be read.
    """
    metadata = folder / "metadata"
    if not (metadata / "timestamp.json").is_file():
        raise EdgenetsError(
            f"{folder} is no repository of releases; make one: edgenets release init {folder} "
            "--keys KEYS"
        )
    try:
        timestamp = _read(metadata / "timestamp.json", Timestamp)
        version = timestamp.signed.snapshot_meta.version
        snapshot = _read(metadata / f"{version}.snapshot.json", Snapshot)
        version = snapshot.signed.meta["targets.json"].version
        targets = _read(metadata / f"{version}.targets.json", Targets)
        newest = max(int(path.name.split(".")[0]) for path in metadata.glob("*.root.json"))
        root = _read(metadata / f"{newest}.root.json", Root)
    except (RepositoryError, ValueError, KeyError) as error:
        raise EdgenetsError(
            f"{folder} has damaged metadata ({error}); restore them from a copy"
        ) from error
    return Repository(folder, root, targets, snapshot, timestamp)


def add_target(repository: Repository, path: str, content: bytes) -> dict[str, Any]:
    """Write a file under its hash and list it, unsigned yet; return what a release says of it."""
    target = TargetFile.from_data(path, content, ["sha256"])
    repository.targets.signed.targets[path] = target
    write_bytes(target_path(repository, path), content)
    return describe_target(repository, path)


def describe_target(repository: Repository, path: str) -> dict[str, Any]:
    """Return what a release says of a target that is listed."""
    target = repository.targets.signed.targets[path]
    return {"target": path, "sha256": target.hashes["sha256"], "size_bytes": target.length}


def target_path(repository: Repository, path: str) -> Path:
    """Return where the file of a target is."""
    (hashed,) = repository.targets.signed.targets[path].get_prefixed_paths()
    return repository.folder / "targets" / hashed


def set_release(repository: Repository, release: Release) -> None:
    """List a release with its package, unsigned yet."""
    target = repository.targets.signed.targets[release.package["target"]]
    target.unrecognized_fields["custom"] = {RELEASE: release_json(release)}


def sign(repository: Repository, keys: Keys, days: int = TIMESTAMP_DAYS) -> None:
    """Sign targets, snapshot and timestamp anew, and write them in this order.

    Args:
        repository: with its changes.
        keys: of the three roles.
        days: after which the timestamp ends: until then boards take the state for the newest.

    Raises:
        EdgenetsError: a key is missing, or a file cannot be written.
    """
    require_keys(repository, keys)
    targets = _write(repository, "targets", repository.targets, keys)
    snapshot = repository.snapshot
    snapshot.signed.meta["targets.json"] = _described(repository.targets, targets)
    content = _write(repository, "snapshot", snapshot, keys)
    repository.timestamp.signed.snapshot_meta = _described(snapshot, content)
    _write(repository, "timestamp", repository.timestamp, keys, days)


def require_keys(repository: Repository, keys: Keys) -> None:
    """Check that the keys of targets, snapshot and timestamp are at hand, before the work.

    Raises:
        EdgenetsError: one is missing.
    """
    for role in ROLES[1:]:
        _signers(repository.root.signed, role, keys)


def rotate_key(
    repository: Repository, role: str, keys: Keys, folder: Path, revoke: str | None = None
) -> tuple[str, str]:
    """Put a new key in the place of one of a role; return the ids of the old and the new one.

    The new root is signed by as many keys of the old root as it asks for, and by its own.

    Args:
        repository: as it is.
        role: of `ROLES`.
        keys: of the root and of the other roles; the replaced key is not needed, unless it is the
            root's.
        folder: for the new key.
        revoke: how the id of the replaced key begins; None: it is the only one.

    Raises:
        EdgenetsError: there is no such key, or too few of the root's are at hand.
    """
    of_role = repository.keys_of(role)
    revoked = [keyid for keyid in of_role if keyid.startswith(revoke or "")]
    if len(revoked) != 1:
        raise EdgenetsError(
            f"{role} has the keys {', '.join(keyid[:8] for keyid in of_role)}; pass how the id of "
            "the one to replace begins with --revoke"
        )
    _signers(repository.root.signed, "root", keys)
    new = make_key(folder, role)
    signers = {**keys, new.public_key.keyid: new}
    before = {keyid: keys[keyid] for keyid in repository.keys_of("root") if keyid in keys}
    repository.root.signed.revoke_key(revoked[0], role)
    repository.root.signed.add_key(new.public_key, role)
    require_keys(repository, signers)
    _sign_root(repository, signers, before)
    sign(repository, signers)
    return revoked[0], new.public_key.keyid


def now() -> datetime:
    """Return the time, in whole seconds."""
    return datetime.now(timezone.utc).replace(microsecond=0)


def time_text(time: datetime) -> str:
    """Return a time as metadata have it, such as "2026-11-28T00:00:00Z"."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def _sign_root(repository: Repository, keys: Keys, before: Keys | None = None) -> Path:
    root = repository.root
    if before is not None:
        root.signed.version += 1
    signers = {**(before or {}), **_signers(root.signed, "root", keys)}
    content = _signed(root, signers, DAYS["root"])
    path = repository.folder / "metadata" / f"{root.signed.version}.root.json"
    write_bytes(path, content)
    return path


def _write(
    repository: Repository, role: str, metadata: Metadata[Any], keys: Keys, days: int | None = None
) -> bytes:
    metadata.signed.version += bool(metadata.signatures)  # a new one begins at 1
    signers = _signers(repository.root.signed, role, keys)
    content = _signed(metadata, signers, days or DAYS[role])
    name = f"{role}.json" if role == "timestamp" else f"{metadata.signed.version}.{role}.json"
    write_bytes(repository.folder / "metadata" / name, content)
    return content


def _signed(metadata: Metadata[Any], signers: Keys, days: int) -> bytes:
    signed: Signed = metadata.signed
    signed.unrecognized_fields[SIGNED_AT] = time_text(now())
    signed.expires = now() + timedelta(days=days)
    metadata.signatures.clear()
    for signer in signers.values():
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


def _signers(root: Root, role: str, keys: Keys) -> Keys:
    """Return the keys of a role that are at hand: as many as it needs, or more."""
    wanted, threshold = root.roles[role].keyids, root.roles[role].threshold
    found = {keyid: keys[keyid] for keyid in wanted if keyid in keys}
    if len(found) < threshold:
        raise EdgenetsError(
            f"{role} needs {threshold} of its keys "
            f"({', '.join(f'{role}-{keyid[:8]}.pem' for keyid in wanted)}), and {len(found)} "
            f"{'is' if len(found) == 1 else 'are'} here; add them to --keys or EDGENETS_KEYS"
        )
    return found


def _described(metadata: Metadata[Any], content: bytes) -> MetaFile:
    return MetaFile.from_data(metadata.signed.version, content, ["sha256"])


def _read(path: Path, kind: type[Any]) -> Metadata[Any]:
    metadata = Metadata[Any].from_bytes(read_bytes(path))
    if not isinstance(metadata.signed, kind):
        raise ValueError(f"{path.name} is of another role")
    return metadata
