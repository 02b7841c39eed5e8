"""Ranges of activations, and their rounding to 256 steps.

Source: Nagel et al. 2021, arXiv:2106.08295, section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgenets.models.codes import Grid

# Of a layer's output that a range is chosen from. Drawn at random: every n-th value could be always
# of the same channels.
MOST_VALUES, MOST_MSE_VALUES = 1_000_000, 100_000
MSE_STEPS = np.linspace(0.2, 1.0, 81)  # of the whole range

Array = NDArray[np.float32]
ActivationRange = tuple[float, float]
ChooseRange = Callable[[Array], ActivationRange]


def mse_range(values: Array) -> ActivationRange:
    """Return the part of the whole range whose 256 steps have the least mean squared error."""
    drawn = sample(values, MOST_MSE_VALUES)

    def error(part: float) -> float:
        grid = to_grid(part * values.min(), part * values.max())
        return float(np.mean((round_to(grid, drawn) - drawn) ** 2))

    best = min(MSE_STEPS, key=error)
    return float(best * values.min()), float(best * values.max())


def sample(values: Array, most: int) -> Array:
    """Return at most `most` of the values, drawn at random, with the least and the largest one."""
    if len(values) <= most:
        return values
    drawn = np.random.default_rng(0).integers(len(values), size=most)
    return np.append(values[drawn], (values.min(), values.max()))


def to_grid(low: float, high: float) -> Grid:
    """Return the grid of 256 steps from `low` to `high`, of which 0.0 is one."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max((high - low) / 255, 1e-8)
    return Grid(float(np.float32(scale)), int(np.clip(round(-128 - low / scale), -128, 127)))


def round_to(grid: Grid, values: Array) -> Array:
    """Return the values that the grid has nearest to `values`."""
    codes = np.clip(np.rint(values / grid.scale) + grid.zero_point, -128, 127)
    return ((codes - grid.zero_point) * grid.scale).astype(np.float32)
