"""Where the dots of a cost against accuracy stand, and the way along their front.

Coordinates are as in `edgenets.export.report.charts`; `cost_chart.html.j2` draws.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from math import ceil, floor, log10
from typing import Any, NamedTuple

from edgenets.export.report.charts import Tick, accuracy_range, round_values

WIDTH, LEFT, RIGHT, HEIGHT = 460, 54, 444, 220
MOST_TICKS = 6
UNITS = ((2**20, "MiB"), (2**10, "KiB")), ((10**9, "G"), (10**6, "M"), (10**3, "k"))
"""In which a cost is shown, of bytes and of counts: the largest of which the middle is one."""


class Point(NamedTuple):
    """What is drawn: a file with its costs and its accuracy."""

    row: Mapping[str, Any]  # its costs, `top1`, `ci95` and `stored_bytes`
    number: int  # by which it is found in the table
    words: str
    link: str | None = None  # to its own page


class Dot(NamedTuple):
    """A point: where its accuracy and the ends of its interval stand over its cost."""

    point: Point
    x: float
    y: float
    low_y: float
    high_y: float
    on_front: bool
    is_chosen: bool


class CostChart(NamedTuple):
    """A cost (x, logarithmic) against top-1 accuracy (y)."""

    title: str
    dots: list[Dot]
    way: list[tuple[float, float]]  # along the front, from the cheapest on
    cost_ticks: list[Tick]
    accuracy_ticks: list[Tick]
    levels: list[Tick]  # accuracies that points are compared with
    width: int = WIDTH
    left: int = LEFT
    right: int = RIGHT
    height: int = HEIGHT


def cost_chart(
    points: Sequence[Point],
    key: str,
    words: str,
    front: Collection[int],
    chosen: int | None = None,
    levels: Mapping[str, float] | None = None,
) -> CostChart:
    """Lay out a chart.

    Args:
        points: all of which have the cost.
        key: of the cost in a row.
        words: what it is.
        front: indices of points, the cheapest first.
        chosen: index of the point that is marked.
        levels: accuracies to compare with, by what they are.
    """
    levels = levels or {}
    intervals = [point.row["ci95"] for point in points]
    low, high = accuracy_range([*intervals, *((level, level) for level in levels.values())])
    x_of, ticks, unit = _cost_axis([p.row[key] for p in points], is_bytes=key.endswith("_bytes"))

    def y_of(accuracy: float) -> float:
        return round(HEIGHT * (high - accuracy) / (high - low), 1)

    dots = [
        Dot(
            point,
            x=x_of(point.row[key]),
            y=y_of(point.row["top1"]),
            low_y=y_of(point.row["ci95"][0]),
            high_y=y_of(point.row["ci95"][1]),
            on_front=i in front,
            is_chosen=i == chosen,
        )
        for i, point in enumerate(points)
    ]
    return CostChart(
        title=f"{words}{unit}",
        dots=sorted(dots, key=lambda dot: (dot.on_front, dot.is_chosen)),  # the later ones on top
        way=[(dots[i].x, dots[i].y) for i in front],
        cost_ticks=ticks,
        accuracy_ticks=[
            Tick(y_of(value / 100), f"{value:g} %") for value in round_values(100 * low, 100 * high)
        ],
        levels=[Tick(y_of(level), label) for label, level in levels.items()],
    )


def _cost_axis(
    values: Sequence[float], *, is_bytes: bool
) -> tuple[Callable[[float], float], list[Tick], str]:
    """Return where a cost stands, the ticks, and what they are in."""
    least, most = min(values) / 1.15, max(values) * 1.15
    sizes = UNITS[0] if is_bytes else UNITS[1]
    middle = (min(values) * max(values)) ** 0.5  # of the axis, which is logarithmic
    factor, unit = next(((f, name) for f, name in sizes if middle >= f), (1, ""))

    def x_of(value: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * log10(value / least) / log10(most / least), 1)

    first, last = floor(log10(least / factor)), ceil(log10(most / factor))
    for steps in ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        marks = [step * 10.0**power for power in range(first, last + 1) for step in steps]
        inside = [mark for mark in marks if least <= mark * factor <= most]
        if len(inside) <= MOST_TICKS:
            break
    return x_of, [Tick(x_of(m * factor), f"{m:g}") for m in inside], f", in {unit}" * bool(unit)
