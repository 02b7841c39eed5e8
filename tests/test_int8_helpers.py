"""The helpers of int8 that benchmarks/int8_helpers.py measures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from int8_methods import (
    correct_biases,
    equalize,
    percentile_range,
    with_kernels,
    without_relu6,
)

from edgenets.models.backend import keras
from edgenets.models.codes import Codes
from edgenets.models.fold import fold_batch_norm
from edgenets.quantize.rate.activation_ranges import mse_range, round_to, to_grid
from edgenets.quantize.stages.codebook import share_codes
from edgenets.quantize.stages.int8 import quantize_kernels

IMAGES = np.random.default_rng(0).uniform(-1, 1, (50, 8, 8, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def model(build_net: Callable) -> keras.Model:
    return without_relu6(fold_batch_norm(build_net()))


@given(st.floats(-100, 100), st.floats(-100, 100))
def test_grid_holds_zero_and_reaches_its_range(a: float, b: float):
    low, high = min(a, b), max(a, b)
    grid = to_grid(low, high)
    values = np.float32([0, low, high])
    np.testing.assert_allclose(round_to(grid, values), values, atol=grid.scale)
    assert round_to(grid, values)[0] == 0


def test_ranges_leave_rare_values_out():
    values = np.append(np.random.default_rng(0).normal(size=100_000), [300, -300])
    values = values.astype(np.float32)
    low, high = percentile_range(99.9)(values)
    assert -5 < low < -2 and 2 < high < 5
    low, high = mse_range(values)  # steps of 2.4 for all of it cost more than two values clipped
    assert -300 < low < -100 and 100 < high < 300


def test_equalized_net_computes_the_same_with_more_even_channels(model: keras.Model):
    uneven = fold_batch_norm(model)
    factor = np.geomspace(0.01, 100, 8).astype(np.float32)
    conv, pointwise = uneven.get_layer("conv"), uneven.get_layer("pointwise")
    conv.kernel.assign(conv.kernel * factor)
    conv.bias.assign(conv.bias * factor)
    pointwise.kernel.assign(pointwise.kernel / factor[:, np.newaxis])
    even = equalize(uneven)
    np.testing.assert_allclose(even(IMAGES), model(IMAGES), rtol=1e-3, atol=1e-5)
    largest = np.abs(even.get_layer("conv").kernel).max(axis=(0, 1, 2))
    inputs = np.abs(even.get_layer("pointwise").kernel).max(axis=(0, 1, 3))
    np.testing.assert_allclose(largest, inputs, rtol=1e-4)


def test_corrected_biases_take_the_mean_error_away(model: keras.Model):
    kernels = quantize_kernels(fold_batch_norm(model))
    coarse = {name: share_codes(kernel, 4) for name, kernel in kernels.items()}
    rounded = with_kernels(model, coarse)
    corrected = with_kernels(correct_biases(model, Codes(coarse, {}), IMAGES), coarse)
    exact = model(IMAGES).numpy().mean(axis=0)
    assert np.abs(rounded(IMAGES).numpy().mean(axis=0) - exact).max() > 1e-3
    np.testing.assert_allclose(corrected(IMAGES).numpy().mean(axis=0), exact, atol=1e-5)
