"""The page of a sweep, sweep.html: what each point costs against its accuracy, and all of them.

It needs nothing but itself and the run folders beside it: its one script is in it, by its hash.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from edgenets.export.report.cost_chart import CostChart, Point, cost_chart
from edgenets.export.report.page import all_printable, open_template
from edgenets.files import write_bytes
from edgenets.pipeline.sweep.constraints import FIGURES, Figure, find_figure
from edgenets.pipeline.sweep.front import front_of
from edgenets.pipeline.sweep.summary import command_of
from edgenets.results.sweep import argument_words, common_arguments, net_words

PAGE = "sweep.html"
CHARTED = ("stored", "loaded", "macs", "instructions", "cycles")


def write_page(result: dict[str, Any], folder: Path) -> Path:
    """Write the page of a sweep.json's content as sweep.html into the sweep's folder."""
    path = folder / PAGE
    write_bytes(path, render_page(result, folder).encode(errors="backslashreplace"))
    return path


def render_page(result: dict[str, Any], folder: Path) -> str:
    """Return the page; equal results give equal pages. `folder` stands in its commands."""
    result = all_printable(result)
    rows = result["trials"]
    script = Path(__file__).with_name("sweep.js").read_text()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    finished = [row for row in rows if row["state"] == "finished"]
    common = common_arguments(rows)
    return open_template("sweep.html.j2", Path(__file__).parent).render(
        result=result,
        rows=rows,
        finished=finished,
        cost=find_figure(result["config"]["minimise"][0]).words,
        states={s: sum(row["state"] == s for row in rows) for s in _distinct(rows, "state")},
        charts={
            target: charts
            for target in result["config"]["targets"]
            if (charts := charts_of(rows, target, result["chosen"].get(target)))
        },
        columns=[f for f in FIGURES.values() if any(row[f.key] is not None for row in rows)],
        common=" ".join(argument_words(common, {})),
        words={row["trial"]: net_words(row, common) for row in rows},
        config_text=yaml.safe_dump(result["config"], sort_keys=False, allow_unicode=True),
        commands={
            target: command_of(rows[i], str(folder)) for target, i in result["chosen"].items()
        },
        script=script,
        script_hash=f"sha256-{digest}",
    )


def charts_of(
    rows: Sequence[Mapping[str, Any]], target: str, chosen: int | None
) -> list[CostChart]:
    """Lay out the charts of a target's finished rows: one for each cost that is known of them.

    Args:
        rows: of sweep.json.
        chosen: index of the row that is marked.
    """
    own = [row for row in rows if row["target"] == target and row["state"] == "finished"]
    marked = None if chosen is None else rows[chosen]
    common = common_arguments(rows)
    figures = [FIGURES[word] for word in CHARTED]
    return [
        _chart(figure, having, marked, common)
        for figure in figures
        if (having := [row for row in own if row[figure.key]])
    ]


def _chart(
    figure: Figure,
    rows: Sequence[Mapping[str, Any]],
    chosen: Mapping[str, Any] | None,
    common: Mapping[str, Any],
) -> CostChart:
    points = [
        Point(
            row,
            number=row["trial"],
            words=f"{net_words(row, common)}, {row['recipe']}",
            link=f"{row['run']}/report.html",
        )
        for row in rows
    ]
    marked = next((i for i, row in enumerate(rows) if row is chosen), None)
    return cost_chart(points, figure.key, figure.words, front_of(rows, figure.key), marked)


def _distinct(rows: Sequence[Mapping[str, Any]], key: str) -> list[str]:
    return list(dict.fromkeys(row[key] for row in rows))
