"""Choose which ranges of a file are coded, and with which families and tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets.quantize.package.contexts import (
    BITS,
    CLASSES,
    COLUMN,
    MAGNITUDES,
    MOST_WIDTH,
    NONE,
    to_unit,
    walk,
)
from edgenets.quantize.package.frequencies import (
    MOST_TABLES,
    Tables,
    by_entropy,
    choose_tables,
    first_groups,
)
from edgenets.quantize.package.plan import MOST_CONTEXTS, Plan, table_steps, write
from edgenets.quantize.package.ranges import (
    FLOATS,
    INTEGERS,
    PLANES,
    TABLED,
    WEIGHTS,
    ByteRange,
    gaps,
    low_bytes,
    planes,
    symbols,
)
from edgenets.quantize.package.rans import SYMBOLS
from edgenets.quantize.package.streams import compress

TABLE_COUNTS = (4, 8, 16, 24)  # of weights with contexts
INTEGER_TABLE_COUNTS = (1, 2, 4, 8)
FLOAT_PROPERTIES = 3  # of lzma, for 4-byte numbers
MOST_WORTH = 0.9  # of the weights: more, and coding the others too is not tried
SLOW_SHARE = 0.997  # of the coded bytes that contexts of columns must come below
MOST_FAMILIES = MOST_TABLES - PLANES

Bytes = NDArray[np.uint8]


class Option(NamedTuple):
    """A way to pack a file."""

    plan: Plan
    which: Bytes  # the table of each symbol
    batches: list[int]  # how many symbols each has
    coded_bytes: float  # that the symbols take
    symbols: Bytes  # that are coded, in order
    rest: bytes  # the file's bytes that no range has
    low: bytes  # of floats: what follows the rest
    packed_rest: bytes  # of both, with the first of PROPERTIES
    is_slow: bool  # whether decoding has to follow contexts of columns

    @property
    def size_bytes(self) -> float:
        """What it will take, about; more if it is slow without being worth it."""
        coded_bytes = self.coded_bytes / (SLOW_SHARE if self.is_slow else 1)
        return len(compress(write(self.plan))) + len(self.packed_rest) + coded_bytes


def whole(content: bytes) -> Option:
    """Return the option that codes nothing."""
    none = np.zeros(0, np.uint8)
    return Option(Plan(), none, [], 0.0, none, content, b"", compress(content), False)


def coded(data: Bytes, found: Sequence[ByteRange], base: Bytes) -> Iterator[Option]:
    """Yield options that code ranges by tables, all or those that are worth it by themselves.

    Args:
        data: of the file.
        found: the ranges, in order.
        base: of the base file; empty without one.
    """
    integers = [each for each in found if each.kind == INTEGERS]
    if integers and not _are_worth_coding(integers, data, base):
        found = [each for each in found if each.kind != INTEGERS]
    worth = [
        each for each in found if each.kind not in TABLED or _is_worth_coding(each, data, base)
    ]
    if worth:
        yield from _in_contexts(data, worth, base)
    if _weights_bytes(worth) < MOST_WORTH * _weights_bytes(found):  # contexts may make up for it
        yield from _in_contexts(data, found, base)


def _weights_bytes(ranges: Sequence[ByteRange]) -> int:
    return sum(each.size_bytes for each in ranges if each.kind in TABLED)


def _in_contexts(data: Bytes, ranges: Sequence[ByteRange], base: Bytes) -> Iterator[Option]:
    """Yield options that code all these ranges, each with another context for weights."""
    tabled = [each for each in ranges if each.kind in TABLED]
    numbers = planes([each for each in ranges if each.kind == INTEGERS], data, base)
    parts = [numbers.ravel(), *(symbols(each, data, base) for each in tabled)]
    flat = np.concatenate(parts)
    rest = b"".join(data[gap].tobytes() for gap in gaps(len(data), ranges))
    low = b"".join(low_bytes(each, data).tobytes() for each in tabled)
    packed_rest = compress(rest + low)
    histograms = [_row_histograms(*each) for each in zip(tabled, parts[1:], strict=True)]
    families = _families(histograms)
    shift = PLANES if numbers.size else 0
    rows = np.concatenate([np.arange(shift, dtype=np.uint8), families.rows + np.uint8(shift)])
    units = _units(np.concatenate(histograms), families) if histograms else []
    plan = Plan(ranges, units=np.array([*[0] * shift, *units], np.uint8), rows=rows)
    for context in (NONE, COLUMN, BITS) if base.size else (NONE, COLUMN):
        in_context = [_with_context(each, context) for each in ranges]
        if sum(each.context > 0 for each in in_context) <= MOST_CONTEXTS:
            coding = _with_tables(plan._replace(ranges=in_context), flat, base)
            yield Option(*coding, flat, rest, low, packed_rest, context == COLUMN)


def _with_context(found: ByteRange, context: int) -> ByteRange:
    """Return weights with a context that they can have; others as they are."""
    lines, width = found.shape
    can_have = found.reference > 0 if context == BITS else lines > 1 and width <= MOST_WIDTH
    fits = found.kind in WEIGHTS and can_have
    return found._replace(context=context) if fits else found


def _is_worth_coding(found: ByteRange, data: Bytes, base: Bytes) -> bool:
    """Tell whether weights or floats take less by one table than by lzma."""
    properties = FLOAT_PROPERTIES if found.kind in FLOATS else 0
    counts = np.bincount(symbols(found, data, base), minlength=SYMBOLS)
    coded_bytes = choose_tables(counts[np.newaxis], np.zeros(1, np.intp)).bits / 8
    low = compress(low_bytes(found, data).tobytes())
    return coded_bytes + len(low) < len(compress(data[found.part].tobytes(), properties))


def _are_worth_coding(integers: list[ByteRange], data: Bytes, base: Bytes) -> bool:
    """Tell whether the planes of integers take less by tables than all do by lzma."""
    families = np.arange(PLANES, dtype=np.uint8)
    plan = Plan(integers, units=np.zeros(PLANES, np.uint8), rows=families)
    plan, *_, coded_bytes = _with_tables(plan, planes(integers, data, base).ravel(), base)
    content = b"".join(data[each.part].tobytes() for each in integers)
    return coded_bytes + len(compress(write(plan))) < len(compress(content))


def _row_histograms(found: ByteRange, coded: Bytes) -> NDArray[np.int64]:
    """Return how often each symbol occurs in each row, [rows, 256]."""
    return _histograms(found.spread(np.arange(found.rows)), coded, found.rows)


def _histograms(labels: NDArray[np.integer], coded: Bytes, count: int) -> NDArray[np.int64]:
    pairs = labels.astype(np.int64) * SYMBOLS + coded
    return np.bincount(pairs, minlength=count * SYMBOLS).reshape(count, SYMBOLS)


def _families(histograms: list[NDArray[np.int64]]) -> Tables:
    """Return which rows have a family in common, by tables without a context."""
    if not histograms:
        return Tables(np.zeros((0, SYMBOLS), np.uint8), np.zeros(0, np.uint8), 0.0)
    rows = np.concatenate(histograms)
    tensors = np.repeat(np.arange(len(histograms)), [len(counts) for counts in histograms])
    groups = [each for each in first_groups(rows, tensors) if each.max() < MOST_FAMILIES]
    options = (choose_tables(rows, each) for each in groups)
    return min(options, key=lambda each: _table_bytes(each) + len(compress(each.rows.tobytes())))


def _units(histograms: NDArray[np.int64], families: Tables) -> list[int]:
    """Return the stored mean magnitude of each family's codes."""
    counts = [histograms[families.rows == i].sum(axis=0) for i in range(len(families.stored))]
    return [to_unit(float(each @ MAGNITUDES / each.sum())) for each in counts]


def _labels(plan: Plan, flat: Bytes, base: Bytes) -> tuple[NDArray[np.uint16], list[int]]:
    """Return family * 8 + class of each symbol, and the sizes of batches."""
    found: list[NDArray[np.uint16]] = []
    position = 0

    def step(batch: NDArray[np.uint16]) -> Bytes:
        nonlocal position
        found.append(batch.copy())
        position += len(batch)
        return flat[position - len(batch) : position]

    names = np.arange(len(plan.units) * CLASSES, dtype=np.uint16).reshape(-1, CLASSES)
    walk(plan.matrices(base), names, plan.units, step)
    return np.concatenate([names[:0, 0], *found]), [len(batch) for batch in found]


def _with_tables(plan: Plan, flat: Bytes, base: Bytes) -> tuple[Plan, Bytes, list[int], float]:
    """Return the plan with tables; of the symbols the tables, batches, and bytes that they take.

    Tables of integers, whose families are the first ones, are apart from those of weights.
    """
    labels, batches = _labels(plan, flat, base)
    count = len(plan.units) * CLASSES
    counts = _histograms(labels, flat, count)
    names, used = np.arange(count), counts.any(axis=1)
    tables = np.zeros((0, SYMBOLS), np.uint8)
    of_names = np.zeros(count, np.uint8)
    coded_bytes = 0.0
    of_integers = names < (PLANES * CLASSES if plan.integers else 0)
    for part, sizes in ((of_integers, INTEGER_TABLE_COUNTS), (~of_integers, TABLE_COUNTS)):
        these = names[part & used]
        if not these.size:
            continue
        groups = [by_entropy(counts[these], size) for size in sizes if size <= len(these)]
        groups.append(np.unique(these // CLASSES, return_inverse=True)[1])
        best = min((choose_tables(counts[these], each) for each in groups), key=_table_bytes)
        of_names[these] = best.rows + len(tables)
        tables = np.concatenate([tables, best.stored])
        coded_bytes += best.bits / 8
    families = of_names.reshape(-1, CLASSES)
    # What is not used is stored as what is: equal bytes take next to nothing.
    first = families[np.arange(len(families)), used.reshape(-1, CLASSES).argmax(axis=1)]
    families = np.where(used.reshape(-1, CLASSES), families, first[:, np.newaxis])
    plan = plan._replace(tables=tables, families=families)
    return plan, of_names.take(labels), batches, coded_bytes


def _table_bytes(tables: Tables) -> float:
    """Return what tables and all that they code take."""
    return tables.bits / 8 + len(compress(table_steps(tables.stored)))
