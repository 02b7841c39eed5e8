"""What comparing runtimes returns, and how it is shown."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edgenets.progress import printable
from edgenets.results.result import Result, html_table
from edgenets.units import format_percent

VERIFY_CELLS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "runtime": lambda row: str(row["name"]),
    ">bit-equal": lambda row: "-" if row["bit_equal"] is None else str(row["bit_equal"]),
    ">step": lambda row: "-" if row["largest_step"] is None else f"{row['largest_step']:.4g}",
    ">same answers (95 %)": lambda row: (
        format_percent(row["same_answers"])
        + (" ({:.1f}-{:.1f})".format(*(100 * end for end in row["ci95"])) if row["ci95"] else "")
    ),
    ">top-1": lambda row: format_percent(row["top1"]),
}
"""What a table of runtimes shows in each column, from the JSON of a runtime. With an emulated board
it fits 80 columns; what is longer stands below it, `verify_lines`."""


def verify_rows(runtimes: Iterable[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return the rows of a table of runtimes, with the columns of `VERIFY_CELLS`."""
    return [tuple(cell(row) for cell in VERIFY_CELLS.values()) for row in runtimes]


def verify_lines(runtimes: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the lines below that table: where each parts, what went wrong, and the versions."""
    lines = []
    versions: dict[str, list[str]] = {}
    for row in runtimes:
        if row["first_difference"]:
            lines.append(f"{row['name']} parts at {_parting(row['first_difference'])}")
        if row["problem"]:
            lines.append(f"{row['name']}: {row['problem']}")
        if row["package"]:
            versions.setdefault(f"{row['package']} {row['version']}", []).append(row["name"])
    return lines + [f"{version}: {', '.join(names)}" for version, names in versions.items()]


def _parting(found: Mapping[str, Any]) -> str:
    """Return where, and how much differs there."""
    where = f"{found['op']} {found['operator']}" + (f" ({found['name']})" * bool(found["name"]))
    if found["values"] is None:
        return f"{where}: the files have different operators there"
    images = "1 image" if found["images"] == 1 else f"{found['images']} images"
    differ = "differs" if found["values"] == 1 else "differ"
    return (
        f"{where}: {found['values']:,} of the {found['of']:,} values that it makes of {images} "
        f"{differ}"
    )


@dataclass(frozen=True, repr=False)
class VerifiedRuntime(Result):
    """What a file answered in one runtime, compared with the first that runs it.

    Attributes:
        name: reference, optimized, xnnpack, tflm, tosa, a device, or a client.
        package, version: of what ran it; None where it did not run.
        bit_equal: images whose outputs are equal to the last bit.
        largest_step: between two outputs: codes where they are integers, else units.
        same_answers: fraction of the images with the same first answer.
        ci95: low and high end of its 95 % confidence interval.
        top1: fraction of the images whose class comes first; None without classes.
        first_difference: the first operator that makes something else: its `operator`, an index,
            `op`, `name` of the layer, how many of its `values` differ `of` all that it makes of
            so many `images`, the first few that are not equal, and the `largest_step`; None where
            all images are equal.
        problem: a sentence, where it died, or returned what is no number.
    """

    name: str
    package: str | None
    version: str | None
    bit_equal: int | None
    largest_step: float | None
    same_answers: float | None
    ci95: tuple[float, float] | None
    top1: float | None
    first_difference: dict[str, Any] | None
    problem: str | None


@dataclass(frozen=True, repr=False)
class Verification(Result):
    """Whether a file answers alike in several runtimes, on the same images.

    Attributes:
        model: its name and sha256.
        against: the other file that it was compared with.
        data: the dataset; None for images of noise.
        images: how many.
        runtimes: the first that runs is what the others are compared with.
        first_difference: the earliest operator of all `first_difference`, and between which
            `runtimes`; None where none was found.
        missing: runtimes that are not at hand, and what makes each available.
    """

    model: dict[str, Any]
    against: str | None
    data: str | None
    images: int
    runtimes: tuple[VerifiedRuntime, ...]
    first_difference: dict[str, Any] | None
    missing: tuple[dict[str, str], ...]
    warnings: tuple[str, ...]

    def _repr_html_(self) -> str:
        runtimes = [row.to_json() for row in self.runtimes]
        title = f"{self.model['name']}, {self.images} images"
        lines = (f"<p>{html.escape(printable(line))}</p>" for line in verify_lines(runtimes))
        return html_table(tuple(VERIFY_CELLS), verify_rows(runtimes), title) + "".join(lines)
