"""Where downloads and the emulated board are kept, one folder for all projects of a user."""

from __future__ import annotations

import os
from pathlib import Path

from edgenets.errors import EdgenetsError

ANOTHER = "set EDGENETS_CACHE to another folder"
"""What to do where the cache cannot be used."""


def cache_folder() -> Path:
    """Return where fetched files are kept: EDGENETS_CACHE, or edgenets in the user's cache.

    Raises:
        EdgenetsError: neither is set, and the user has no home.
    """
    if own := os.environ.get("EDGENETS_CACHE"):
        return Path(own)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgenets"
    except RuntimeError as error:  # a user of a container who is in no list of users
        raise EdgenetsError(
            "this user has no home, in which fetched files are kept; set EDGENETS_CACHE to a folder"
        ) from error


def board_folder() -> Path:
    """Return where the board is set up: `emulator` in the cache."""
    return cache_folder().absolute() / "emulator"


def verify_folder() -> Path:
    """Return where the programs that `edgenets verify` asks are set up: `verify` in the cache."""
    return cache_folder().absolute() / "verify"
