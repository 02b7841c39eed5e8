"""Keys of what is kept: a hash of all that it was made from, by which it is known to still fit."""

from __future__ import annotations

from typing import Any

from edgenets.export.devices.interpreter import runtime_name_and_version
from edgenets.files import sha256_json
from edgenets.models.folder import versions


def key_of(images: str, *, runs_files: bool = False, **made_from: Any) -> str:
    """Return the key of what is made of images, by these versions of edgenets and its packages.

    Args:
        images: their fingerprint.
        runs_files: whether the interpreter of `.tflite` files has a part in it.
        made_from: JSON values that it depends on besides.

    >>> key_of("67d1", seed=0) == key_of("67d1", seed=0), key_of("67d1", seed=0) == key_of("67d1")
    (True, False)
    """
    used = versions()
    if runs_files:
        runtime, version = runtime_name_and_version()
        used[runtime] = version
    return sha256_json({"versions": used, "images": images, **made_from})


def next_key(before: str, stage: str, settings: Any) -> str:
    """Return the key of a stage that is made of what has the key `before`."""
    return sha256_json({"before": before, "stage": stage, "settings": settings})
