"""The Ed25519 keys that sign releases: files in a folder, or the environment.

A key is a PEM file (PKCS 8). Which key may sign what, the root metadata say by the key's id, so the
name of a file is for people only.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner

from edgenets.errors import EdgenetsError
from edgenets.files import make_folder, read_bytes, remedy

VARIABLE = "EDGENETS_KEYS"
"""An environment variable that holds keys: PEM texts, one behind the other."""
PEM = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.S)


def load_keys(folder: Path | None) -> dict[str, CryptoSigner]:
    """Return the keys of a folder and of the environment, by their ids.

    Raises:
        EdgenetsError: the folder cannot be read, or a text is no Ed25519 key.
    """
    texts = {VARIABLE: os.environb.get(VARIABLE.encode(), b"")}
    if folder is not None:
        if not folder.is_dir():
            raise EdgenetsError(f"{folder} is not a folder of keys; pass one with --keys")
        texts |= {str(path): read_bytes(path) for path in sorted(folder.glob("*.pem"))}
    signers = [_signer(text, place) for place in texts for text in PEM.findall(texts[place])]
    return {signer.public_key.keyid: signer for signer in signers}


def make_key(folder: Path, role: str) -> CryptoSigner:
    """Make a new key for a role and write it into the folder, readable by its owner alone.

    Raises:
        EdgenetsError: it cannot be written.
    """
    signer = CryptoSigner.generate_ed25519()
    path = folder / f"{role}-{signer.public_key.keyid[:8]}.pem"
    try:
        make_folder(folder)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(signer.private_bytes)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise EdgenetsError(
            f"cannot write the key {path}: {error.strerror or error}; "
            f"{remedy(error, 'pass another folder with --keys')}"
        ) from error
    return signer


def _signer(text: bytes, place: str) -> CryptoSigner:
    try:
        key = load_pem_private_key(text, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise EdgenetsError(
            f"{place} holds a key that cannot be read ({error}); it must be Ed25519 as PEM, "
            "without a passphrase"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise EdgenetsError(f"{place} holds a key of another kind; releases are signed by Ed25519")
    return CryptoSigner(key)
