"""What of a file is like what a base file has: for packages that hold the changes alone.

Weights and integers are matched with those of the same shape in the base that differ in the fewest
bytes; they are coded as differences where these have fewer bits. All other bytes that the base has,
too, as far as it has them in long runs, are copied.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets.quantize.package.ranges import (
    COPY,
    DERIVED,
    FLOATS,
    INTEGERS,
    PLANES,
    ByteRange,
    folded,
    gaps,
    symbols,
)
from edgenets.quantize.package.rans import SYMBOLS

NEAR = 32  # ranges of the same shape before and after, that may be the same one
LEAST_COPY = 24  # bytes: to name a shorter run takes as much
MOST_MOVES = 32  # distances between equal bytes of both files that are looked for
BITS_BESIDE = 2.0  # that the planes of an integer take, besides its own bits

Bytes = NDArray[np.uint8]


def refer(
    found: Sequence[ByteRange], data: Bytes, in_base: Sequence[ByteRange], base: Bytes
) -> list[ByteRange]:
    """Return the ranges with references to the base where these pay, and what is copied.

    Args:
        found: the ranges of the file, in order.
        data: the file.
        in_base: the ranges of the base file.
        base: the base file.
    """
    alike = defaultdict(list)
    for each in in_base:
        alike[_shape(each)].append(each)
    kept, moves = [], Counter([0, len(base) - len(data)])
    ranks: Counter[tuple[int, ...]] = Counter()
    for each in found:
        rank = ranks[_shape(each)]
        ranks[_shape(each)] += 1
        candidates = alike[_shape(each)][max(0, rank - NEAR) : rank + NEAR]
        if not candidates:
            kept.append(each)
            continue
        distances = [np.count_nonzero(data[each.part] != base[old.part]) for old in candidates]
        nearest = candidates[int(np.argmin(distances))]
        moves[nearest.start - each.start] += 1
        if min(distances):
            kept.append(_cheaper(each, nearest, data, base))
    usual = [move for move, _ in moves.most_common(MOST_MOVES)]
    copied = _copies(gaps(len(data), kept), data, base, usual)
    return sorted([*kept, *copied], key=lambda each: each.start)


def _shape(found: ByteRange) -> tuple[int, ...]:
    columns = 0 if found.kind in DERIVED else found.columns
    return found.kind, found.rows, columns, found.size_bytes


def _cheaper(found: ByteRange, old: ByteRange, data: Bytes, base: Bytes) -> ByteRange:
    """Return the range as it is, or as differences, whichever has fewer bits."""
    reference = old.start + 1
    if found.kind in DERIVED:
        return found
    if found.kind == INTEGERS or (found.kind in FLOATS and found.base == PLANES):
        count = found.size_bytes // PLANES
        changed = ByteRange(INTEGERS, found.start, PLANES, count, reference=reference)
        own = _integer_bits(found, data, base) if found.kind == INTEGERS else 0.0
        if found.kind in FLOATS:
            own = _entropy_bits(symbols(found, data, base)) + 8 * (PLANES - 1) * count
        return changed if _integer_bits(changed, data, base) < own else found
    if found.kind in FLOATS:
        return found
    changed = found._replace(reference=reference)
    bits = [_entropy_bits(symbols(each, data, base)) for each in (changed, found)]
    return changed if bits[0] < bits[1] else found


def _integer_bits(found: ByteRange, data: Bytes, base: Bytes) -> float:
    numbers = folded([found], data, base)
    return float(np.log2(numbers + 1.0).sum()) + BITS_BESIDE * len(numbers)


def _entropy_bits(coded: Bytes) -> float:
    counts = np.bincount(coded, minlength=SYMBOLS)
    counts = counts[counts > 0]
    return float(-(counts * np.log2(counts / coded.size)).sum())


def _copies(
    parts: Sequence[slice], data: Bytes, base: Bytes, moves: Sequence[int]
) -> Iterator[ByteRange]:
    """Yield the long runs of these parts that the base has, moved by one of some distances."""
    for part in parts:
        free = np.ones(part.stop - part.start, bool)
        for move in moves:
            start = max(part.start, -move)
            end = min(part.stop, len(base) - move)
            if end - start < LEAST_COPY:
                continue
            inside = slice(start - part.start, end - part.start)
            equal = free[inside] & (data[start:end] == base[start + move : end + move])
            for first, size in _runs(equal):
                at = start + first
                free[at - part.start : at - part.start + size] = False
                yield ByteRange(COPY, at, size, 1, reference=at + move + 1)


def _runs(equal: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return where long runs of True begin, and their lengths."""
    steps: NDArray[Any] = np.diff(equal.astype(np.int8), prepend=0, append=0)
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    long = ends - starts >= LEAST_COPY
    return list(zip(starts[long].tolist(), (ends - starts)[long].tolist(), strict=True))
