"""The one error that edgenets raises for what a user can put right, and its shared sentences."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class EdgenetsError(Exception):
    """A failure a user can act on: the message is one sentence, shown without a traceback.

    It says what must hold, what was received and what to do next.
    """


class ArgumentError(EdgenetsError):
    """Arguments that do not go together: wrong usage, on the command line."""


class UnfaithfulError(EdgenetsError):
    """A file answers too differently from the net that it was made of."""


class DivergedError(EdgenetsError):
    """A training lost its net: the loss is no number any more."""


COMMAND_LINE = re.compile(r"`[^`]*`|\bedgenets [a-z]+ [^;)]*")
OPTION = re.compile(r"(?<![\w/-])--(?P<no>no-)?(?P<name>[a-z][a-z-]*)(?: [A-Z]{2,}\b)?")


def in_python(sentence: str) -> str:
    """Return a sentence that names a command's options with the names that arguments have.

    A command line that is to be given stays as it is.

    >>> in_python("int8 needs images to calibrate with; pass --data DATA")
    'int8 needs images to calibrate with; pass data'
    >>> in_python("--no-tables is for --target mcu; run: edgenets doctor --setup-verify")
    'tables=False is for target mcu; run: edgenets doctor --setup-verify'
    """

    def name(option: re.Match[str]) -> str:
        return option["name"].replace("-", "_") + "=False" * bool(option["no"])

    lines = COMMAND_LINE.findall(sentence)
    rest = [OPTION.sub(name, part) for part in COMMAND_LINE.split(sentence)]
    return "".join(text for pair in zip(rest, [*lines, ""], strict=True) for text in pair)


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
        f"unknown {kind} {name!r}{did_you_mean(str(name), names)} (known: {', '.join(names)})"
    )
