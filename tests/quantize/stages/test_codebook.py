"""k-means on integer codes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgenets.errors import EdgenetsError
from edgenets.models.codes import KernelCodes, quantize_kernel
from edgenets.quantize.stages.codebook import share_codes

CODES = arrays.arrays(np.int8, st.integers(1, 60), elements=st.integers(-127, 127))
ONE = np.ones(1, np.float32)


def error(kernel: KernelCodes, shared: KernelCodes) -> float:
    return float(np.sum((kernel.values - shared.values).astype(np.float64) ** 2))


@given(CODES, st.integers(2, 40))
def test_few_codes_are_left_and_zeros_stay_zero(codes: np.ndarray, clusters: int):
    shared = share_codes(KernelCodes(codes, ONE), clusters)
    assert shared.codes.dtype == np.int8
    assert len(np.unique(np.append(shared.codes, 0))) <= clusters
    assert not shared.codes[codes == 0].any()
    assert np.abs(shared.codes.astype(int)).max() <= np.abs(codes.astype(int)).max()


@given(CODES)
def test_codes_that_are_few_enough_stay_as_they_are(codes: np.ndarray):
    kernel = KernelCodes(codes, ONE)
    few = share_codes(kernel, 8)
    np.testing.assert_array_equal(share_codes(few, 255).codes, few.codes)


def test_more_values_leave_less_error():
    kernel = quantize_kernel(
        np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32), (0,)
    )
    errors = [error(kernel, share_codes(kernel, clusters)) for clusters in (2, 4, 8, 16, 32, 64)]
    assert errors == sorted(errors, reverse=True)
    # 31 values and zero against a grid of as many equal steps over [-127, 127].
    step = 254 / 31
    uniform = kernel._replace(codes=np.rint(np.rint(kernel.codes / step) * step).astype(np.int8))
    assert errors[4] < error(kernel, uniform)


def test_a_channel_counts_by_its_scale():
    both = share_codes(KernelCodes(np.int8([[20, 30]]), np.float32([[10, 1]])), 2)
    np.testing.assert_array_equal(both.codes, [[20, 20]])  # (100 * 20 + 1 * 30) / 101 = 20.1


def test_kernel_of_zeros_stays_one():
    kernel = KernelCodes(np.zeros((2, 3), np.int8), ONE[np.newaxis])
    assert not share_codes(kernel, 4).codes.any()


@pytest.mark.parametrize("clusters", [-1, 0, 1])
def test_fewer_than_two_values_get_a_sentence(clusters: int):
    with pytest.raises(EdgenetsError, match="at least 2 values, zero and one other, got"):
        share_codes(KernelCodes(np.int8([1]), ONE), clusters)
