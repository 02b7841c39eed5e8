"""What a point of a sweep must keep: sentences such as `instructions on rpi4 <= 20M`.

Loads no TensorFlow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

from edgenets.errors import EdgenetsError, unknown_name
from edgenets.export.targets import TARGETS, Target
from edgenets.units import format_bytes, format_count, parse_bytes, parse_count

EXAMPLE = "stored <= 100KB"
AT_MOST = "at_most"
"""In a row of what was counted, the keys of figures that the recipe will make smaller."""


def _points(text: str) -> float:
    if not 0 <= (points := float(text)) <= 100:
        raise ValueError(f"{text} is no number of points")
    return points


class Figure(NamedTuple):
    """Something that is known of a point, by which it is bounded or compared."""

    key: str  # in a row of `sweep.json`
    short: str  # over a column
    words: str
    parse: Callable[[str], float]
    format: Callable[[float], str]
    is_counted: bool = True  # before anything is trained
    applies: Callable[[Target], bool] = lambda target: True


SIZE, COUNT = (parse_bytes, format_bytes), (parse_count, format_count)
FIGURES = {
    "stored": Figure("stored_bytes", "stored", "stored size, as it travels", *SIZE),
    "loaded": Figure("size_bytes", "loaded", "size of the .tflite", *SIZE),
    "arena": Figure("arena_bytes", "arena", "activations at once", *SIZE),
    "params": Figure("params", "parameters", "parameters", *COUNT),
    "macs": Figure("macs", "MACs", "MACs", *COUNT),
    "instructions": Figure(
        *("instructions", "instructions", "instructions an image", *COUNT),
        applies=lambda target: target.cpu is not None,
    ),
    "cycles": Figure(
        *("cycles", "cycles", "cycles an image", *COUNT),
        applies=lambda target: target.accelerator == "ethos_u",
    ),
    "top1 drop": Figure(
        *("top1_drop", "drop", "points lost to compression", _points, "{:.3g}".format),
        is_counted=False,
    ),
}
"""By the word that a sweep file has for it."""


def find_figure(word: str) -> Figure:
    """Return the figure of a word; its name in `sweep.json` is one, too.

    Raises:
        EdgenetsError: there is none.
    """
    by_key = {figure.key: figure for figure in FIGURES.values()}
    found = FIGURES.get(word) or by_key.get(word)
    if found is None:
        raise unknown_name("figure", word, FIGURES)
    return found


class Constraint(NamedTuple):
    """A bound on a figure, of files for one target or for all."""

    text: str
    figure: Figure
    target: str | None
    most: float

    def allows(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row of figures keeps it; what is not known yet breaks nothing."""
        if self.target not in (None, row["target"]) or self.figure.key in row.get(AT_MOST, ()):
            return True
        value = row.get(self.figure.key)
        return value is None or value <= self.most


def parse_constraint(text: str, targets: Collection[str]) -> Constraint:
    """Return the constraint that a sentence states.

    >>> parse_constraint("arena <= 256KiB", ["mcu"]).most
    262144

    Args:
        text: FIGURE [on TARGET] <= NUMBER.
        targets: that files are made for.

    Raises:
        EdgenetsError: it is none, or of an unknown figure, or of a target that no file is made for
            or that has no such figure.
    """
    match = re.fullmatch(r"\s*(.+?)(?:\s+on\s+(\S+))?\s*<=\s*(\S.*?)\s*", text)
    if not match:
        raise EdgenetsError(
            f"a constraint must read FIGURE [on TARGET] <= NUMBER, such as {EXAMPLE}, got {text!r}"
        )
    word, target, number = match.groups()
    figure = find_figure(word)
    if target is not None and target not in targets:
        raise EdgenetsError(
            f"the constraint {text!r} is of {target}, for which no file is made; add it to the "
            f"targets ({', '.join(targets)})"
        )
    having = [name for name, row in TARGETS.items() if figure.applies(row)]
    if not set(having) & ({target} if target else set(targets)):
        raise EdgenetsError(
            f"{word} are known for {', '.join(having)}, not for {target or ', '.join(targets)}; "
            f"leave the constraint {text!r} out, or change the targets"
        )
    try:
        most = figure.parse(number)
    except ValueError as error:
        raise EdgenetsError(
            f"the constraint {text!r} must end in a number such as in {EXAMPLE!r}, or 20M or 1.5; "
            f"got {number!r}"
        ) from error
    return Constraint(text, figure, target, most)


def broken(constraints: Iterable[Constraint], row: Mapping[str, Any]) -> list[str]:
    """Return the constraints, as they are written, that a row does not keep."""
    return [each.text for each in constraints if not each.allows(row)]
