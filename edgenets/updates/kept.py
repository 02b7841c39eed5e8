"""The inputs of probes that a board keeps beside its slots: the next update fetches answers alone.

DIR/probes/SHA256    the file of inputs that has this hash, which is looked at before each use
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from edgenets.errors import EdgenetsError
from edgenets.files import read_bytes, sha256_bytes
from edgenets.updates import disk, slots

KEPT = "probes"


def kept_inputs(folder: Path, sha256: str) -> bytes | None:
    """Return inputs that are there and whole; None of others."""
    try:
        content = read_bytes(folder / KEPT / sha256)
    except EdgenetsError:
        return None
    return content if sha256_bytes(content) == sha256 else None


def keep_inputs(folder: Path, content: bytes) -> None:
    """Keep inputs for later updates."""
    disk.make_folder(folder / KEPT)
    disk.replace(folder / KEPT / sha256_bytes(content), content)


def remove_unneeded(folder: Path, needed: Collection[str] = ()) -> None:
    """Remove inputs that no model in a slot was tried with.

    Args:
        folder: of the board.
        needed: the SHA-256 of others that stay.
    """
    if not (folder / KEPT).is_dir():
        return
    wanted = set(needed)
    for slot in slots.SLOTS:
        release = slots.release_in(folder, slot)
        if release and release.probes and "inputs" in release.probes:
            wanted.add(release.probes["inputs"]["sha256"])
    for path in sorted((folder / KEPT).iterdir()):
        if path.name not in wanted:
            disk.remove(path)
