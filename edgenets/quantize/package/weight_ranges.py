"""What of a `.tflite` a package codes otherwise than by lzma: weights, and scales of biases.

Weights are all 8-bit tensors in the file that are not very small. The scales of a quantized bias
are the products of others, as the converter makes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.quantize.package.rans import SYMBOLS

LEAST_WEIGHTS = 256  # of a tensor that is coded; smaller ones stay with the rest
MOST_ROWS = 1 << 16  # of all weights together: each has a histogram while a file is packed
WEIGHT_DTYPES = ("int8", "uint8")
WEIGHTS_BY_ROW, WEIGHTS_BY_COLUMN, PRODUCT = range(3)

Number = TypeVar("Number", bound=np.integer[Any])


class ByteRange(NamedTuple):
    """Bytes of the file that are coded by themselves.

    Of weights, row i has the table i: `rows` runs of `columns` bytes, or with WEIGHTS_BY_COLUMN
    `columns` runs of a byte from each row; coded is how far each byte is above
    `base`, modulo 256, the code of zero. Of a PRODUCT, `rows` float32 numbers are those at
    `columns` in the file, times the one at `base`.
    """

    kind: int
    start: int
    rows: int
    columns: int
    base: int = 0

    @property
    def size_bytes(self) -> int:
        """How long it is."""
        return 4 * self.rows if self.kind == PRODUCT else self.rows * self.columns

    @property
    def end(self) -> int:
        """Where it ends."""
        return self.start + self.size_bytes

    def as_one_row(self) -> ByteRange:
        """Return the same weights with one table for all."""
        return self._replace(kind=WEIGHTS_BY_ROW, rows=1, columns=self.size_bytes)

    def spread(self, of_rows: NDArray[Number]) -> NDArray[Number]:
        """Return for each byte of weights what `of_rows` has for its row."""
        if self.kind == WEIGHTS_BY_ROW:
            return np.repeat(of_rows, self.columns)
        return np.tile(of_rows, self.columns)

    def symbols(self, content: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the bytes of weights as they are coded."""
        return content[self.start : self.end] - np.uint8(self.base)

    def histograms(self, content: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return how often each coded byte occurs in each row of weights, [rows, 256]."""
        pairs = self.spread(np.arange(self.rows)) * SYMBOLS + self.symbols(content)
        counts = np.bincount(pairs, minlength=self.rows * SYMBOLS)
        return counts.reshape(self.rows, SYMBOLS)


def find_ranges(content: bytes) -> list[ByteRange]:
    """Return what can be coded by itself in a `.tflite`, in order; [] for any other file."""
    try:
        model = flatbuffer.read(content)
    except EdgenetsError:
        return []
    found = sorted(
        [*_products(model, content), *_weights(model)],
        key=lambda each: (each.start, -each.size_bytes),
    )
    apart: list[ByteRange] = []
    for each in found:  # tensors may share their content
        if each.size_bytes and (not apart or each.start >= apart[-1].end):
            apart.append(each)
    if sum(each.rows for each in apart if each.kind != PRODUCT) > MOST_ROWS:
        apart = [each if each.kind == PRODUCT else each.as_one_row() for each in apart]
    return [each for each in apart if each.kind != PRODUCT or not _reads(each, apart)]


def gaps(size: int, ranges: Iterable[ByteRange]) -> list[slice]:
    """Return the bytes of the file that no range has, in order."""
    position, found = 0, []
    for each in ranges:
        found.append(slice(position, each.start))
        position = each.end
    return [*found, slice(position, size)]


def _weights(model: flatbuffer.Model) -> Iterator[ByteRange]:
    for tensor in model.tensors:
        size = tensor.size_bytes
        if tensor.dtype not in WEIGHT_DTYPES or size < LEAST_WEIGHTS or tensor.data is None:
            continue
        base = int(tensor.zero_point[0]) % SYMBOLS if tensor.zero_point.size == 1 else 0
        if tensor.data.shape != tensor.shape:  # stored sparsely
            yield ByteRange(WEIGHTS_BY_ROW, tensor.offset, 1, size, base)
        elif tensor.scale.size > 1 and tensor.axis == len(tensor.shape) - 1:
            rows = tensor.shape[-1]
            yield ByteRange(WEIGHTS_BY_COLUMN, tensor.offset, rows, size // rows, base)
        else:
            rows = tensor.shape[0]
            yield ByteRange(WEIGHTS_BY_ROW, tensor.offset, rows, size // rows, base)


def _products(model: flatbuffer.Model, content: bytes) -> Iterator[ByteRange]:
    """Yield the scales of biases that are the input's scale times the kernel's."""
    first = np.frombuffer(content, np.uint8).__array_interface__["data"][0]

    def place(values: NDArray[np.float32]) -> int:
        return int(values.__array_interface__["data"][0] - first)

    for operator in model.operators:
        if operator.name not in flatbuffer.WEIGHTED or len(operator.inputs) < 3:
            continue
        image, kernel, bias = (model.tensors[i] for i in operator.inputs[:3])
        if min(operator.inputs[:3]) < 0 or image.scale.size != 1:
            continue
        if bias.scale.size != kernel.scale.size or not bias.scale.size:
            continue
        with np.errstate(all="ignore"):  # of a damaged file
            product = (kernel.scale * image.scale).astype("<f4")
        # What is not a number is another one on another processor; zero has two signs.
        if np.isfinite(product).all() and product.tobytes() == bias.scale.tobytes():
            places = place(bias.scale), bias.scale.size, place(kernel.scale), place(image.scale)
            yield ByteRange(PRODUCT, *places)


def _reads(product: ByteRange, ranges: Iterable[ByteRange]) -> bool:
    """Tell whether a product is of bytes that a range has."""
    read = ((product.columns, 4 * product.rows), (product.base, 4))
    return any(
        start < each.end and each.start < start + size for each in ranges for start, size in read
    )
