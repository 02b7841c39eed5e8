"""Where the marks of the report's charts stand: measurements in, coordinates out.

Coordinates are units of an SVG view box, y downwards, 0 at the top of the plot; the page draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, floor, log10
from typing import Any, NamedTuple

from edgenets.intervals import wilson_interval

WIDTH = 560
LEFT, RIGHT = 56, 500  # of the plot; flags at its right end fly over what is left
CURVES_WIDTH, CURVES_HEIGHT = 360, 150
CURVES_RIGHT = 344  # half of the last epoch's number stands beyond
PLOT_HEIGHT = 210
ROW_HEIGHT = 20  # of flags
CHARACTER_WIDTH = 10  # a generous one, for the larger letters on phones
FLAG_GAP = 10
SAME_PLACE = 8
"""Marks that are nearer share a flag."""
MARGIN = 8
AXIS_HEIGHT = 46
HEADROOM = 1.15
"""The time axis ends so much over the slowest operator; an interval that is longer is cut."""
MINIMUM_RANGE = 0.05
"""The accuracy axis spans at least 5 points, so that a tenth of a point does not look like much."""


class Tick(NamedTuple):
    """A value on an axis."""

    position: float
    label: str


class Mark(NamedTuple):
    """A stage: its accuracy, with the ends of the 95 % interval, at its one or two sizes."""

    stage: dict[str, Any]
    file_x: float
    stored_x: float | None  # None: a float file, which is not packed
    y: float
    low_y: float
    high_y: float

    @property
    def interval_x(self) -> float:
        """Where the interval is drawn: at the size that travels, where there is one."""
        return self.file_x if self.stored_x is None else self.stored_x


class Flag(NamedTuple):
    """The names of marks at one place, on a pole over or under the plot."""

    names: str
    x: float
    y: float
    mark_y: float  # where the pole stands


class Chart(NamedTuple):
    """File and stored size (x, from 0) against top-1 accuracy (y)."""

    top: float
    height: float
    axis: float  # y of the size axis
    size_unit: str
    size_ticks: list[Tick]
    accuracy_ticks: list[Tick]
    marks: list[Mark]
    stored_flags: list[Flag]  # over the plot
    file_flags: list[Flag]  # under it
    width: int = WIDTH
    left: int = LEFT
    right: int = RIGHT


class Bar(NamedTuple):
    """An operator that takes longer than the resolution, with the ends of its 95 % interval."""

    op: dict[str, Any]
    x: float
    width: float
    y: float  # of its top
    height: float
    low_y: float
    high_y: float


class OperatorChart(NamedTuple):
    """Operators in the order they run (x) against their time (y, from 0)."""

    bars: list[Bar]
    time_ticks: list[Tick]
    plot_height: int = PLOT_HEIGHT
    width: int = WIDTH
    left: int = LEFT
    right: int = WIDTH


class Curve(NamedTuple):
    """What one column of a history became, epoch by epoch."""

    name: str
    points: list[tuple[float, float]]
    first: str
    last: str


class CurveChart(NamedTuple):
    """Epochs (x) against a loss or an accuracy (y)."""

    title: str
    curves: list[Curve]
    epoch_ticks: list[Tick]
    value_ticks: list[Tick]
    height: int = CURVES_HEIGHT
    width: int = CURVES_WIDTH
    left: int = LEFT
    right: int = CURVES_RIGHT


def curve_charts(history: Mapping[str, Sequence[float]]) -> list[CurveChart]:
    """Lay out a training's losses and accuracy, by the columns that `fit` returns.

    The losses have charts of their own, because that of the training images counts more than the
    true classes.
    """
    accuracy = {"training": history["accuracy"], "held out": history["validation_accuracy"]}
    percent = {name: [100 * value for value in column] for name, column in accuracy.items()}
    training, held_out = {"training": history["loss"]}, {"held out": history["validation_loss"]}
    epochs = history["epoch"]
    return [
        _curve_chart("training loss", epochs, training, MINIMUM_RANGE),
        _curve_chart("held-out loss", epochs, held_out, MINIMUM_RANGE),
        _curve_chart("top-1 in %", epochs, percent, 100 * MINIMUM_RANGE),
    ]


def _curve_chart(
    title: str,
    epochs: Sequence[float],
    columns: Mapping[str, Sequence[float]],
    minimum_range: float,
) -> CurveChart:
    values = [value for column in columns.values() for value in column]
    missing = max(0.0, minimum_range - (max(values) - min(values)))
    low, high = min(values) - missing / 2, max(values) + missing / 2
    first, last = epochs[0], max(epochs[-1], epochs[0] + 1)

    def x_of(epoch: float) -> float:
        return round(LEFT + (CURVES_RIGHT - LEFT) * (epoch - first) / (last - first), 1)

    def y_of(value: float) -> float:
        return round(CURVES_HEIGHT * (high - value) / (high - low), 1)

    return CurveChart(
        title,
        curves=[
            Curve(
                name,
                points=[(x_of(i), y_of(value)) for i, value in zip(epochs, column, strict=True)],
                first=f"{column[0]:.3g}",
                last=f"{column[-1]:.3g}",
            )
            for name, column in columns.items()
        ],
        epoch_ticks=[
            Tick(x_of(epoch), f"{epoch:g}")
            for epoch in round_values(first, last)
            if epoch in epochs
        ],
        value_ticks=[Tick(y_of(value), f"{value:g}") for value in round_values(low, high)],
    )


def operator_chart(ops: Sequence[dict[str, Any]]) -> OperatorChart | None:
    """Lay out the operators of a benchmark; None if none of them takes a time that can be told."""
    measured = [op for op in ops if op["ms"] is not None]
    slowest = max((op["ms"] for op in measured if op["resolved"]), default=0.0)
    if not slowest:
        return None
    longest = HEADROOM * slowest
    step = (WIDTH - LEFT) / len(measured)

    def y_of(ms: float) -> float:
        return round(PLOT_HEIGHT * (1 - min(max(ms / longest, 0.0), 1.0)), 1)

    bars = [
        Bar(
            op,
            x=round(LEFT + i * step, 1),
            width=round(0.8 * step, 1),
            y=y_of(op["ms"]),
            height=round(PLOT_HEIGHT - y_of(op["ms"]), 1),
            low_y=y_of(op["ms_ci95"][0]),
            high_y=y_of(op["ms_ci95"][1]),
        )
        for i, op in enumerate(measured)
        if op["resolved"]
    ]
    ticks = [Tick(y_of(value), f"{value:g}") for value in round_values(0, longest)]
    return OperatorChart(bars, ticks)


def size_accuracy_chart(stages: Sequence[dict[str, Any]]) -> Chart:
    """Lay out stages of a report by their top1, samples, size_bytes and stored_bytes."""
    intervals = [wilson_interval(stage["top1"], stage["samples"]) for stage in stages]
    low, high = accuracy_range(intervals)
    largest = 1.03 * max(max(stage["size_bytes"], stage["stored_bytes"] or 0) for stage in stages)
    unit_bytes, unit = (2**20, "MiB") if largest >= 2 * 2**20 else (2**10, "KiB")

    def x_of(size_bytes: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * size_bytes / largest, 1)

    def y_of(accuracy: float) -> float:
        return round(PLOT_HEIGHT * (high - accuracy) / (high - low), 1)

    marks = [
        Mark(
            stage,
            file_x=x_of(stage["size_bytes"]),
            stored_x=None if stage["stored_bytes"] is None else x_of(stage["stored_bytes"]),
            y=y_of(stage["top1"]),
            low_y=y_of(interval[0]),
            high_y=y_of(interval[1]),
        )
        for stage, interval in zip(stages, intervals, strict=True)
    ]
    stored_flags = _flags(
        [(m.stored_x, m.high_y, m.stage["name"]) for m in marks if m.stored_x is not None], -1
    )
    file_flags = _flags([(mark.file_x, mark.y, mark.stage["name"]) for mark in marks], 1)
    top = min((flag.y for flag in stored_flags), default=0) - ROW_HEIGHT
    axis = max(flag.y for flag in file_flags) + MARGIN
    return Chart(
        top=top,
        height=axis + AXIS_HEIGHT - top,
        axis=axis,
        size_unit=unit,
        size_ticks=[
            Tick(x_of(value * unit_bytes), f"{value:g}")
            for value in round_values(0, largest / unit_bytes)
        ],
        accuracy_ticks=[
            Tick(y_of(value / 100), f"{value:g} %") for value in round_values(100 * low, 100 * high)
        ],
        marks=marks,
        stored_flags=stored_flags,
        file_flags=file_flags,
    )


def accuracy_range(intervals: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return whole per cents that all intervals lie between."""
    low = floor(100 * min(interval[0] for interval in intervals)) / 100
    high = ceil(100 * max(interval[1] for interval in intervals)) / 100
    missing = max(0.0, MINIMUM_RANGE - (high - low))
    high = min(1.0, high + missing / 2)
    return max(0.0, min(low, high - MINIMUM_RANGE)), high


def round_values(low: float, high: float) -> list[float]:
    """Return the multiples of 1, 2 or 5 times a power of ten, at least four steps of them.

    >>> round_values(0, 875)
    [0.0, 200.0, 400.0, 600.0, 800.0]
    """
    power = 10.0 ** floor(log10((high - low) / 4))
    step = max(m * power for m in (1, 2, 5) if 4 * m * power <= (high - low) * (1 + 1e-9))
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return [round(i * step, 9) for i in range(first, last + 1)]


def _flags(anchors: Sequence[tuple[float, float, str]], direction: int) -> list[Flag]:
    """Name the marks (x, y, name) so that no flag covers another one or another's pole.

    Flags over the plot (`direction` -1) fly to the right and are placed from the right on, those
    under it (1) the other way round: a pole then passes only flags that begin beyond it.
    """
    groups: list[list[tuple[float, float, str]]] = []
    for anchor in sorted(anchors, key=lambda anchor: direction * anchor[0]):
        if groups and abs(groups[-1][0][0] - anchor[0]) < SAME_PLACE:
            groups[-1].append(anchor)
        else:
            groups.append([anchor])

    flags = []
    begins: list[float] = []  # by row, counted from the plot, of the flag placed last
    for group in groups:
        names = ", ".join(name for *_, name in sorted(group, key=anchors.index))
        begin = -direction * group[0][0]
        end = begin + CHARACTER_WIDTH * len(names) + FLAG_GAP
        row = next((r for r in range(len(begins)) if end <= min(begins[r:])), len(begins))
        begins[row : row + 1] = [begin]
        first_y = PLOT_HEIGHT + ROW_HEIGHT - 4 if direction > 0 else -4
        flags.append(
            Flag(
                names,
                x=group[0][0],
                y=first_y + direction * row * ROW_HEIGHT,
                mark_y=min(y for _, y, _ in group),
            )
        )
    return flags
