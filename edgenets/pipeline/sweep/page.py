"""The page of a sweep, sweep.html: what each point costs against its accuracy, and all of them.

It needs nothing but itself and the run folders beside it: its one script is in it, by its hash.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from math import ceil, floor, log10
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from edgenets.export.report.charts import Tick, accuracy_range, round_values
from edgenets.export.report.page import all_printable, open_template
from edgenets.files import write_bytes
from edgenets.pipeline.sweep.constraints import FIGURES, Figure
from edgenets.pipeline.sweep.front import front_of
from edgenets.pipeline.sweep.summary import command_of
from edgenets.results.sweep import argument_words, common_arguments, net_words

PAGE = "sweep.html"
WIDTH, LEFT, RIGHT, HEIGHT = 460, 54, 444, 220
CHARTED = ("stored", "loaded", "macs", "instructions", "cycles")
MOST_TICKS = 6
UNITS = ((2**20, "MiB"), (2**10, "KiB")), ((10**9, "G"), (10**6, "M"), (10**3, "k"))
"""In which a cost is shown, of bytes and of counts: the largest that the least value has one of."""


class Dot(NamedTuple):
    """A trial: where its accuracy and the ends of its interval stand over its cost."""

    row: Mapping[str, Any]
    words: str
    x: float
    y: float
    low_y: float
    high_y: float
    on_front: bool
    is_chosen: bool


class CostChart(NamedTuple):
    """A cost (x, logarithmic) against top-1 accuracy (y), of all files for a target."""

    title: str
    dots: list[Dot]
    way: list[tuple[float, float]]  # along the front, from the cheapest on
    cost_ticks: list[Tick]
    accuracy_ticks: list[Tick]
    width: int = WIDTH
    left: int = LEFT
    right: int = RIGHT
    height: int = HEIGHT


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
    front = front_of(rows, figure.key)
    low, high = accuracy_range([row["ci95"] for row in rows])
    values = [row[figure.key] for row in rows]
    x_of, ticks, unit = _cost_axis(values, is_bytes=figure.key.endswith("_bytes"))

    def y_of(accuracy: float) -> float:
        return round(HEIGHT * (high - accuracy) / (high - low), 1)

    dots = [
        Dot(
            row,
            words=f"{net_words(row, common)}, {row['recipe']}",
            x=x_of(row[figure.key]),
            y=y_of(row["top1"]),
            low_y=y_of(row["ci95"][0]),
            high_y=y_of(row["ci95"][1]),
            on_front=i in front,
            is_chosen=row is chosen,
        )
        for i, row in enumerate(rows)
    ]
    return CostChart(
        title=f"{figure.words}{unit}",
        dots=sorted(dots, key=lambda dot: (dot.on_front, dot.is_chosen)),  # the later ones on top
        way=[(dots[i].x, dots[i].y) for i in front],
        cost_ticks=ticks,
        accuracy_ticks=[
            Tick(y_of(value / 100), f"{value:g} %") for value in round_values(100 * low, 100 * high)
        ],
    )


def _cost_axis(
    values: Sequence[float], *, is_bytes: bool
) -> tuple[Callable[[float], float], list[Tick], str]:
    """Return where a cost stands, the ticks, and what they are in."""
    least, most = min(values) / 1.15, max(values) * 1.15
    sizes = UNITS[0] if is_bytes else UNITS[1]
    factor, unit = next(((f, name) for f, name in sizes if min(values) >= f), (1, ""))

    def x_of(value: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * log10(value / least) / log10(most / least), 1)

    first, last = floor(log10(least / factor)), ceil(log10(most / factor))
    for steps in ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        marks = [step * 10.0**power for power in range(first, last + 1) for step in steps]
        inside = [mark for mark in marks if least <= mark * factor <= most]
        if len(inside) <= MOST_TICKS:
            break
    return x_of, [Tick(x_of(m * factor), f"{m:g}") for m in inside], f", in {unit}" * bool(unit)


def _distinct(rows: Sequence[Mapping[str, Any]], key: str) -> list[str]:
    return list(dict.fromkeys(row[key] for row in rows))
