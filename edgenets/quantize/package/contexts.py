"""Which tables code a byte: its row's, and what bytes that are known already tell of its size.

A row has a family of eight tables, one for each class of a context (many may be the same one):

    NONE      the first table of the family
    COLUMN    how large the codes above are, those of earlier lines in the same column: after n
              lines, the sum of their magnitudes in units of their families is compared with what
              n lines have on average, in octaves; channels that do little have small codes
    BITS      of the byte in the base file, or of the part of an integer that is known: the bits
              that it takes, 7 at most

Everything is computed from integers. Encoder and decoder walk in the same way.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets.quantize.package.frequencies import VALUES
from edgenets.quantize.package.rans import SYMBOLS

NONE, COLUMN, BITS = range(3)
CLASSES = 8
BATCH_BYTES = 1 << 12  # of lines whose context is the same
MOST_WIDTH = 1 << 16  # of a line with sums: they take memory
UNIT = 256  # what a code of a family's mean magnitude counts
LARGEST = 16 * UNIT  # that any code counts
UNIT_STEPS = 16  # in which a family's mean magnitude is stored
PRIOR_LINES = 2  # of the mean, before the first
# A class begins where the mean of a column is 1/8, 1/4, 1/2, 1, 2, 4 and 8 times the family's.
BOUNDS = UNIT * 2 ** np.arange(CLASSES - 1, dtype=np.int64) // 8
MAGNITUDES = np.abs(np.arange(SYMBOLS).astype(np.uint8).view(np.int8).astype(np.int64))
MOST_KNOWN = 1 << (CLASSES - 2)  # a number of 7 bits
BIT_CLASSES = np.array([min(n.bit_length(), CLASSES - 1) for n in range(SYMBOLS)], np.uint8)
BASE_CLASSES = BIT_CLASSES.take(MAGNITUDES)

Bytes = NDArray[np.uint8]


class Matrix(NamedTuple):
    """Symbols that are coded together: lines, one after the other."""

    shape: tuple[int, int]  # lines and symbols of each
    families: Bytes  # of each line, [lines, 1], or of each of its symbols, [1, n]
    context: int
    known: Bytes  # with BITS of the base file: the class of each symbol, [lines, n]; else empty

    @property
    def size(self) -> int:
        """How many symbols it has."""
        return self.shape[0] * self.shape[1]


def walk(
    matrices: Iterable[Matrix],
    labels: NDArray[Any],
    units: Bytes,
    step: Callable[[NDArray[Any]], Bytes],
) -> list[Bytes]:
    """Return the symbols of all matrices, [lines, n] each, as `step` gives them.

    Args:
        matrices: in the order in which they are coded.
        labels: of each family's classes, [families, 8], such as their tables.
        units: the stored mean magnitude of each family.
        step: from the labels of a batch, [n], to its symbols.
    """
    norms = _norms(units)
    found: list[Bytes] = []
    for has_context, run in itertools.groupby(matrices, lambda each: each.context != NONE):
        if not has_context:
            found += _without_context(list(run), labels, step)
            continue
        for matrix in run:
            if matrix.context == COLUMN:
                found.append(_by_column(matrix, labels, norms, step))
            elif matrix.known.size:
                found.append(_by_base(matrix, labels, step))
            else:
                found.append(_by_bits(matrix, labels, step))
    return found


def to_unit(mean: float) -> int:
    """Return the byte that stores a family's mean magnitude."""
    return int(np.abs(VALUES - UNIT_STEPS * mean).argmin())


def base_classes(codes: Bytes) -> Bytes:
    """Return the class of each code of the base file, as `BITS` has it."""
    return BASE_CLASSES[codes]


def _norms(units: Bytes) -> NDArray[np.int64]:
    """Return what each code counts in each family, [families, 256]."""
    means = np.maximum(VALUES.take(units), 1)[:, np.newaxis]
    counted: NDArray[np.int64] = np.minimum(MAGNITUDES * UNIT_STEPS * UNIT // means, LARGEST)
    return counted


def _labels(labels: NDArray[Any], families: Bytes, classes: NDArray[Any]) -> NDArray[Any]:
    return labels.take(families.astype(np.intp) * CLASSES + classes)


def _without_context(
    matrices: list[Matrix], labels: NDArray[Any], step: Callable[[NDArray[Any]], Bytes]
) -> list[Bytes]:
    """Code matrices as one batch."""
    sizes = [matrix.size for matrix in matrices]
    batch = np.empty(sum(sizes), labels.dtype)
    ends = list(itertools.accumulate(sizes))
    first = np.ascontiguousarray(labels[:, 0])
    for matrix, end in zip(matrices, ends, strict=True):
        part = batch[end - matrix.size : end].reshape(matrix.shape)
        part[:] = first.take(matrix.families)
    parts = np.split(step(batch), ends[:-1])
    return [part.reshape(matrix.shape) for part, matrix in zip(parts, matrices, strict=True)]


def _by_column(
    matrix: Matrix,
    labels: NDArray[Any],
    norms: NDArray[np.int64],
    step: Callable[[NDArray[Any]], Bytes],
) -> Bytes:
    lines, width = matrix.shape
    found = np.empty(matrix.shape, np.uint8)
    sums = np.full(width, PRIOR_LINES * UNIT, np.int64)
    first = 0
    while first < lines:
        count = min(max(1, first), max(1, BATCH_BYTES // width), lines - first)
        part = slice(first, first + count)
        families = matrix.families[part] if len(matrix.families) > 1 else matrix.families
        classes = np.searchsorted(BOUNDS * (first + PRIOR_LINES), sums, side="right")
        batch = np.broadcast_to(_labels(labels, families, classes), (count, width))
        found[part] = step(batch.flatten()).reshape(count, width)
        sums += norms.take(families.astype(np.intp) * SYMBOLS + found[part]).sum(axis=0)
        first += count
    return found


def _by_base(matrix: Matrix, labels: NDArray[Any], step: Callable[[NDArray[Any]], Bytes]) -> Bytes:
    batch = np.empty(matrix.shape, labels.dtype)
    for number, of_class in enumerate(labels.T):
        np.copyto(batch, of_class.take(matrix.families), where=matrix.known == number)
    return step(batch.ravel()).reshape(matrix.shape)


def _by_bits(matrix: Matrix, labels: NDArray[Any], step: Callable[[NDArray[Any]], Bytes]) -> Bytes:
    """Code the bytes of numbers, the uppermost first."""
    found = np.empty(matrix.shape, np.uint8)
    known = np.zeros(matrix.shape[1], np.uint8)
    for line, family in zip(found, matrix.families[:, 0], strict=True):
        line[:] = step(labels[family][BIT_CLASSES[known]])
        known = np.where(known > 0, np.uint8(MOST_KNOWN), np.minimum(line, np.uint8(MOST_KNOWN)))
    return found
