from __future__ import annotations

import numpy as np

from edgenets.quantize.package.epk import pack
from edgenets.quantize.sizes.counts import count_nonzero, distinct_values, sparsity, stored_bytes


def test_stored_bytes_is_the_size_of_the_package():
    content = np.random.default_rng(0).integers(0, 40, 50_000, dtype=np.uint8).tobytes()
    assert stored_bytes(content) == len(pack(content))


def test_counts_over_several_arrays():
    arrays = [np.float32([0, 1, 2]), np.float32([[0, 0, 3]])]
    assert count_nonzero(arrays) == 3
    assert sparsity(arrays) == 0.5
    assert distinct_values(arrays) == 3


def test_nothing_has_no_zeros_and_no_values():
    assert (count_nonzero([]), sparsity([]), distinct_values([])) == (0, 0.0, 0)
