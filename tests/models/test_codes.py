"""Integer codes of kernels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgenets.errors import EdgenetsError
from edgenets.models.codes import Codes, Grid, from_tensors, quantize_kernel, to_tensors

FINITE = st.floats(-1e6, 1e6, width=32)
KERNELS = arrays.arrays(np.float32, arrays.array_shapes(min_dims=2, max_dims=4), elements=FINITE)


@given(KERNELS)
def test_codes_are_narrow_range_and_half_a_step_off_at_most(kernel: np.ndarray):
    codes, scale = quantized = quantize_kernel(kernel, axes=tuple(range(kernel.ndim - 1)))
    assert codes.dtype == np.int8 and codes.shape == kernel.shape
    assert np.abs(codes.astype(int)).max() <= 127
    assert scale.shape == (*(1,) * (kernel.ndim - 1), kernel.shape[-1])
    assert not codes[kernel == 0].any()
    # Three roundings of float32, each of at most half a unit in the last place of the largest.
    slack = 3 * 127 * scale * np.finfo(np.float32).eps
    assert (np.abs(kernel - quantized.values) <= scale / 2 + slack).all()


def test_channel_of_zeros_has_scale_one():
    kernel = np.float32([[0, 1], [0, -2]])
    codes, scale = quantize_kernel(kernel, axes=(0,))
    # 2 / 127 = 2^-5.99: the next sixteenth of an octave above is 2^-5.9375.
    np.testing.assert_array_equal(scale, np.float32([[1, 2**-5.9375]]))
    np.testing.assert_array_equal(codes, [[0, 61], [0, -123]])


def test_scales_are_few_and_hardly_coarser_than_needed():
    kernel = np.random.default_rng(0).normal(size=(32, 1000)).astype(np.float32)
    scale = quantize_kernel(kernel, axes=(0,)).scale
    coarser = scale / (np.abs(kernel).max(axis=0) / 127)
    assert coarser.min() >= 1 - 1e-6
    assert coarser.max() <= 2 ** (1 / 16) + 1e-6
    assert len(np.unique(scale)) < 32  # two octaves


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_kernel_that_is_not_finite_gets_a_sentence(bad: float):
    with pytest.raises(EdgenetsError, match="holds a NaN or an infinity"):
        quantize_kernel(np.float32([[1, bad]]), axes=(0,))


CODES = Codes(
    {"conv": quantize_kernel(np.ones((1, 1, 3, 2), np.float32), axes=(0, 1, 2))},
    {"conv": (Grid(0.5, -128), Grid(0.25, 3))},
)


def test_codes_are_read_as_they_were_written():
    read = from_tensors(to_tensors(CODES), "codes")
    assert read.activations == CODES.activations
    np.testing.assert_array_equal(read.kernels["conv"].values, CODES.kernels["conv"].values)


@pytest.mark.parametrize(
    "name, value",
    [
        ("kernel", np.full((1, 1, 3, 2), -128, np.int8)),
        ("kernel", np.ones((1, 1, 3, 2), np.int16)),
        ("kernel_scale", np.float32([[[[1, np.nan]]]])),
        ("kernel_scale", np.float32([[[[1, 3e38]]]])),  # 127 steps of it are infinite
        ("kernel_scale", np.float32([[[[1, 0]]]])),
        ("output_scale", np.float32([1, np.inf])),
        ("output_scale", np.float32([1, np.nan])),
        ("output_scale", np.float32([1, -1])),
        ("output_scale", np.float64([1, 1])),
        ("output_zero_point", np.int32([0, 128])),
        ("output_zero_point", np.int32([-129, 0])),
        ("output_zero_point", np.float32([0, np.nan])),
        ("output_zero_point", np.int32([0])),
        ("output_zero_point", np.int32([[0, 0]])),
    ],
)
def test_codes_out_of_range_are_refused(name: str, value: np.ndarray):
    with pytest.raises(EdgenetsError, match="codes is damaged; restore it or compress again"):
        from_tensors({**to_tensors(CODES), f"conv/{name}": value}, "codes")
