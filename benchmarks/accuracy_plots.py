"""Plot the published accuracy of the nets over their parameters and over their MACs.

`benchmarks/architectures.py` writes the plots into docs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from edgenets.models.variants import VARIANTS, Variant

EVIDENCE = Path(__file__).parents[1] / "docs" / "evidence"


class Look(NamedTuple):
    """How a net is drawn: a colour and marker per family, a shade per net."""

    colour: str
    marker: str


LOOKS = {
    "mobilenet_v1": Look("#123f73", "o"),
    "mobilenet_v2": Look("#2b7bba", "o"),
    "mobilenet_v3_large": Look("#17a2b8", "o"),
    "mobilenet_v3_small": Look("#17a2b8", "o"),
    "inception_v1": Look("#e07b39", "s"),
    "inception_v3": Look("#c04e17", "s"),
    "xception": Look("#8f3a11", "s"),
    "squeezenet": Look("#2f8a3c", "^"),
    "shufflenet_v1": Look("#5e2a84", "D"),
    "shufflenet_v2": Look("#a64ac9", "D"),
    "alexnet": Look("#6b6b6b", "X"),
    "vgg16": Look("#6b6b6b", "X"),
}
# Where a net's name stands, in points from its most accurate variant; left of it if negative.
LABELS = {
    "params": {
        "mobilenet_v1": (9, -3),
        "mobilenet_v2": (9, -10),
        "mobilenet_v3_large": (-9, 3),
        "mobilenet_v3_small": (120, -38),
        "inception_v1": (9, -3),
        "inception_v3": (9, -8),
        "xception": (9, 0),
        "squeezenet": (-70, 16),
        "shufflenet_v1": (-75, 14),
        "shufflenet_v2": (9, 2),
        "alexnet": (-9, -3),
        "vgg16": (-9, -3),
    },
    "macs": {
        "mobilenet_v1": (9, -3),
        "mobilenet_v2": (9, -10),
        "mobilenet_v3_large": (-9, 0),
        "mobilenet_v3_small": (-9, 0),
        "inception_v1": (9, -3),
        "inception_v3": (-9, -8),
        "xception": (-9, 2),
        "squeezenet": (9, 3),
        "shufflenet_v1": (80, -75),
        "shufflenet_v2": (9, 2),
        "alexnet": (-9, -3),
        "vgg16": (-9, -3),
    },
}
FAR = 30  # points from which on a line leads to the name
PLOTS = {"params": "parameters", "macs": "MACs"}  # of a variant -> label of the axis


def plot_path(cost: str) -> Path:
    return EVIDENCE / f"accuracy_over_{cost}.svg"


def arguments_of(variant: Variant) -> str:
    return " ".join(f"{key}={value}" for key, value in variant.arguments.items())


def percent(variant: Variant) -> float:
    return 100 * (variant.top1_published or 0)


def plotted() -> list[Variant]:
    """Return the variants whose accuracy is published."""
    return [v for v in VARIANTS if v.top1_published is not None]


def describe_points(cost: str) -> str:
    """Return the points of a plot in words: its SVG file holds them, and a test compares."""
    return "; ".join(
        f"{v.name} {arguments_of(v)} {v.resolution}: {getattr(v, cost)}, {v.top1_published}"
        for v in plotted()
    )


def draw(cost: str) -> Figure:
    """Draw published top-1 over a cost; lines join the widths of a net at its full resolution."""
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    axes = figure.subplots()
    for name, look in LOOKS.items():
        nets = [v for v in plotted() if v.name == name]
        full = [v for v in nets if v.resolution == max(v.resolution for v in nets)]
        style = {"color": look.colour, "marker": look.marker}
        for _, line in itertools.groupby(sorted(full, key=_all_but_width), key=_all_but_width):
            axes.plot(*_points(line, cost), linewidth=1.2, **style)
        smaller = _points((v for v in nets if v not in full), cost)
        axes.plot(*smaller, linestyle="", markerfacecolor="white", markersize=4.5, **style)
        best = max(nets, key=percent)
        _annotate(axes, name, (getattr(best, cost), percent(best)), LABELS[cost][name])
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlabel(f"{PLOTS[cost]} (logarithmic)")
    axes.set_ylabel("published top-1 on ImageNet, %")
    axes.grid(color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def save(cost: str) -> None:
    """Write a plot: an SVG file whose bytes depend on its points and matplotlib's version only."""
    with rc_context({"svg.hashsalt": "edgenets", "svg.fonttype": "none"}):
        metadata = {"Date": None, "Description": describe_points(cost)}
        draw(cost).savefig(plot_path(cost), metadata=metadata)


def _all_but_width(variant: Variant) -> str:
    """Return what the variants on one line share."""
    return str({k: v for k, v in variant.arguments.items() if k not in ("width", "scale")})


def _points(variants: Iterable[Variant], cost: str) -> tuple[list[int], list[float]]:
    points = [(getattr(v, cost), percent(v)) for v in variants]
    return [x for x, _ in points], [y for _, y in points]


def _annotate(axes: Axes, name: str, point: tuple[float, float], offset: tuple[int, int]) -> None:
    colour = LOOKS[name].colour
    leader = {"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkB": 4}
    axes.annotate(
        name,
        point,
        xytext=offset,
        textcoords="offset points",
        horizontalalignment="right" if offset[0] < 0 else "left",
        color=colour,
        arrowprops=leader if abs(offset[0]) > FAR else None,
    )
