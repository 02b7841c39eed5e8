"""Where the marks of the report's chart stand: numbers in, coordinates out, drawn by the template.

Coordinates are the units of an SVG view box, y downwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10, sqrt
from statistics import NormalDist
from typing import Any, NamedTuple

WIDTH = 560
LEFT, RIGHT = 56, 500  # of the plot; flags at its right end fly over the rest
PLOT_HEIGHT = 210
ROW_HEIGHT = 20  # of flags above and below the plot
CHARACTER_WIDTH = 9.5  # a generous one: phones get the larger letters
FLAG_GAP = 12
SAME_PLACE = 8
"""Marks that are nearer share a flag."""
AXIS_HEIGHT = 46
MINIMUM_RANGE = 0.05
"""The accuracy axis spans at least 5 points, so that a tenth of a point never looks like much."""


class Tick(NamedTuple):
    """A value on an axis."""

    position: float
    label: str


class Mark(NamedTuple):
    """A stage: its accuracy, with the ends of its 95 % interval, at its sizes."""

    stage: dict[str, Any]
    file_x: float
    stored_x: float
    y: float
    low_y: float
    high_y: float


class Flag(NamedTuple):
    """The name of one or more marks on a pole beside the plot."""

    text: str
    x: float
    row: int  # counted from the plot


class Chart(NamedTuple):
    """Size (x, from 0) against top-1 accuracy (y)."""

    width: int
    height: int
    left: int
    right: int
    top: int  # of the plot; flags of stored sizes stand above
    bottom: int  # flags of file sizes hang below
    axis: int  # under those flags
    unit: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    marks: list[Mark]
    stored_flags: list[Flag]
    file_flags: list[Flag]
    row_height: int = ROW_HEIGHT


def wilson_interval(fraction: float, samples: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the confidence interval of a probability that `fraction` of `samples` showed.

    Source: Wilson, Probable inference, the law of succession, and statistical inference, 1927.

    >>> low, high = wilson_interval(0.9, 100)
    >>> round(low, 3), round(high, 3)
    (0.826, 0.945)
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    shrunk = 1 / (1 + z * z / samples)
    middle = shrunk * (fraction + z * z / (2 * samples))
    half = shrunk * z * sqrt(fraction * (1 - fraction) / samples + (z / (2 * samples)) ** 2)
    return max(0.0, middle - half), min(1.0, middle + half)


def size_accuracy_chart(stages: Sequence[dict[str, Any]]) -> Chart:
    """Lay out the stages of a report by their top1, samples, size_bytes and stored_bytes."""
    intervals = [wilson_interval(stage["top1"], stage["samples"]) for stage in stages]
    low, high = _accuracy_range(intervals)
    largest = 1.03 * max(max(stage["size_bytes"], stage["stored_bytes"]) for stage in stages)
    unit_bytes, unit = (2**20, "MiB") if largest >= 2 * 2**20 else (2**10, "KiB")

    def x_of(size_bytes: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * size_bytes / largest, 1)

    stored_flags = _flags([(x_of(stage["stored_bytes"]), stage["name"]) for stage in stages])
    file_flags = _flags(
        [(x_of(stage["size_bytes"]), stage["name"]) for stage in stages], leftwards=True
    )
    top = ROW_HEIGHT * _rows(stored_flags) + 8
    bottom = top + PLOT_HEIGHT
    axis = bottom + ROW_HEIGHT * _rows(file_flags) + 8

    def y_of(accuracy: float) -> float:
        return round(bottom - PLOT_HEIGHT * (accuracy - low) / (high - low), 1)

    return Chart(
        width=WIDTH,
        height=axis + AXIS_HEIGHT,
        left=LEFT,
        right=RIGHT,
        top=top,
        bottom=bottom,
        axis=axis,
        unit=unit,
        x_ticks=[
            Tick(x_of(value * unit_bytes), f"{value:g}")
            for value in _round_values(0, largest / unit_bytes)
        ],
        y_ticks=[
            Tick(y_of(value / 100), f"{value:g} %")
            for value in _round_values(100 * low, 100 * high)
        ],
        marks=[
            Mark(
                stage,
                file_x=x_of(stage["size_bytes"]),
                stored_x=x_of(stage["stored_bytes"]),
                y=y_of(stage["top1"]),
                low_y=y_of(interval[0]),
                high_y=y_of(interval[1]),
            )
            for stage, interval in zip(stages, intervals, strict=True)
        ],
        stored_flags=stored_flags,
        file_flags=file_flags,
    )


def _accuracy_range(intervals: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the ends of an axis that holds all intervals, at whole per cents."""
    low = floor(100 * min(interval[0] for interval in intervals)) / 100
    high = ceil(100 * max(interval[1] for interval in intervals)) / 100
    missing = max(0.0, MINIMUM_RANGE - (high - low))
    high = min(1.0, high + missing / 2)
    return max(0.0, min(low, high - MINIMUM_RANGE)), high


def _round_values(low: float, high: float) -> list[float]:
    """Return four to seven multiples of 1, 2 or 5 times a power of ten between `low` and `high`."""
    power = 10.0 ** floor(log10((high - low) / 4))
    step = max(m * power for m in (1, 2, 5) if 4 * m * power <= high - low + 1e-9)
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return [round(i * step, 9) for i in range(first, last + 1)]


def _flags(anchors: Sequence[tuple[float, str]], *, leftwards: bool = False) -> list[Flag]:
    """Name the marks at (x, name), so that no flag covers another one or another's pole.

    Flags fly to the right of their poles (or all to the left) and are placed from that side on:
    a pole then passes only rows whose flags begin beyond it.
    """
    direction = -1 if leftwards else 1
    groups: list[tuple[float, list[str]]] = []
    for x, name in sorted(anchors, key=lambda anchor: -direction * anchor[0]):
        if groups and abs(groups[-1][0] - x) < SAME_PLACE:
            groups[-1][1].append(name)
        else:
            groups.append((x, [name]))

    order = [name for _, name in anchors]
    begins: list[float] = []  # by row, of the flag placed last
    flags = []
    for x, names in groups:
        text = ", ".join(sorted(names, key=order.index))
        end = direction * x + CHARACTER_WIDTH * len(text) + FLAG_GAP
        row = next((r for r in range(len(begins)) if end <= min(begins[r:])), len(begins))
        begins[row : row + 1] = [direction * x]
        flags.append(Flag(text, x, row))
    return flags


def _rows(flags: Sequence[Flag]) -> int:
    return 1 + max(flag.row for flag in flags)
