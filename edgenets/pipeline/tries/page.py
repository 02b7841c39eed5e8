"""The page of a search within a loss, tries.html: what each try costs against its accuracy.

It needs nothing but itself: no network, no script.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgenets.export.report.cost_chart import CostChart, Point, cost_chart
from edgenets.export.report.page import all_printable, open_template
from edgenets.files import write_bytes
from edgenets.pipeline.stages.places import Record
from edgenets.pipeline.sweep.constraints import FIGURES
from edgenets.pipeline.tries.measured import front_of_tries

PAGE = "tries.html"


def write_page(result: dict[str, Any], tested: Record, folder: Path) -> None:
    """Write the page into the model folder.

    Args:
        result: keys of compress.json that tell of the tries.
        tested: what was measured of the one that is kept, on the test images.
        folder: of the model.
    """
    write_bytes(folder / PAGE, render_page(result, tested).encode(errors="backslashreplace"))


def render_page(result: dict[str, Any], tested: Record) -> str:
    """Return the page; equal results give equal pages. Arguments are those of `write_page`."""
    result = all_printable(result)
    return open_template("tries.html.j2", Path(__file__).parent).render(
        result=result,
        tested=tested,
        charts=charts_of(result),
        order=sorted(range(len(result["tries"])), key=lambda i: result["tries"][i]["stored_bytes"]),
    )


def charts_of(result: dict[str, Any]) -> list[CostChart]:
    """Lay out a chart for each figure in which tries differ: bytes, and perhaps instructions.

    Numbers of tries are counted from 1.
    """
    rows, before = result["tries"], result["before"]["top1"]
    points = [Point(row, i, row["recipe"]) for i, row in enumerate(rows, start=1)]
    levels = {
        "the model as it was": before,
        f"{result['max_drop']:g} points less": max(0.0, before - result["max_drop"] / 100),
    }
    figures = [FIGURES["stored"]]
    if len({row["instructions"] for row in rows}) > 1:
        figures.append(FIGURES["instructions"])
    return [
        cost_chart(
            points,
            figure.key,
            figure.words,
            front_of_tries(rows, [figure.key]),
            result["chosen"],
            levels,
        )
        for figure in figures
    ]
