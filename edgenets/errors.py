"""The one error that edgenets raises for what a user can put right, and its shared sentences."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EdgenetsError(Exception):
    """A failure a user can act on: the message is one sentence, shown without a traceback.

    It says what must hold, what was received and what to do next.
    """


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean X?" for the nearest of `known`, or "" when none is near.

    >>> did_you_mean("corral", ["coral", "generic"])
    '; did you mean coral?'
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> EdgenetsError:
    """Return the error for a `name` that is not one of `known`.

    >>> str(unknown_name("target", "corral", ["generic", "coral"]))
    "unknown target 'corral'; did you mean coral? (known: coral, generic)"
    """
    names = sorted(known)
    return EdgenetsError(
        f"unknown {kind} {name!r}{did_you_mean(name, names)} (known: {', '.join(names)})"
    )
