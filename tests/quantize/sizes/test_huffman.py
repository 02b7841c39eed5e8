"""Huffman code lengths, against what theory says of every shortest prefix code."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgenets.quantize.sizes.huffman import code_lengths, coded_bits

COUNTS = arrays.arrays(np.int64, st.integers(0, 40), elements=st.integers(0, 10**6))


def entropy_bits(counts: np.ndarray) -> float:
    used = counts[counts > 0]
    return float(-(used * np.log2(used / used.sum())).sum()) if used.size else 0.0


@given(COUNTS.filter(np.any))
def test_the_code_is_full(counts: np.ndarray):
    used = code_lengths(counts)[counts > 0]
    assert sum(Fraction(1, 2**length) for length in used.tolist()) == 1  # Kraft's equality


@given(COUNTS)
def test_a_stream_takes_its_entropy_and_less_than_one_bit_a_symbol_more(counts: np.ndarray):
    bits, entropy, total = coded_bits(counts), entropy_bits(counts), int(counts.sum())
    assert entropy - 1e-6 * (1 + entropy) <= bits
    assert bits < entropy + total or bits == entropy == 0


@given(COUNTS)
def test_what_is_rarer_has_no_shorter_code_and_what_is_not_there_none(counts: np.ndarray):
    lengths = code_lengths(counts)
    assert not lengths[counts == 0].any()
    rarest_first = sorted(zip(counts.tolist(), (-lengths).tolist(), strict=True))
    negated = [length for count, length in rarest_first if count]
    assert negated == sorted(negated)


@given(st.integers(0, 8))
def test_equal_counts_of_a_power_of_two_symbols_need_its_logarithm(bits: int):
    np.testing.assert_array_equal(code_lengths(np.full(2**bits, 3)), bits)


def test_counts_in_powers_of_two_reach_the_entropy():
    assert code_lengths([8, 4, 2, 1, 1]).tolist() == [1, 2, 3, 4, 4]


def test_fibonacci_s_counts_make_the_longest_codes():
    counts = [1, 1, 2, 3, 5, 8, 13, 21, 34, 55]
    assert code_lengths(counts).tolist() == [9, 9, 8, 7, 6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize("counts", [[], [0, 0], [7], [0, 7, 0]])
def test_fewer_than_two_symbols_take_no_bits(counts: list[int]):
    assert coded_bits(counts) == 0
