"""Draw where an int8 file's error comes from: a row per layer, in the order of execution."""

from __future__ import annotations

import io
from collections.abc import Sequence

from edgenets.export.measure.promises import MAXIMUM_SNR_DB
from edgenets.export.report.layer_errors import LayerError, worst_layers
from edgenets.packages import missing_package

try:
    from matplotlib import rc_context
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
except ImportError as error:
    raise missing_package("matplotlib") from error

# In inches; the margins are over and under the rows, the padding beside them.
WIDTH, ROW_HEIGHT, MARGINS, PADDING = 8.5, 0.19, 1.3, 0.12
NAMED = 3
"""How many of the worst layers stand out."""
OWN, WORST, TOTAL, KERNEL = "#2b7bba", "#c0392b", "#e07b39", "#9a9a9a"


def draw_errors(errors: Sequence[LayerError]) -> bytes:
    """Return an SVG file; its bytes depend on the errors and matplotlib's version only."""
    with rc_context({"svg.hashsalt": "edgenets", "svg.fonttype": "none"}):
        file = io.BytesIO()
        metadata = {"Date": None, "Description": _describe(errors)}
        _figure(errors).savefig(file, format="svg", metadata=metadata)
        return file.getvalue()


def _describe(errors: Sequence[LayerError]) -> str:
    """Return the points in words."""
    return "; ".join(
        f"{e.layer}: {e.snr_db} dB, own {e.own_snr_db} dB, kernel {e.weight_snr_db} dB"
        for e in errors
    )


def _figure(errors: Sequence[LayerError]) -> Figure:
    worst = worst_layers(errors, NAMED)
    figure = Figure(
        figsize=(WIDTH, MARGINS + ROW_HEIGHT * len(errors)),
        layout=ConstrainedLayoutEngine(w_pad=PADDING),
    )
    axes = figure.subplots()
    rows = list(enumerate(errors))
    total = [(error.snr_db, row) for row, error in rows]
    own = [(error.own_snr_db, row) for row, error in rows if error not in worst]
    largest = [(error.own_snr_db, row) for row, error in rows if error in worst]
    kernels = [(e.weight_snr_db, row) for row, e in rows if e.weight_snr_db is not None]
    _plot(axes, total, TOTAL, "", "all error up to here", linestyle="-")
    _plot(axes, own, OWN, "o", "the layer's own error")
    _plot(axes, largest, WORST, "D", f"the {len(worst)} largest own errors")
    _plot(axes, kernels, KERNEL, "|", "of its kernel alone")
    axes.set_yticks(range(len(errors)), [error.layer for error in errors], fontsize=8)
    for error, label in zip(errors, axes.get_yticklabels(), strict=True):
        label.set_color(WORST if error in worst else "black")
    axes.set_ylim(len(errors) - 0.4, -0.6)
    axes.set_xlabel("signal-to-noise ratio, dB (further left: more error)")
    axes.tick_params(axis="x", top=True, labeltop=True)
    axes.grid(color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    return figure


def _plot(
    axes: Axes,
    points: Sequence[tuple[float, int]],
    colour: str,
    marker: str,
    label: str,
    linestyle: str = "",
) -> None:
    """Plot the points (dB, row), but for those without any error."""
    shown = [(snr_db, row) for snr_db, row in points if snr_db < MAXIMUM_SNR_DB]
    x, y = [snr_db for snr_db, _ in shown], [row for _, row in shown]
    axes.plot(x, y, color=colour, marker=marker, label=label, linestyle=linestyle)
