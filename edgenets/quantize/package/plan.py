"""The plan of a package: which ranges of the file are coded, and with which tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets.quantize.package import contexts
from edgenets.quantize.package.contexts import CLASSES, Matrix
from edgenets.quantize.package.frequencies import MOST_TABLES, VALUES
from edgenets.quantize.package.ranges import (
    COPY,
    END,
    FLOATS,
    INTEGERS,
    PLANES,
    PRODUCT,
    TABLED,
    WEIGHTS,
    ByteRange,
)
from edgenets.quantize.package.rans import SYMBOLS
from edgenets.quantize.package.streams import read_varints, varints

FIELDS = {2: 4, 3: 6}  # of a range behind its kind, by the package's version
MOST_CONTEXTS = 1 << 12  # ranges that have one: each takes some steps of decoding
FLOAT_BYTES = (2, 4)
KINDS = {2: range(END, PRODUCT + 1), 3: range(END, COPY + 1)}

Bytes = NDArray[np.uint8]
EMPTY = np.zeros(0, np.uint8)


class Plan(NamedTuple):
    """What of a file is coded, and how."""

    ranges: Sequence[ByteRange] = ()
    tables: Bytes = np.zeros((0, SYMBOLS), np.uint8)  # as they are stored
    families: Bytes = np.zeros((0, CLASSES), np.uint8)  # the table of each class
    units: Bytes = EMPTY  # of each family, the mean magnitude of its codes
    rows: Bytes = EMPTY  # the family of each plane of the integers, if any, and of each row

    @property
    def tabled(self) -> list[ByteRange]:
        """Weights and floats."""
        return [found for found in self.ranges if found.kind in TABLED]

    @property
    def integers(self) -> list[ByteRange]:
        """All numbers whose planes are coded together."""
        return [found for found in self.ranges if found.kind == INTEGERS]

    @property
    def coded_bytes(self) -> int:
        """How many symbols there are."""
        return sum(found.rows * found.columns for found in (*self.integers, *self.tabled))

    def matrices(self, base: Bytes) -> Iterator[Matrix]:
        """Yield what is coded, in order: the integers' planes, then each range's symbols."""
        numbers = sum(found.columns for found in self.integers)
        row = 0
        if numbers:
            families = self.rows[:PLANES, np.newaxis]
            yield Matrix((PLANES, numbers), families, contexts.BITS, EMPTY)
            row = PLANES
        for each in self.tabled:
            of_lines = each.in_lines(self.rows[row : row + each.rows])
            known: Bytes = EMPTY
            if each.context == contexts.BITS:
                codes = base[each.in_base] - np.uint8(each.base)
                known = contexts.base_classes(codes).reshape(each.shape)
            yield Matrix(each.shape, of_lines, each.context, known)
            row += each.rows


def write(plan: Plan) -> bytes:
    """Return the plan as a package of version 3 holds it; b"" where nothing is coded."""
    if not plan.ranges:
        return b""
    numbers, position = [], 0
    for found in plan.ranges:
        numbers += [found.kind, found.start - position, *found[2:]]
        position = found.end
    return b"".join(
        (
            *(varints([*numbers, END]), varints([len(plan.tables)]), table_steps(plan.tables)),
            *(varints([len(plan.families)]), plan.families.tobytes(), plan.units.tobytes()),
            plan.rows.tobytes(),
        )
    )


def table_steps(tables: Bytes) -> bytes:
    """Return the differences of the bytes of each table, which take less by lzma."""
    return np.diff(tables, axis=1, prepend=np.uint8(0)).tobytes()  # modulo 256


def read(content: bytes, version: int, size: int, base_size: int) -> Plan:
    """Return a plan from a package.

    Args:
        content: of the plan.
        version: of the package.
        size: of the file.
        base_size: of the base file; 0 without one.

    Raises:
        ValueError: it is damaged, or names what is not there.
    """
    if not content:
        return Plan()
    numbers = read_varints(content)
    ranges = _read_ranges(numbers, version, size, base_size)
    count, at = next(numbers)
    if count > MOST_TABLES or at + count * SYMBOLS > len(content):
        raise ValueError("its tables have another size")
    steps = np.frombuffer(content, np.uint8, count * SYMBOLS, at).reshape(count, SYMBOLS)
    tables = np.cumsum(steps, axis=1, dtype=np.uint8)
    at += steps.size
    if version == 2:
        families = np.repeat(np.arange(count, dtype=np.uint8)[:, np.newaxis], CLASSES, axis=1)
        units = np.zeros(count, np.uint8)
    else:
        number, at = next(read_varints(content, at))
        if number > MOST_TABLES or at + number * (CLASSES + 1) > len(content):
            raise ValueError("its families have another size")
        families = np.frombuffer(content, np.uint8, number * CLASSES, at).reshape(-1, CLASSES)
        at += families.size
        units = np.frombuffer(content, np.uint8, number, at)
        at += units.size
    plan = Plan(ranges, tables, families, units, np.frombuffer(content, np.uint8, offset=at))
    rows = sum(found.rows for found in plan.tabled) + PLANES * bool(plan.integers)
    if len(plan.rows) != rows:
        raise ValueError("its rows have another number")
    for named, there in ((plan.rows, families), (families, tables), (units, VALUES)):
        if named.size and int(named.max()) >= len(there):
            raise ValueError("its plan names a table that is not there")
    return plan


def _read_ranges(
    numbers: Iterator[tuple[int, int]], version: int, size: int, base_size: int
) -> list[ByteRange]:
    ranges: list[ByteRange] = []
    position = 0
    while kind := next(numbers)[0]:
        start, *others = (next(numbers)[0] for _ in range(FIELDS[version]))
        found = ByteRange(kind, position + start, *others)
        if kind not in KINDS[version]:
            raise ValueError("its plan names a kind of bytes that is unknown")
        _check_range(found, size, base_size)
        ranges.append(found)
        position = found.end
    if sum(found.context != contexts.NONE for found in ranges) > MOST_CONTEXTS:
        raise ValueError("its plan has too many contexts")
    return ranges


def _check_range(found: ByteRange, size: int, base_size: int) -> None:
    kind = found.kind
    if (kind in FLOATS and found.base not in FLOAT_BYTES) or (
        kind == INTEGERS and found.rows != PLANES
    ):
        raise ValueError("its plan names numbers of an unknown size")
    if kind in WEIGHTS and found.base >= SYMBOLS:
        raise ValueError("its plan names a zero point that is no byte")
    if not found.size_bytes or found.end > size:
        raise ValueError("its plan names bytes that the file has not")
    if any(part.stop > size for part in found.reads):
        raise ValueError("its plan names scales that the file has not")
    may_refer = (*WEIGHTS, INTEGERS, COPY)
    if found.reference and (kind not in may_refer or found.in_base.stop > base_size):
        raise ValueError("its plan names bytes that the base file has not")
    if kind == COPY and not found.reference:
        raise ValueError("its plan copies from nowhere")
    allowed = [contexts.NONE]
    if kind in WEIGHTS:
        allowed += [contexts.COLUMN, contexts.BITS] if found.reference else [contexts.COLUMN]
    is_wide = found.context == contexts.COLUMN and found.shape[1] > contexts.MOST_WIDTH
    if found.context not in allowed or is_wide:
        raise ValueError("its plan names a context that is unknown")
