"""Find what of a `.tflite` can be coded by itself: weights, biases, and scales that follow.

Weights are all 8-bit and float tensors in the file that are not very small. Biases are integers of
32 bits, most of them small. The scales of a quantized bias are the products of others, and those of
a kernel that keeps its rows' extremes follow from these, as converters make them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.quantize.package.ranges import (
    DERIVED,
    FLOATS_BY_COLUMN,
    FLOATS_BY_ROW,
    INTEGERS,
    PLANES,
    PRODUCT,
    QUOTIENT,
    TABLED,
    WEIGHTS_BY_COLUMN,
    WEIGHTS_BY_ROW,
    ByteRange,
    derived,
)
from edgenets.quantize.package.rans import SYMBOLS

LEAST_WEIGHTS, LEAST_INTEGERS = 256, 4  # of a tensor that is coded; smaller ones stay with the rest
MOST_ROWS = 1 << 16  # of all weights together: each has a histogram while a file is packed
WEIGHT_BYTES = {"int8": 1, "uint8": 1, "float16": 2, "float32": 4}


def find_ranges(content: bytes, *, scales: bool = False) -> list[ByteRange]:
    """Return what can be coded by itself in a `.tflite`, in order; [] for any other file.

    Args:
        content: of the file.
        scales: also those that follow from nothing, which pay as differences alone.
    """
    try:
        model = flatbuffer.read(content)
    except EdgenetsError:
        return []
    found = sorted(
        [*_scales(model, content, others=scales), *_weights(model)],
        key=lambda each: (each.start, -each.size_bytes),
    )
    apart: list[ByteRange] = []
    for each in found:  # tensors may share their content
        if each.size_bytes and (not apart or each.start >= apart[-1].end):
            apart.append(each)
    if sum(each.rows for each in apart if each.kind in TABLED) > MOST_ROWS:
        apart = [each.as_one_row() if each.kind in TABLED else each for each in apart]
    return [each for each in apart if not _reads_derived(each, apart)]


def _weights(model: flatbuffer.Model) -> Iterator[ByteRange]:
    for tensor in model.tensors:
        size, item = tensor.size_bytes, WEIGHT_BYTES.get(tensor.dtype, 0)
        if tensor.data is None:
            continue
        if tensor.dtype == "int32" and size >= LEAST_INTEGERS * PLANES:
            yield ByteRange(INTEGERS, tensor.offset, PLANES, size // PLANES)
        if not item or size < LEAST_WEIGHTS:
            continue
        by_row, by_column = WEIGHTS_BY_ROW, WEIGHTS_BY_COLUMN
        base = int(tensor.zero_point[0]) % SYMBOLS if tensor.zero_point.size == 1 else 0
        if item > 1:
            by_row, by_column, base = FLOATS_BY_ROW, FLOATS_BY_COLUMN, item
        count, shape = size // item, tensor.shape
        if tensor.data.shape != shape:  # stored sparsely
            yield ByteRange(by_row, tensor.offset, 1, count, base)
        elif (len(shape) == 4 and shape[0] == 1) or (
            tensor.scale.size > 1 and tensor.axis == len(shape) - 1
        ):
            yield ByteRange(by_column, tensor.offset, shape[-1], count // shape[-1], base)
        else:
            rows = shape[0] if len(shape) > 1 else 1
            yield ByteRange(by_row, tensor.offset, rows, count // rows, base)


def _scales(model: flatbuffer.Model, content: bytes, *, others: bool) -> Iterator[ByteRange]:
    """Yield the scales that are computed from other numbers of the file, and perhaps the others."""
    first = np.frombuffer(content, np.uint8).__array_interface__["data"][0]

    def place(values: NDArray[np.float32]) -> int:
        return int(values.__array_interface__["data"][0] - first)

    def derivable(
        kind: int, scale: NDArray[Any], one: NDArray[Any], other: NDArray[Any]
    ) -> Iterator[ByteRange]:
        # What is not a number is another one on another processor; zero has two signs.
        numbers = derived(kind, one, other)
        if np.isfinite(numbers).all() and numbers.tobytes() == scale.tobytes():
            yield ByteRange(kind, place(scale), scale.size, place(one), place(other))

    for tensor in model.tensors:
        scale = tensor.scale
        if 1 < scale.size == tensor.least.size == tensor.largest.size:
            yield from derivable(QUOTIENT, scale, tensor.least, tensor.largest)
    for operator in model.operators:
        if operator.name not in flatbuffer.WEIGHTED or len(operator.inputs) < 3:
            continue
        image, kernel, bias = (model.tensors[i] for i in operator.inputs[:3])
        if min(operator.inputs[:3]) < 0 or image.scale.size != 1:
            continue
        if bias.scale.size == kernel.scale.size and bias.scale.size:
            yield from derivable(PRODUCT, bias.scale, kernel.scale, image.scale)
    for tensor in model.tensors if others else ():
        for values in (tensor.scale, tensor.least, tensor.largest):
            if values.size >= LEAST_INTEGERS:
                yield ByteRange(INTEGERS, place(values), PLANES, values.size)


def _reads_derived(found: ByteRange, ranges: Iterable[ByteRange]) -> bool:
    """Tell whether a range is computed from what is computed no earlier; quotients come first."""
    known = QUOTIENT if found.kind == PRODUCT else None
    return any(
        part.start < each.end and each.start < part.stop
        for part in found.reads
        for each in ranges
        if each.kind in DERIVED and each.kind != known
    )
