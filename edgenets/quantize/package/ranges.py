"""What of a file a package codes otherwise than by lzma, and how its bytes become symbols."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

END, WEIGHTS_BY_ROW, WEIGHTS_BY_COLUMN, PRODUCT, QUOTIENT = range(5)
INTEGERS, FLOATS_BY_ROW, FLOATS_BY_COLUMN, COPY = range(5, 9)
WEIGHTS, FLOATS = (WEIGHTS_BY_ROW, WEIGHTS_BY_COLUMN), (FLOATS_BY_ROW, FLOATS_BY_COLUMN)
TABLED = WEIGHTS + FLOATS  # kinds whose rows have tables of their own
BY_COLUMN = (WEIGHTS_BY_COLUMN, FLOATS_BY_COLUMN)
DERIVED = (PRODUCT, QUOTIENT)  # kinds that are computed from other bytes of the file
PLANES = 4  # bytes of an integer
PIECE = 2**16  # numbers that are worked on at once, for the memory's sake
LARGEST_CODE = np.float32(127)  # of a quantized row: what its extreme has

Bytes = NDArray[np.uint8]


class ByteRange(NamedTuple):
    """Bytes of the file that are coded by themselves.

    WEIGHTS: `rows` runs of `columns` bytes, or by column `columns` runs of a byte from each row;
        a symbol is how far a byte is above `base`, the code of zero, or above the one in the base
        file, modulo 256.
    FLOATS: the same of numbers of `base` bytes: a symbol is the upper byte, the exponent's, after
        the sign has moved to the lowest bit; the other bytes follow the rest.
    INTEGERS: `columns` numbers of `rows` (4) bytes, all such ranges together: the symbols are the
        uppermost bytes, then the next ones.
    PRODUCT: `rows` float32 numbers, those at `columns` in the file times the one at `base`.
    QUOTIENT: `rows` float32 numbers, the larger magnitude of those at `columns` and `base`, over
        127.
    COPY: `rows` bytes of the base file.
    """

    kind: int
    start: int
    rows: int
    columns: int
    base: int = 0
    context: int = 0  # of `contexts`
    reference: int = 0  # 1 + where these bytes, or like ones, are in the base file; 0: nowhere

    @property
    def size_bytes(self) -> int:
        """How long it is."""
        if self.kind in DERIVED:
            return 4 * self.rows
        return self.rows * self.columns * (self.base if self.kind in FLOATS else 1)

    @property
    def end(self) -> int:
        """Where it ends."""
        return self.start + self.size_bytes

    @property
    def part(self) -> slice:
        """Its bytes in the file."""
        return slice(self.start, self.end)

    @property
    def low_part(self) -> slice:
        """Bytes of the file as many as those of floats that are no symbols."""
        return slice(self.start, self.end - self.rows * self.columns)

    @property
    def in_base(self) -> slice:
        """Its bytes in the base file."""
        return slice(self.reference - 1, self.reference - 1 + self.size_bytes)

    @property
    def reads(self) -> list[slice]:
        """The bytes of the file that it is computed from."""
        sizes = {PRODUCT: (4 * self.rows, 4), QUOTIENT: (4 * self.rows, 4 * self.rows)}
        starts = (self.columns, self.base)
        pairs = zip(starts, sizes.get(self.kind, ()), strict=False)
        return [slice(start, start + size) for start, size in pairs]

    def as_one_row(self) -> ByteRange:
        """Return the same weights with one family of tables for all."""
        kind = WEIGHTS_BY_ROW if self.kind in WEIGHTS else FLOATS_BY_ROW
        return self._replace(kind=kind, rows=1, columns=self.rows * self.columns)

    def in_lines(self, of_rows: NDArray[Any]) -> NDArray[Any]:
        """Return what rows have as it lies beside the symbols, [lines, 1] or [1, rows]."""
        return of_rows[np.newaxis] if self.kind in BY_COLUMN else of_rows[:, np.newaxis]

    @property
    def shape(self) -> tuple[int, int]:
        """Lines and symbols of each."""
        by_column = self.kind in BY_COLUMN
        return (self.columns, self.rows) if by_column else (self.rows, self.columns)

    def spread(self, of_rows: NDArray[Any]) -> NDArray[Any]:
        """Return for each symbol what `of_rows` has for its row."""
        if self.kind in BY_COLUMN:
            return np.tile(of_rows, self.columns)
        return np.repeat(of_rows, self.columns)


def symbols(found: ByteRange, content: Bytes, base: Bytes) -> Bytes:
    """Return the symbols of weights or floats."""
    if found.kind in FLOATS:
        return _rotated(found, content)[:, -1]
    if found.reference:
        return content[found.part] - base[found.in_base]
    return content[found.part] - np.uint8(found.base)


def low_bytes(found: ByteRange, content: Bytes) -> Bytes:
    """Return the other bytes of floats; none of weights."""
    if found.kind not in FLOATS:
        return content[:0]
    return np.ascontiguousarray(_rotated(found, content)[:, :-1]).ravel()


def restore(found: ByteRange, data: Bytes, coded: Bytes, base: Bytes) -> None:
    """Put weights or floats into the file: the inverse of `symbols` and `low_bytes`.

    The low bytes of floats are at the begin of their range.
    """
    if found.kind in FLOATS:
        for first in reversed(range(0, len(coded), PIECE)):  # what is read lies before the rest
            high, begin = coded[first : first + PIECE], found.start + (found.base - 1) * first
            low = data[begin : begin + (found.base - 1) * len(high)].reshape(len(high), -1)
            numbers = np.column_stack((low, high)).view(f"<u{found.base}")
            numbers = (numbers >> 1) | (numbers << (8 * found.base - 1))
            begin = found.start + found.base * first
            data[begin : begin + found.base * len(high)] = numbers.view(np.uint8).ravel()
    else:
        other = base[found.in_base] if found.reference else np.uint8(found.base)
        np.add(coded, other, out=data[found.part])


def planes(found: Iterable[ByteRange], content: Bytes, base: Bytes) -> Bytes:
    """Return the symbols of integers, [4, n]."""
    numbers = folded(found, content, base)
    return np.ascontiguousarray(numbers.view(np.uint8).reshape(-1, PLANES).T[::-1])


def folded(found: Iterable[ByteRange], content: Bytes, base: Bytes) -> NDArray[np.uint32]:
    """Return integers, [n], or their differences, so that small ones of either sign are small."""
    numbers = [np.zeros(0, "<u4")]
    for each in found:
        values = content[each.part].view("<u4")
        numbers.append(values - base[each.in_base].view("<u4") if each.reference else values)
    together = np.concatenate(numbers)
    return ((together << 1) ^ (0 - (together >> 31))).astype("<u4")


def restore_planes(found: Iterable[ByteRange], data: Bytes, coded: Bytes, base: Bytes) -> None:
    """Put integers into the file: the inverse of `planes`."""
    position = 0
    for each in found:
        own = coded[::-1, position : position + each.columns]
        for first in range(0, each.columns, PIECE):
            piece = slice(PLANES * first, PLANES * (first + PIECE))
            numbers = np.ascontiguousarray(own[:, first : first + PIECE].T).view("<u4").ravel()
            numbers = (numbers >> 1) ^ (0 - (numbers & 1))
            if each.reference:
                numbers = numbers + base[each.in_base][piece].view("<u4")
            data[each.part][piece] = numbers.astype("<u4").view(np.uint8)
        position += each.columns


def derive(found: ByteRange, data: Bytes) -> None:
    """Put scales into the file that follow from others."""
    first, second = (data[part].view("<f4") for part in found.reads)
    data[found.part] = derived(found.kind, first, second).view(np.uint8)


def derived(kind: int, first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    """Return the float32 numbers of a PRODUCT or a QUOTIENT, [n].

    >>> derived(QUOTIENT, np.float32([-2.54, -1]), np.float32([1, 1.27])).round(4)
    array([0.02, 0.01], dtype=float32)
    """
    with np.errstate(all="ignore"):  # of a damaged file
        if kind == PRODUCT:
            return (first * second).astype("<f4")
        return (np.maximum(np.abs(first), np.abs(second)) / LARGEST_CODE).astype("<f4")


def gaps(size: int, ranges: Iterable[ByteRange]) -> list[slice]:
    """Return the bytes of the file that no range has, in order."""
    position, found = 0, []
    for each in ranges:
        found.append(slice(position, each.start))
        position = each.end
    return [*found, slice(position, size)]


def _rotated(found: ByteRange, content: Bytes) -> Bytes:
    """Return the bytes of floats whose sign is the lowest bit, [n, bytes]."""
    numbers = content[found.part].view(f"<u{found.base}")
    rotated = (numbers << 1) | (numbers >> (8 * found.base - 1))
    return rotated.astype(f"<u{found.base}").view(np.uint8).reshape(-1, found.base)
