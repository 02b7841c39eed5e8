"""What a sweep returns: its trials, and how they are shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgenets.results.result import Result, html_table
from edgenets.units import format_bytes, format_count, format_interval, format_percent

UNKNOWN = "-"
SWEEP_CELLS: dict[str, Callable[[str, Mapping[str, Any]], str]] = {
    "front": lambda mark, row: mark,
    "net": lambda mark, row: str(row["net"]),
    "recipe": lambda mark, row: str(row["recipe"]),
    "target": lambda mark, row: str(row["target"]),
    ">top-1": lambda mark, row: format_percent(row["top1"]),
    ">95 % interval": lambda mark, row: format_interval(row["ci95"]),
    ">stored": lambda mark, row: format_bytes(row["stored_bytes"]),
    ">loaded": lambda mark, row: format_bytes(row["size_bytes"]),
    ">MACs": lambda mark, row: _count_or_dash(row["macs"]),
    ">instructions": lambda mark, row: _count_or_dash(row["instructions"]),
    ">cycles": lambda mark, row: _count_or_dash(row["cycles"]),
    ">arena": lambda mark, row: format_bytes(row["arena_bytes"]),
}
"""What a table of a sweep's trials shows in each column, from the front's mark and the JSON."""


@dataclass(frozen=True, repr=False)
class SweepTrial(Result):
    """A point of a sweep's space, for one target.

    Attributes:
        trial: number; trials of several targets have it in common.
        arguments: of the net, those that the space names.
        state: "finished"; or "stopped" at a rung of the halving, "outside" the constraints,
            "failed", or "chosen" or "inside" while its work is not done.
        reason: the constraints that it breaks, or the sentence of its failure.
        measured: whether the figures are those of the final file, or of the untrained one.
        top1_drop: points that compression cost, against the float net.
        right: which test images are answered rightly, a bit each in hexadecimal.
        run: the run folder, in that of the sweep.
        alike: indices of trials on the front whose accuracy cannot be told apart from this one's.
        epochs: passes over the training images.
    """

    trial: int
    net: str
    arguments: dict[str, Any]
    recipe: str
    target: str
    state: str
    reason: tuple[str, ...]
    measured: bool
    params: int | None
    macs: int | None
    stored_bytes: int | None
    size_bytes: int | None
    arena_bytes: int | None
    instructions: int | None
    cycles: int | None
    top1: float | None
    ci95: tuple[float, float] | None
    samples: int | None
    top1_drop: float | None
    right: str | None
    run: str | None
    alike: tuple[int, ...]
    epochs: int

    def _repr_html_(self) -> str:
        cells = {name: cell("", self.to_json()) for name, cell in SWEEP_CELLS.items()}
        return html_table((net_words(self.to_json()), ">"), cells.items())


def sweep_table(result: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return columns and rows of the finished trials of a sweep.json, the front marked, by size.

    A column of which nothing is known is left out.
    """
    rows = result["trials"]
    finished = [i for i, row in enumerate(rows) if row["state"] == "finished"]
    finished.sort(key=lambda i: (rows[i]["target"], rows[i]["stored_bytes"]))
    common = common_arguments(rows)
    columns = {
        name: [
            cell(
                "*" if i in result["front"] else "", {**rows[i], "net": net_words(rows[i], common)}
            )
            for i in finished
        ]
        for name, cell in SWEEP_CELLS.items()
    }
    known = {name: cells for name, cells in columns.items() if set(cells) != {UNKNOWN}}
    return list(known), list(zip(*known.values(), strict=True))


def net_words(row: Mapping[str, Any], common: Mapping[str, Any] | None = None) -> str:
    """Return a trial's net and its arguments, without those of `common`.

    >>> trial = {"net": "mobilenet_v1", "arguments": {"width": 0.25, "resolution": 32}}
    >>> net_words(trial), net_words(trial, {"resolution": 32})
    ('mobilenet_v1 width=0.25 resolution=32', 'mobilenet_v1 width=0.25')
    """
    return " ".join((row["net"], *argument_words(row["arguments"], common or {})))


def argument_words(arguments: Mapping[str, Any], common: Mapping[str, Any]) -> list[str]:
    """Return KEY=VALUE of each argument that is not in `common`."""
    return [f"{key}={value}" for key, value in arguments.items() if key not in common]


def common_arguments(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the arguments that all trials have alike, if there are several trials."""
    of_first = rows[0]["arguments"] if rows else {}
    return {
        key: value
        for key, value in of_first.items()
        if len({row["trial"] for row in rows}) > 1
        and all(row["arguments"].get(key) == value for row in rows)
    }


def _count_or_dash(count: int | None) -> str:
    return UNKNOWN if count is None else format_count(count)
