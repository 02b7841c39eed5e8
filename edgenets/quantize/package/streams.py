"""The plain parts of a package: numbers of 7-bit groups, and raw lzma streams of bounded size."""

from __future__ import annotations

import lzma
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

MOST_BITS = 35  # of a number
SAMPLE_BYTES = 1 << 18  # by which lzma's setting is chosen
READ_BYTES = 1 << 14  # that lzma takes in or gives out at a time
LEAST_DICTIONARY = 1 << 12  # of lzma; otherwise it is as large as what is packed
# lzma's lc, lp and pb: for bytes of any kind, and for files of 4-byte numbers.
PROPERTIES = ((3, 0, 2), (4, 0, 0), (1, 2, 2), (0, 2, 2))


def varints(numbers: Iterable[int]) -> bytes:
    """Return numbers in groups of 7 bits, the lowest first; all but the last have the top bit.

    >>> varints([5, 300]).hex()
    '05ac02'
    """
    content = bytearray()
    for number in numbers:
        while number >= 128:
            content.append(number & 127 | 128)
            number >>= 7
        content.append(number)
    return bytes(content)


def read_varints(content: bytes | memoryview, start: int = 0) -> Iterator[tuple[int, int]]:
    """Yield each number and where the next one begins.

    Raises:
        ValueError: the content ends, or a number has more than six groups.
    """
    number = shift = 0
    for at in range(start, len(content)):
        number |= (content[at] & 127) << shift
        shift += 7
        if content[at] < 128:
            yield number, at + 1
            number = shift = 0
        elif shift > MOST_BITS:
            break
    raise ValueError("it is cut short")


def compress(content: bytes, properties: int = 0) -> bytes:
    """Return the content as one of PROPERTIES packs it."""
    filters = _filters(properties, len(content))
    return lzma.compress(content, format=lzma.FORMAT_RAW, filters=filters)


def smallest(content: bytes, packed: bytes, decisive: int) -> tuple[bytes, int]:
    """Return the content as the best of PROPERTIES packs it, and which that is.

    A part in the middle of its first `decisive` bytes tells which may be better than the first one,
    which made `packed`.
    """
    middle = max(0, decisive - SAMPLE_BYTES) // 2
    sample = content[middle : min(decisive, middle + SAMPLE_BYTES)]
    best = min(range(len(PROPERTIES)), key=lambda number: len(compress(sample, number)))
    other = compress(content, best)
    return (other, best) if len(other) < len(packed) else (packed, 0)


def decompress(
    packed: Iterable[bytes | memoryview], properties: int, targets: Sequence[NDArray[np.uint8]]
) -> None:
    """Fill arrays of bytes, in order, from a stream in pieces.

    Raises:
        ValueError: there is less or more than they take.
        lzma.LZMAError: what is packed is damaged.
    """
    filters = _filters(properties, sum(map(len, targets)))
    decompressor = lzma.LZMADecompressor(format=lzma.FORMAT_RAW, filters=filters)
    pieces = (
        piece[at : at + READ_BYTES] for piece in packed for at in range(0, len(piece), READ_BYTES)
    )

    def read(most: int) -> bytes:
        """Return at most so many bytes; none at the end of the input."""
        while not decompressor.eof:
            following = next(pieces, None) if decompressor.needs_input else b""
            if following is None:
                break
            if found := decompressor.decompress(following, min(most, READ_BYTES)):
                return found
        return b""

    for target in targets:
        position = 0
        while position < len(target):
            found = read(len(target) - position)
            if not found:
                raise ValueError("its lzma streams are cut short")
            target[position : position + len(found)] = np.frombuffer(found, np.uint8)
            position += len(found)
    if read(1) or not decompressor.eof or decompressor.unused_data or next(pieces, None):
        raise ValueError("its lzma streams do not end where they should")


def _filters(properties: int, size: int) -> list[dict[str, int]]:
    lc, lp, pb = PROPERTIES[properties]
    return [
        {
            **{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME},
            **{"dict_size": max(LEAST_DICTIONARY, size), "lc": lc, "lp": lp, "pb": pb},
        }
    ]
