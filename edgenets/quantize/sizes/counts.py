"""How many bytes, zeros and distinct values a model has: what the ratios are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets.quantize.package.epk import pack


def stored_bytes(content: bytes) -> int:
    """Return what a file takes when it travels: the size of its package (.epk).

    Raises:
        EdgenetsError: it is too large for one.
    """
    return len(pack(content))


def entropy_bytes(codes: NDArray[np.integer[Any]]) -> float:
    """Return the bytes that integers take at least if each is coded on its own: their entropy.

    >>> entropy_bytes(np.int8([0, 0, 1, 1, 2, 2, 3, 3]))
    2.0
    """
    return entropy_bytes_of_counts(np.unique(codes, return_counts=True)[1])


def entropy_bytes_of_counts(counts: NDArray[np.integer[Any]]) -> float:
    """Return `entropy_bytes` of values of which each distinct one comes so often, at least once.

    >>> entropy_bytes_of_counts(np.array([4, 4, 4, 4]))
    4.0
    """
    return max(0.0, float(-np.sum(counts * np.log2(counts / counts.sum()))) / 8)


def count_nonzero(arrays: Sequence[NDArray[Any]]) -> int:
    """Return how many values of all `arrays` together are not zero."""
    return sum(int(np.count_nonzero(array)) for array in arrays)


def sparsity(arrays: Sequence[NDArray[Any]]) -> float:
    """Return the fraction of zeros among all values of `arrays`; 0.0 when there are none.

    >>> sparsity([np.float32([0, 1]), np.float32([0, 0])])
    0.75
    """
    size = sum(array.size for array in arrays)
    return 1 - count_nonzero(arrays) / size if size else 0.0


def distinct_values(arrays: Sequence[NDArray[Any]]) -> int:
    """Return the most distinct values, zero included, that one of `arrays` holds; 0 without any.

    >>> distinct_values([np.int8([1, 0, 1]), np.int8([3, 3])])
    2
    """
    return max((len(_unique(array)) for array in arrays), default=0)


def _unique(array: NDArray[Any]) -> NDArray[Any]:
    # NumPy 2.4 sorts large arrays of float16 wrongly on some processors.
    return np.unique(array.astype(np.float32) if array.dtype == np.float16 else array)
