"""Interleaved rANS: bytes coded with a few transmitted tables of integer frequencies.

Byte i belongs to lane i % lanes; every lane is a coder of its own, and all of them write 16-bit
words to one stream, so that NumPy decodes a byte of each lane at a time. Which table codes a byte
is known beforehand. Frequencies of a table add up to 2**14, a state is in [2**16, 2**32).

Decoding is, for each lane in turn: slot = state mod 2**14; the byte is the one whose share of the
table holds slot; state = frequency * (state div 2**14) + slot - start of the share; below 2**16,
the state is moved up by 16 bits and takes the stream's next word in. The states end as 2**16.

Source: Duda 2013, arXiv:1311.2540; Giesen 2014, arXiv:1402.3392.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SYMBOLS = 256
TOTAL_BITS = 14
TOTAL = 1 << TOTAL_BITS
WORD_BITS = 16
LOWEST = 1 << WORD_BITS  # of a state

Bytes = NDArray[np.uint8]


class Stream(NamedTuple):
    """Coded bytes."""

    states: NDArray[np.uint32]  # [lanes], that decoding begins with
    words: NDArray[np.uint16]  # in the order in which decoding takes them


def encode(symbols: Bytes, which: Bytes, frequencies: NDArray[np.uint32], lanes: int) -> Stream:
    """Code bytes, each with one of the tables; `decode` is the exact inverse.

    Args:
        symbols: [n].
        which: [n], the table of each.
        frequencies: [tables, 256], rows that add up to 2**14; of each coded byte more than zero.
        lanes: at least 1.
    """
    flat, starts = frequencies.ravel().astype(np.uint64), _starts(frequencies).astype(np.uint64)
    states = np.full(lanes, LOWEST, np.uint64)
    words = []
    for begin in range((len(symbols) - 1) // lanes * lanes, -1, -lanes):
        step = slice(begin, begin + lanes)
        entry = which[step].astype(np.intp) * SYMBOLS + symbols[step]
        frequency = flat[entry]
        active = states[: len(entry)]
        full = active >= frequency << (2 * WORD_BITS - TOTAL_BITS)
        words.append(active[full].astype(np.uint16))
        active[full] >>= WORD_BITS
        active[:] = (active // frequency << TOTAL_BITS) + active % frequency + starts[entry]
    words.append(np.zeros(0, np.uint16))
    return Stream(states.astype(np.uint32), np.concatenate(words[::-1]))


def decode(stream: Stream, which: Bytes, frequencies: NDArray[np.uint32]) -> Bytes:
    """Return the bytes [n] that were coded with the tables `which` [n].

    Raises:
        ValueError: the stream ends too early or too late, or was not coded with these tables.
    """
    states, lanes = stream.states.copy(), len(stream.states)
    flat, starts = frequencies.ravel().astype(np.uint32), _starts(frequencies)
    shares = np.repeat(np.tile(np.arange(SYMBOLS, dtype=np.uint8), len(frequencies)), flat)
    symbols = np.empty(len(which), np.uint8)
    position, end = 0, len(stream.words)
    for begin in range(0, len(which), lanes):
        tables = which[begin : begin + lanes].astype(np.uint32)
        active = states[: len(tables)]
        slot = active & (TOTAL - 1)
        found = shares.take((tables << TOTAL_BITS) | slot)
        symbols[begin : begin + lanes] = found
        entry = (tables << 8) | found
        active >>= TOTAL_BITS
        active *= flat.take(entry)
        active += slot
        active -= starts.take(entry)
        (low,) = np.nonzero(active < LOWEST)
        following = position + len(low)
        if following > end:
            raise ValueError("the coded weights end too early")
        active[low] = (active[low] << WORD_BITS) | stream.words[position:following]
        position = following
    if position != end or np.any(states != LOWEST):
        raise ValueError("the coded weights do not end where they should")
    return symbols


def _starts(frequencies: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return where each byte's share of its table begins, [tables * 256]."""
    starts: NDArray[np.uint32] = (np.cumsum(frequencies, axis=1) - frequencies).astype(np.uint32)
    return starts.ravel()
