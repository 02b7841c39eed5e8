"""Huffman codes: how long each symbol's code is, and what a stream coded so takes.

The lengths are all that a canonical code needs: codes of equal length are consecutive numbers in
the order of the symbols. A stream of one symbol takes no bits, since its length is known.

Source: Huffman 1952; Han et al. 2015, arXiv:1510.00149, section 4.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import ArrayLike, NDArray


def code_lengths(counts: ArrayLike) -> NDArray[np.int64]:
    """Return how many bits the code of each symbol has in a shortest prefix code.

    Args:
        counts: [symbols], how often each symbol occurs.

    Returns:
        [symbols], bits; 0 for a symbol that does not occur, and for one that is alone.

    >>> code_lengths([4, 0, 1, 2, 1])
    array([1, 0, 3, 2, 3])
    """
    counts = np.asarray(counts)
    used = np.flatnonzero(counts)
    nodes = max(2 * len(used) - 1, 0)  # the symbols that occur, then each pair that is joined
    heap = list(zip(counts[used].tolist(), range(len(used)), strict=True))
    heapq.heapify(heap)
    parents = np.zeros(nodes, np.int64)
    for parent in range(len(used), nodes):
        (one, left), (other, right) = heapq.heappop(heap), heapq.heappop(heap)
        parents[[left, right]] = parent
        heapq.heappush(heap, (one + other, parent))
    depths = np.zeros(nodes, np.int64)
    for node in reversed(range(nodes - 1)):  # the last one is the root
        depths[node] = depths[parents[node]] + 1
    lengths = np.zeros(counts.shape, np.int64)
    lengths[used] = depths[: len(used)]
    return lengths


def coded_bits(counts: ArrayLike) -> int:
    """Return the bits of a stream in which symbol `i` occurs `counts[i]` times, Huffman coded.

    >>> coded_bits([4, 0, 1, 2, 1])
    14
    """
    return int(np.sum(np.asarray(counts) * code_lengths(counts)))
