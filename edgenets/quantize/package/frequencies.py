"""Frequency tables for `rans`: how they are stored in a byte per symbol, and which ones pay.

A frequency is stored as a number of four significant bits, which costs next to nothing in coding
and makes tables small; the commonest symbol takes what the others leave of 2**13.

    0 to 7    the frequency itself; 0: the symbol does not occur
    8 + 8 e + m, up to 87    (8 + m) * 2**e, for m from 0 to 7
    255       the rest; once in each table

Rows of weights, such as output channels, that are distributed alike share a table: k-means over
their histograms, with the coded length as the distance, what naming the table takes included. Rows
of like entropy are together at first, or those of a tensor, which its own shared values may set
apart from others.

Source: Chou, Lookabaugh and Gray 1989, Entropy-constrained vector quantization.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets.quantize.package.rans import TOTAL, TOTAL_BITS

REST = 255
VALUES = np.array([*range(8), *((8 + m) << e for e in range(TOTAL_BITS - 3) for m in range(8))])
"""The frequency that each stored byte stands for, but for REST."""
TABLE_COUNTS = (1, 2, 4, 8, 16, 32)  # of rows of like entropy
MOST_TABLES = 256
MOST_ROUNDS = 12  # of k-means
SHRINK = 0.98
SELDOM = 0.5  # rows that a table which none has counts for

Table = NDArray[np.uint8]


class Tables(NamedTuple):
    """Tables and which rows they code."""

    stored: Table  # [tables, 256]
    rows: NDArray[np.uint8]  # [rows], a table each
    bits: float  # that coding the rows takes


def to_frequencies(stored: Table) -> NDArray[np.uint32]:
    """Return the frequencies of stored tables, [tables, 256].

    Raises:
        ValueError: a byte has no meaning, or a table has not exactly one rest, or leaves it none.
    """
    rest = stored == REST
    if not np.all(rest | (stored < len(VALUES))) or not np.all(rest.sum(axis=1) == 1):
        raise ValueError("a frequency table is damaged")
    frequencies = VALUES[np.where(rest, 0, stored)]
    left = TOTAL - frequencies.sum(axis=1)
    if np.any(left < 1):
        raise ValueError("the frequencies of a table are too large")
    frequencies[rest] = left
    return frequencies.astype(np.uint32)


def to_table(counts: NDArray[Any]) -> Table:
    """Return the stored table, [256], for symbols that occur so often; one must."""
    rest = int(np.argmax(counts))
    wanted = counts * (TOTAL / counts.sum())
    while True:
        codes = np.searchsorted((VALUES[1:] + VALUES[:-1]) / 2, wanted, side="right")
        codes = np.where(counts > 0, np.maximum(codes, 1), 0)
        codes[rest] = 0
        if VALUES[codes].sum() < TOTAL:
            break
        wanted = wanted * SHRINK
    codes[rest] = REST
    return codes.astype(np.uint8)


def first_groups(
    histograms: NDArray[np.int64], tensors: NDArray[np.intp]
) -> list[NDArray[np.intp]]:
    """Return groups of rows, [rows] each, that tables may begin with.

    Args:
        histograms: [rows, 256], none empty.
        tensors: [rows], the number of each one's tensor, in order.
    """
    entropy = _entropy(histograms)
    _, firsts, sizes = np.unique(tensors, return_index=True, return_counts=True)
    order = np.lexsort((entropy, tensors))
    in_tensor = np.empty_like(order)
    in_tensor[order] = np.arange(len(order)) - firsts[tensors]
    halves = 2 * tensors + 2 * in_tensor // sizes[tensors]
    groups = [*(_like(entropy, count) for count in TABLE_COUNTS), tensors, halves]
    return [group for group in groups if group.max() < MOST_TABLES]


def by_entropy(histograms: NDArray[np.int64], count: int) -> NDArray[np.intp]:
    """Return `count` groups of rows of like entropy, [rows]."""
    return _like(_entropy(histograms), count)


def choose_tables(histograms: NDArray[np.int64], groups: NDArray[np.intp]) -> Tables:
    """Return tables for rows with these histograms, [rows, 256], none empty.

    Args:
        histograms: how often each byte occurs.
        groups: [rows], which rows have a table in common at first.
    """
    counts = histograms.astype(np.float64)
    rows = _improve(counts, groups, int(groups.max()) + 1)
    used, rows = np.unique(rows, return_inverse=True)
    merged = _merge(counts, rows, len(used))
    tables = np.stack([to_table(each) for each in merged])
    return Tables(tables, rows.astype(np.uint8), float(_bits(merged, to_frequencies(tables)).sum()))


def _improve(counts: NDArray[np.float64], rows: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """Return the table of each row after k-means."""
    for _ in range(MOST_ROUNDS if count > 1 else 0):
        merged = _merge(counts, rows, count)
        merged[merged.sum(axis=1) == 0, 0] = 1  # of no row
        frequencies = to_frequencies(np.stack([to_table(each) for each in merged]))
        bits = counts @ -np.log2(_smoothed(frequencies)).T
        # To say which table a row has costs bits, too: fewer where many have the same.
        shares = np.bincount(rows, minlength=count) + SELDOM
        moved = (bits - np.log2(shares / len(rows))).argmin(axis=1)
        if np.array_equal(moved, rows):
            break
        rows = moved
    return rows


def _merge(counts: NDArray[np.float64], rows: NDArray[np.intp], count: int) -> NDArray[np.float64]:
    """Return the histogram of all rows that have the same table, [count, 256]."""
    return np.stack([counts[rows == i].sum(axis=0) for i in range(count)])


def _smoothed(frequencies: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Return probabilities of which none is zero, so that a row may move to any table."""
    return np.maximum(frequencies, 0.25) / TOTAL


def _like(entropy: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    places = np.argsort(np.argsort(entropy, kind="stable"), kind="stable")
    return places * count // len(places)


def _entropy(histograms: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the bits that a symbol of each row takes, [rows]."""
    return _bits(histograms, histograms) / histograms.sum(axis=1)


def _bits(counts: NDArray[Any], frequencies: NDArray[Any]) -> NDArray[np.float64]:
    """Return the bits that symbols so frequent take, [rows], coded by `frequencies`."""
    shares = frequencies / np.maximum(frequencies.sum(axis=1, keepdims=True), 1)
    logarithms = np.log2(shares, out=np.zeros(shares.shape), where=counts > 0)
    return -(counts * logarithms).sum(axis=1)
