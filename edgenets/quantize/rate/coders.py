"""What codes cost: a table of bits for the codes that a layer has, one function for each coder.

Packages give rows of a layer that are distributed alike a table of frequencies of their own. Vela
numbers a kernel's values, the commonest first, and writes the numbers in a Golomb-Rice code: n
takes n // 2**d + 1 + d bits, for the one d from 0 to 5 that suits the kernel best. Where zeros are
more than four times as frequent as any other value, it writes how many precede each of the others.

Source: ethos-u-vela 5.2, mlw_codec; `pytest tests/quantize/rate/test_coders.py` holds the bits to
what its encoder makes of real kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets.models.codes import LARGEST_CODE
from edgenets.quantize.package.frequencies import by_entropy, choose_tables
from edgenets.quantize.package.rans import SYMBOLS

TABLES = 4  # of a layer, at most
NEIGHBOURS = np.array([1, 2, 3, 2, 1]) / 9  # what a code tells of those beside it
UNSEEN = 1e-4  # of a code's frequency, at least
PALETTE = 32  # values that Vela numbers by their frequency; the others follow by their size
DIVISORS, RUN_DIVISORS = range(6), range(4)  # logarithms, of numbers and of runs of zeros
MOST_ONES = {False: 31, True: 2}  # of a number's unary part; truncated, it has no end mark
RUNS_FROM = 4  # times as many zeros as of any other value
RESTART = 80.0  # bits of a value that takes other parameters and a return to the former ones

Array = NDArray[np.float32]
Coder = Callable[[Array], Array]
"""Returns what each code would cost in each row, [groups, rows, 256], code -127 first; it is given
the codes that there are, [groups, rows, inputs]."""


def places(codes: Array) -> NDArray[np.int64]:
    """Return where codes stand in a table of bits."""
    return (codes + LARGEST_CODE).astype(np.int64)


def sum_bits(codes: Array, code_bits: Coder) -> float:
    """Return what codes, [groups, rows, inputs], take by a coder's tables for them."""
    bits = np.take_along_axis(code_bits(codes), places(codes), axis=2)
    return float(bits.sum(dtype=np.float64))


def package_bits(codes: Array) -> Array:
    """Return what each code would cost in each row of a package, [groups, rows, 256].

    Rows that are distributed alike share a table, as in the package. Codes that no row has cost
    what their neighbours and a two-sided geometric distribution of the same mean let expect.
    """
    groups, rows, inputs = codes.shape
    lines = np.repeat(np.arange(groups * rows), inputs)
    flat = lines * SYMBOLS + places(codes).ravel()
    counts = np.bincount(flat, minlength=groups * rows * SYMBOLS).reshape(-1, SYMBOLS)
    tables = choose_tables(counts, by_entropy(counts, min(TABLES, len(counts))))
    merged = np.stack([counts[tables.rows == i].sum(axis=0) for i in range(len(tables.stored))])
    bits = np.stack([_smoothed_bits(each) for each in merged.astype(np.float64)])
    return bits[tables.rows].reshape(groups, rows, SYMBOLS).astype(np.float32)


def _smoothed_bits(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    sizes = np.abs(np.arange(SYMBOLS) - LARGEST_CODE)
    mean = (counts * sizes).sum() / counts.sum() + UNSEEN
    ratio = mean / (1 + mean)
    expected = (1 - ratio) / (1 + ratio) * ratio**sizes
    near = np.convolve(counts, NEIGHBOURS, "same")
    likely = 0.9 * counts + 0.1 * near + 2 * expected + UNSEEN
    return -np.log2(likely / likely.sum())


def vela_bits(codes: Array) -> Array:
    """Return what each code would cost in Vela's stream of a kernel, [groups, rows, 256].

    A zero and a value after it share the bits of a run as the sum of all runs grows with each.
    """
    counts = np.bincount(places(codes).ravel(), minlength=SYMBOLS).astype(np.float64)
    zeros, others = counts[LARGEST_CODE], counts.copy()
    others[LARGEST_CODE] = 0
    if zeros <= RUNS_FROM * others.max():
        bits = _numbered_bits(counts)
    else:
        runs = _run_bits(zeros, max(1.0, others.sum()))
        bits = _numbered_bits(others) + runs.value
        bits[LARGEST_CODE] = runs.zero
    return np.broadcast_to(bits.astype(np.float32), (*codes.shape[:2], SYMBOLS))


class _Runs(NamedTuple):
    zero: float  # bits that one more zero adds
    value: float  # that one more other value adds, beside its number's


def _run_bits(zeros: float, values: float) -> _Runs:
    """Return what runs of zeros take: of geometric lengths, by the best of their divisors."""
    total = zeros + values
    likely = zeros / total  # that a zero comes next

    def of_divisor(divisor: int) -> tuple[float, _Runs]:
        size = 2**divisor
        ones = likely**size / (1 - likely**size)  # on average, of a run's unary part
        growth = size * likely ** (size - 1) / (1 - likely**size) ** 2
        zero = growth * (values / total) ** 2
        value = 1 + divisor + ones - growth * values * zeros / total**2
        return values * (1 + divisor + ones), _Runs(zero, value)

    return min(map(of_divisor, RUN_DIVISORS))[1]


def _numbered_bits(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the bits of each code's number, [256], by the parameters that suit `counts` best."""
    sizes = np.arange(SYMBOLS) - LARGEST_CODE
    folded = 2 * np.abs(sizes) + (sizes < 0)  # 0, 1, -1, 2, -2, ... from 0 on, but for 1
    order = np.lexsort((folded, -counts))
    used = int(np.count_nonzero(counts))
    numbers = np.empty(SYMBOLS, np.int64)
    if 2 * counts[order[:PALETTE]].sum() >= counts.sum():
        first = folded[counts > 0].min(initial=0)
        numbers[:] = min(used, PALETTE) + folded - first
        numbers[order[:PALETTE]] = np.arange(PALETTE)
        plain = float(np.ceil(np.log2(max(used, 2)))) if used <= PALETTE else np.inf
    else:
        numbers[:], plain = folded, 8.0
    options = [
        _golomb_rice(numbers, divisor, truncated) for truncated in MOST_ONES for divisor in DIVISORS
    ]
    if np.isfinite(plain):
        options.append(np.where(numbers < 2**plain, plain, RESTART))
    return min(options, key=lambda bits: float(bits @ counts))


def _golomb_rice(numbers: NDArray[np.int64], divisor: int, truncated: bool) -> NDArray[np.float64]:
    ones = numbers >> divisor
    unary = np.minimum(ones + 1, MOST_ONES[True]) if truncated else ones + 1
    return np.where(ones > MOST_ONES[truncated], RESTART, unary + divisor).astype(np.float64)
