"""Interleaved rANS: bytes coded with a few transmitted tables of integer frequencies.

Bytes come in batches: which table codes each byte of a batch is known before the batch, and may
follow from those before. Byte i of a batch belongs to lane i % lanes; every lane is a coder of its
own, and all of them write 16-bit words to one stream, so that NumPy decodes a byte of each lane at
a time. Frequencies of a table add up to 2**13, a state is in [2**16, 2**32).

Decoding is, for each lane in turn: slot = state mod 2**13; the byte is the one whose share of the
table holds slot; state = frequency * (state div 2**13) + slot - start of the share; below 2**16,
the state is moved up by 16 bits and takes the stream's next word in. The states end in
[2**16, 2**17): the low 16 bits of each may hold anything, so that many lanes cost little.

Source: Duda 2013, arXiv:1311.2540; Giesen 2014, arXiv:1402.3392.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SYMBOLS = 256
TOTAL_BITS = 13
TOTAL = 1 << TOTAL_BITS
WORD_BITS = 16
LOWEST = 1 << WORD_BITS  # of a state
CHUNK = 1 << 12  # bytes whose tables are prepared together for decoding

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint16]


class Stream(NamedTuple):
    """Coded bytes."""

    states: NDArray[np.uint32]  # [lanes], that decoding begins with
    words: Words  # in the order in which decoding takes them


def encode(
    symbols: Bytes,
    which: Bytes,
    frequencies: NDArray[np.uint32],
    ends: Words,
    batches: Sequence[int] | None = None,
) -> Stream:
    """Code bytes, each with one of the tables; a `Decoder` is the exact inverse.

    Args:
        symbols: [n].
        which: [n], the table of each.
        frequencies: [tables, 256], rows that add up to 2**13; of each coded byte more than zero.
        ends: [lanes], at least one: any numbers, which the last states hold.
        batches: how many bytes each has, n together; by default there is one.
    """
    flat, starts = frequencies.ravel().astype(np.uint64), _starts(frequencies).astype(np.uint64)
    states, lanes = ends.astype(np.uint64) + LOWEST, len(ends)
    words, end = [], len(symbols)
    for size in reversed([end] if batches is None else batches):
        first = end - size
        for begin in range(first + (size - 1) // lanes * lanes, first - 1, -lanes):
            step = slice(begin, min(begin + lanes, end))
            entry = which[step].astype(np.intp) * SYMBOLS + symbols[step]
            frequency = flat[entry]
            active = states[: len(entry)]
            full = active >= frequency << (2 * WORD_BITS - TOTAL_BITS)
            words.append(active[full].astype(np.uint16))
            active[full] >>= WORD_BITS
            active[:] = (active // frequency << TOTAL_BITS) + active % frequency + starts[entry]
        end = first
    words.append(np.zeros(0, np.uint16))
    return Stream(states.astype(np.uint32), np.concatenate(words[::-1]))


class Decoder:
    """The decoder of a stream, a batch at a time.

    >>> frequencies = np.zeros((1, 256), np.uint32)
    >>> frequencies[0, 7] = TOTAL
    >>> decoder = Decoder(Stream(np.uint32([LOWEST]), np.zeros(0, np.uint16)), frequencies)
    >>> decoder.decode(np.zeros(3, np.uint8)), decoder.ends()
    (array([7, 7, 7], dtype=uint8), array([0], dtype=uint16))
    """

    def __init__(self, stream: Stream, frequencies: NDArray[np.uint32]) -> None:
        self._states, self._words, self._position = stream.states.copy(), stream.words, 0
        flat = frequencies.ravel().astype(np.uint32)
        symbols = np.tile(np.arange(SYMBOLS, dtype=np.uint8), len(frequencies))
        self._shares = np.repeat(symbols, flat)
        self._entries = (flat << TOTAL_BITS) | _starts(frequencies)  # one look-up for both

    def decode(self, which: Bytes) -> Bytes:
        """Return a batch of bytes, [n], that were coded with the tables `which`, [n].

        The bytes take the place of `which`: there need not be memory for both.

        Raises:
            ValueError: the stream ends too early.
        """
        states, words, position = self._states, self._words, self._position
        lanes = len(states)
        chunk = max(1, CHUNK // lanes) * lanes
        for first in range(0, len(which), chunk):
            found = which[first : first + chunk]
            tables = found.astype(np.uint32)
            table_shares, table_entries = tables << TOTAL_BITS, tables << 8
            for begin in range(0, len(found), lanes):
                step = slice(begin, begin + lanes)
                active = states[: len(found) - begin]
                slot = active & (TOTAL - 1)
                symbol = self._shares.take(table_shares[step] | slot)
                found[step] = symbol
                entry = self._entries.take(table_entries[step] | symbol)
                active >>= TOTAL_BITS
                active *= entry >> TOTAL_BITS
                active += slot
                active -= entry & (TOTAL - 1)
                (low,) = (active < LOWEST).nonzero()
                following = position + len(low)
                if following > len(words):
                    raise ValueError("the coded weights end too early")
                active[low] = (active.take(low) << WORD_BITS) | words[position:following]
                position = following
        self._position = position
        return which

    def ends(self) -> Words:
        """Return what the last states hold, [lanes].

        Raises:
            ValueError: the stream goes on, or was not coded with these tables.
        """
        if self._position != len(self._words) or np.any(self._states >> WORD_BITS != 1):
            raise ValueError("the coded weights do not end where they should")
        return self._states.astype(np.uint16)


def _starts(frequencies: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return where each byte's share of its table begins, [tables * 256]."""
    starts: NDArray[np.uint32] = (np.cumsum(frequencies, axis=1) - frequencies).astype(np.uint32)
    return starts.ravel()
