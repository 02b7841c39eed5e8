"""Codebooks: few integer codes for all weights of a kernel, found by k-means.

The codes that are shared are those of the int8 file, not float values. Sharing floats, as tfmot
does, is undone by BatchNorm folding and by one scale per channel: 32 values become more than a
hundred integers.

Source: Han et al. 2015, arXiv:1510.00149, section 3: linear initialisation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgenets.errors import EdgenetsError
from edgenets.models.codes import LARGEST_CODE, KernelCodes

MOST_ROUNDS = 300  # of k-means, which has settled before that


def share_codes(kernel: KernelCodes, clusters: int) -> KernelCodes:
    """Let a kernel use at most `clusters` distinct codes, zero included; zeros stay zero.

    The k-means minimises the squared error of the weights, so that a code counts by its channel's
    scale; one centroid is zero and stays there.

    >>> kernel = KernelCodes(np.int8([0, 1, 40, 41, 44, -120, 127]), np.float32([0.5]))
    >>> share_codes(kernel, 4).codes
    array([   0,    0,   42,   42,   42, -120,  127], dtype=int8)

    Raises:
        EdgenetsError: `clusters` is less than 2: zero and one other.
    """
    if clusters < 2:
        raise EdgenetsError(f"sharing needs at least 2 values, zero and one other, got {clusters}")
    codes, scale = kernel
    values = np.arange(-LARGEST_CODE, LARGEST_CODE + 1)
    squares = np.broadcast_to(np.square(scale, dtype=np.float64), codes.shape)
    places = codes.astype(np.int64) + LARGEST_CODE
    mass = np.bincount(places.ravel(), squares.ravel(), len(values))
    mass[LARGEST_CODE] = 0  # zeros are where they stay
    if not mass.any():
        return kernel
    present = values[mass > 0]
    centroids = _nonzero(np.linspace(present[0], present[-1], clusters))
    for _ in range(MOST_ROUNDS):
        codebook = np.sort(np.append(centroids, 0))
        nearest = _nearest(codebook, values)
        total, moment = (
            np.bincount(nearest, weights, len(codebook)) for weights in (mass, mass * values)
        )
        moved = np.divide(moment, total, out=codebook.astype(np.float64), where=total > 0)
        moved = moved[codebook != 0]
        if np.array_equal(moved, centroids):
            break
        centroids = moved
    codebook = np.unique(np.append(np.rint(centroids), 0)).astype(np.int8)
    shared = codebook[_nearest(codebook.astype(np.float64), values)]
    return KernelCodes(shared[places], scale)


def _nonzero(centroids: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leave out the centroid in whose place zero is."""
    return np.delete(centroids, np.abs(centroids).argmin())


def _nearest(codebook: NDArray[np.float64], values: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.searchsorted((codebook[1:] + codebook[:-1]) / 2, values)
