"""The sensitivity of a net's layers as a picture, and what was chosen.

Each layer is a row, in the net's order; a cell is darker the more the net's answers diverge if that
layer alone is compressed so. The bars show what the layer takes before and after.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from itertools import accumulate

import numpy as np

from edgenets.packages import missing_package
from edgenets.quantize.budget.choice import MOST_CLUSTERS, Choice
from edgenets.quantize.budget.sensitivity import CLUSTERS, SPARSITIES, Sensitivity

try:
    from matplotlib import rc_context
    from matplotlib.axes import Axes
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from matplotlib.patches import Rectangle
except ImportError as error:
    raise missing_package("matplotlib") from error

LEAST, MOST = 1e-4, 1.0  # nats; beyond, colours do not change
BEFORE, AFTER, CHOSEN = "#c9d3dc", "#2f5d8a", "#c8401e"

# In inches.
ROW, COLUMN, LETTER = 0.21, 0.42, 0.078
GAP, TOP, BOTTOM, BAR_HEIGHT, SIZES_WIDTH = 0.15, 0.75, 0.6, 0.09, 2.6


def draw_sensitivity(layers: Mapping[str, Sensitivity], choice: Choice) -> bytes:
    """Return an SVG file, the same for the same values.

    Args:
        layers: in the net's order.
        choice: an option of each layer.
    """
    sparsities = (0.0, *SPARSITIES)
    left = LETTER * max(map(len, layers)) + GAP
    widths = (COLUMN * len(sparsities), COLUMN * len(CLUSTERS), SIZES_WIDTH)
    size = (left + sum(widths) + 3 * GAP, TOP + ROW * len(layers) + BOTTOM)
    with rc_context({"svg.hashsalt": "edgenets", "svg.fonttype": "none", "font.size": 8}):
        figure = Figure(figsize=size)

        def axes_at(x: float, y: float, width: float, height: float) -> Axes:
            place = (x / size[0], y / size[1], width / size[0], height / size[1])
            return figure.add_axes(place)

        starts = accumulate((width + GAP for width in widths), initial=left)
        pruning, sharing, sizes = (
            axes_at(x, BOTTOM, width, ROW * len(layers))
            for x, width in zip(starts, widths, strict=False)
        )
        cells = [[layer.pruning.get(s, np.nan) for s in sparsities] for layer in layers.values()]
        chosen = [sparsities.index(choice[name].sparsity) for name in layers]
        _draw_cells(pruning, cells, chosen, [f"{100 * s:.0f} %" for s in sparsities], "zeros")
        cells = [[layer.sharing[k] for k in CLUSTERS] for layer in layers.values()]
        chosen = [CLUSTERS.index(choice[name].clusters) for name in layers]
        names = ["all" if k == MOST_CLUSTERS else str(k) for k in CLUSTERS]
        image = _draw_cells(sharing, cells, chosen, names, "values")
        pruning.set_yticks(range(len(layers)), list(layers))
        _draw_sizes(sizes, layers, choice)
        scale = axes_at(left, size[1] - TOP / 2, widths[0] + GAP + widths[1], BAR_HEIGHT)
        figure.colorbar(image, cax=scale, orientation="horizontal", extend="both")
        scale.set_title("divergence of the answers if one layer is compressed, nats", fontsize=8)
        file = io.BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def _draw_cells(
    axes: Axes, cells: list[list[float]], chosen: list[int], names: list[str], title: str
) -> AxesImage:
    """Draw a row of cells for each layer, and frame the chosen one if there are others."""
    norm = LogNorm(LEAST, MOST, clip=True)
    values = np.maximum(cells, LEAST)  # zero has no logarithm
    image = axes.imshow(values, cmap="Greys", norm=norm, aspect="auto", interpolation="nearest")
    for row, column in enumerate(chosen):
        if np.isfinite(cells[row]).sum() > 1:
            place = (column - 0.43, row - 0.4)
            axes.add_patch(Rectangle(place, 0.86, 0.8, fill=False, color=CHOSEN, linewidth=1.4))
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks([])
    axes.set_xlabel(f"{title} (framed: chosen)")
    axes.tick_params(left=False, bottom=False)
    axes.spines[:].set_visible(False)
    return image


def _draw_sizes(axes: Axes, layers: Mapping[str, Sensitivity], choice: Choice) -> None:
    rows = range(len(layers))
    before = [layer.size_bytes[0.0][MOST_CLUSTERS] / 1024 for layer in layers.values()]
    after = [choice[name].size_bytes / 1024 for name in layers]
    axes.barh(rows, before, height=0.7, color=BEFORE, label="int8")
    axes.barh(rows, after, height=0.7, color=AFTER, label="chosen")
    axes.set_ylim(len(layers) - 0.5, -0.5)
    axes.set_yticks([])
    axes.set_xlabel("entropy of the integers, KiB")
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    axes.spines[["top", "right", "left"]].set_visible(False)
