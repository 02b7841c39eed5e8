"""The entropy coder and its tables: exact inverses, near the entropy, and safe."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgenets.quantize.package.frequencies import (
    REST,
    VALUES,
    choose_tables,
    first_groups,
    to_frequencies,
    to_table,
)
from edgenets.quantize.package.rans import SYMBOLS, TOTAL, Decoder, Stream, encode

Decoded = tuple[np.ndarray, np.ndarray]
SHAPES = {
    "one symbol": lambda random, size: np.full(size, random.integers(256)),
    "two symbols": lambda random, size: random.integers(0, 2, size) * 255,
    "few": lambda random, size: random.geometric(0.5, size) % 256,
    "all alike": lambda random, size: random.integers(0, 256, size),
    "one in many": lambda random, size: np.where(np.arange(size) == size // 2, 7, 200),
}


def tables_for(symbols: np.ndarray, which: np.ndarray, count: int) -> np.ndarray:
    """Return frequencies for `symbols`; a table that none of them has is for any one byte."""
    counts = histograms(symbols, which, count)
    counts[counts.sum(axis=1) == 0, 0] = 1
    return to_frequencies(np.stack([to_table(each) for each in counts]))


def decode(
    stream: Stream, which: np.ndarray, frequencies: np.ndarray, batches: list[int] | None = None
) -> Decoded:
    """Return the symbols and ends of a stream."""
    decoder = Decoder(stream, frequencies)
    parts = np.split(which.copy(), np.cumsum(batches or [])[: len(batches or []) - 1])
    return np.concatenate([decoder.decode(part) for part in parts]), decoder.ends()


def histograms(symbols: np.ndarray, which: np.ndarray, count: int) -> np.ndarray:
    pairs = which.astype(np.int64) * SYMBOLS + symbols
    return np.bincount(pairs, minlength=count * SYMBOLS).reshape(count, SYMBOLS)


@given(
    shape=st.sampled_from(sorted(SHAPES)),
    size=st.integers(0, 3000),
    lanes=st.sampled_from([1, 2, 16, 250]),
    count=st.integers(1, 4),
    parts=st.integers(1, 5),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_decoding_gives_back_what_was_coded(
    shape: str, size: int, lanes: int, count: int, parts: int, seed: int
):
    random = np.random.default_rng(seed)
    symbols = SHAPES[shape](random, size).astype(np.uint8)
    which = random.integers(0, count, size).astype(np.uint8)
    frequencies = tables_for(symbols, which, count)
    ends = random.integers(0, 1 << 16, lanes, np.uint16)
    bounds = np.sort([0, size, *random.integers(0, size + 1, parts - 1)])
    batches = np.diff(bounds).tolist()
    stream = encode(symbols, which, frequencies, ends, batches)
    decoded = decode(stream, which, frequencies, batches)
    np.testing.assert_array_equal(decoded[0], symbols)
    np.testing.assert_array_equal(decoded[1], ends)


@given(symbols=st.binary(max_size=300), which=st.binary(min_size=300), data=st.data())
@settings(deadline=None)
def test_any_bytes_with_any_tables_come_back(symbols: bytes, which: bytes, data: st.DataObject):
    coded = np.frombuffer(symbols, np.uint8)
    tables = np.frombuffer(which, np.uint8)[: len(coded)] % 5
    ends = np.uint16(data.draw(st.lists(st.integers(0, 65535), min_size=1, max_size=40)))
    frequencies = tables_for(coded, tables, 5)
    decoded = decode(encode(coded, tables, frequencies, ends), tables, frequencies)
    assert decoded[0].tobytes() == symbols
    np.testing.assert_array_equal(decoded[1], ends)


@given(at=st.integers(0, 10**6), bit=st.integers(0, 15))
@settings(max_examples=60, deadline=None)
def test_damage_is_an_error_or_another_content(at: int, bit: int):
    symbols = np.random.default_rng(0).normal(0, 5, 400).round().astype(np.int8).view(np.uint8)
    which = np.zeros(400, np.uint8)
    frequencies = tables_for(symbols, which, 1)
    states, words = encode(symbols, which, frequencies, np.zeros(8, np.uint16))
    damaged = np.concatenate([states.view(np.uint16), words])
    damaged[at % len(damaged)] ^= 1 << bit
    stream = Stream(damaged[:16].view(np.uint32), damaged[16:])
    try:
        decoded = decode(stream, which, frequencies)
    except ValueError as error:
        assert "end" in str(error)
    else:
        assert decoded[1].any() or not np.array_equal(decoded[0], symbols)


def test_rarest_symbol_takes_thirteen_bits_and_the_only_one_none():
    rare = np.full(16, 9, np.uint8)
    which = np.zeros(16, np.uint8)
    counts = np.zeros(256, np.int64)
    counts[9], counts[200] = 1, 10**9
    stream = encode(rare, which, to_frequencies(to_table(counts)[None]), np.zeros(1, np.uint16))
    assert len(stream.words) == 16 * 13 // 16
    for size in (0, 10_000):
        only = np.full(size, 9, np.uint8)
        which = np.zeros(size, np.uint8)
        states, words = encode(only, which, tables_for(only, which, 1), np.uint16([7]))
        assert (states.tolist(), len(words)) == ([(1 << 16) + 7], 0)


def test_coded_length_is_near_the_entropy():
    symbols = np.random.default_rng(0).normal(0, 12, 100_000).round().astype(np.int8)
    counts = np.bincount(symbols.view(np.uint8), minlength=256)
    shares = counts[counts > 0] / len(symbols)
    entropy_bytes = -len(symbols) * np.sum(shares * np.log2(shares)) / 8
    which = np.zeros(len(symbols), np.uint8)
    stream = encode(
        symbols.view(np.uint8),
        which,
        to_frequencies(to_table(counts)[None]),
        np.zeros(16, np.uint16),
    )
    assert 1 <= (stream.words.nbytes + stream.states.nbytes) / entropy_bytes < 1.003


@given(st.lists(st.integers(0, 10**6), min_size=256, max_size=256).filter(any))
def test_table_has_a_share_for_each_symbol_that_occurs_and_none_for_others(counts: list[int]):
    (frequencies,) = to_frequencies(to_table(np.array(counts))[None])
    assert frequencies.sum() == TOTAL
    np.testing.assert_array_equal(frequencies > 0, np.array(counts) > 0)


def test_stored_frequencies_rise_without_gaps_of_more_than_an_eighth():
    assert (np.diff(VALUES) > 0).all()
    assert (np.diff(VALUES)[8:] / VALUES[8:-1] <= 1 / 8).all()


@pytest.mark.parametrize("change", [("all", 0), (0, 88), (3, REST), ("all", 87)])
def test_damaged_table_is_refused(change: tuple):
    table = to_table(np.bincount([0, 1, 1, 2], minlength=256))
    table[slice(None) if change[0] == "all" else change[0]] = change[1]
    with pytest.raises(ValueError):
        to_frequencies(table[None])


def test_stream_that_ends_early_or_late_is_refused():
    symbols = np.random.default_rng(0).integers(0, 9, 500).astype(np.uint8)
    which = np.zeros(500, np.uint8)
    frequencies = to_frequencies(to_table(np.bincount(symbols, minlength=256))[None])
    states, words = encode(symbols, which, frequencies, np.zeros(4, np.uint16))
    for wrong in (words[:-1], np.append(words, 0)):
        with pytest.raises(ValueError, match="end"):
            decode(Stream(states, wrong.astype(np.uint16)), which, frequencies)


def test_rows_that_are_distributed_alike_share_a_table():
    random = np.random.default_rng(0)
    rows = [random.normal(0, width, 400).round().astype(np.int8) for width in [2, 30] * 20]
    counts = np.stack([np.bincount(row.view(np.uint8), minlength=256) for row in rows])
    one, two, *_ = (choose_tables(counts, g) for g in first_groups(counts, np.arange(40) // 10))
    assert two.bits < one.bits
    assert two.rows.tolist() in ([0, 1] * 20, [1, 0] * 20)


def test_tensors_with_values_of_their_own_get_tables_of_their_own():
    random = np.random.default_rng(0)
    rows = [random.choice(values, 200) for values in ([1, 2], [3, 4], [5, 6]) for _ in range(10)]
    counts = np.stack([np.bincount(row, minlength=256) for row in rows])
    tensors = np.arange(30) // 10
    *_, by_tensor, _ = (choose_tables(counts, g) for g in first_groups(counts, tensors))
    assert by_tensor.rows.tolist() == tensors.tolist()
    assert by_tensor.bits == pytest.approx(30 * 200, rel=0.01)  # a bit each
