"""The package (.epk): any file, byte for byte, with the weights of a `.tflite` entropy coded.

    header     magic, version, CRC-32 of all that follows, SHA-256 of the original; in groups of 7
               bits: its size, the bytes of the plan and of the packed skeleton, lzma's setting,
               lanes
    skeleton   by lzma: the plan with the tables, and the file's bytes that it does not name
    weights    states and words of `rans`, for all ranges in one stream

The plan names ranges of the file. Weights are coded with a table for each output channel. The
scales of a quantized bias are left out where they are the product of others, as the converter makes
them. Nothing is allocated that the package's sizes do not allow, and nothing is returned before its
SHA-256 is that of the original. docs/package-format.md says all that another decoder needs.

Unpacking needs NumPy and the standard library only.
"""

from __future__ import annotations

import hashlib
import itertools
import lzma
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.quantize import rans
from edgenets.quantize.frequencies import TABLE_COUNTS, Tables, choose_tables, to_frequencies

MAGIC, VERSION = b"\x89EPK", 1
HEADER = struct.Struct("<4sBI32s")  # before its numbers
NUMBERS = 5
CRC_FROM = 9  # what the CRC-32 covers, to the end

MOST_BYTES = 1 << 28  # of a file: more than any board's network has
LEAST_WEIGHTS = 256  # of a tensor that is coded; smaller ones stay in the skeleton
WEIGHT_DTYPES = ("int8", "uint8")
STEPS_PER_LANE = 3000  # bytes of a lane, about: fewer lanes decode slower, more take more room
MOST_LANES = 1024
WEIGHTS_BY_ROW, WEIGHTS_BY_COLUMN, PRODUCT = range(3)
SMALLEST_DICTIONARY = 1 << 12  # of lzma; it is the least power of two that holds all
MOST_BITS = 35  # of a number
# lzma's lc, lp and pb: for bytes of any kind, and for files of 4-byte numbers.
PROPERTIES = ((3, 0, 2), (4, 0, 0), (1, 2, 2), (0, 2, 2))


Number = TypeVar("Number", bound=np.integer[Any])
NO_TABLES = Tables(np.zeros((0, rans.SYMBOLS), np.uint8), np.zeros(0, np.uint8), 0.0)


class Range(NamedTuple):
    """Bytes of the file that the skeleton does not hold.

    Of weights, row i has the table i: `rows` runs of `columns` bytes, or with WEIGHTS_BY_COLUMN
    `columns` runs of a byte from each row. Of a PRODUCT, `rows` float32 numbers are those at
    `columns` in the file, times the one at `factor`.
    """

    kind: int
    start: int
    rows: int
    columns: int
    factor: int = 0

    @property
    def size_bytes(self) -> int:
        """How long it is."""
        return 4 * self.rows if self.kind == PRODUCT else self.rows * self.columns

    @property
    def end(self) -> int:
        """Where it ends."""
        return self.start + self.size_bytes

    def spread(self, of_rows: NDArray[Number]) -> NDArray[Number]:
        """Return for each byte of weights what `of_rows` has for its row."""
        if self.kind == WEIGHTS_BY_ROW:
            return np.repeat(of_rows, self.columns)
        return np.tile(of_rows, self.columns)

    def histograms(self, content: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return how often each byte occurs in each row of weights, [rows, 256]."""
        rows = self.spread(np.arange(self.rows)) if self.rows > 1 else 0
        pairs = rows * rans.SYMBOLS + content[self.start : self.end].astype(np.int64)
        counts = np.bincount(pairs, minlength=self.rows * rans.SYMBOLS)
        return counts.reshape(self.rows, rans.SYMBOLS)


def pack(content: bytes) -> bytes:
    """Return the package of a file.

    Raises:
        EdgenetsError: it is larger than 256 MiB.
    """
    if len(content) > MOST_BYTES:
        raise EdgenetsError(
            f"a package holds at most {MOST_BYTES:,} bytes, the file has {len(content):,}"
        )
    ranges = _worth_coding(content, find_ranges(content))
    options = [_parts(content, named) for named in ([ranges, []] if ranges else [[]])]
    best = min(options, key=lambda parts: len(_compress(parts.skeleton)) + len(parts.coded))
    return _assemble(content, best)


def unpack(package: bytes) -> bytes:
    """Return the file that was packed.

    Raises:
        EdgenetsError: it is not a package, or of a newer version, or damaged.
    """
    if not package.startswith(MAGIC):
        raise EdgenetsError("this is not a package (.epk) of edgenets")
    if len(package) > len(MAGIC) and package[len(MAGIC)] != VERSION:
        raise EdgenetsError(
            f"the package has version {package[len(MAGIC)]}, this edgenets reads version "
            f"{VERSION}; install a newer edgenets"
        )
    try:
        return _unpack(package)
    except (ValueError, struct.error, lzma.LZMAError, MemoryError) as error:
        raise EdgenetsError(f"the package is damaged ({error}); copy or pack it again") from error


def find_ranges(content: bytes) -> list[Range]:
    """Return what the skeleton of a `.tflite` can leave out, in order; [] for any other file."""
    try:
        model = flatbuffer.read(content)
    except EdgenetsError:
        return []
    found = sorted(
        [*_products(model, content), *_weights(model)],
        key=lambda each: (each.start, -each.size_bytes),
    )
    apart: list[Range] = []
    for each in found:  # tensors may share their content
        if each.size_bytes and (not apart or each.start >= apart[-1].end):
            apart.append(each)
    named = _mask(len(content), apart)
    return [each for each in apart if each.kind != PRODUCT or not _reads(each, named)]


def _weights(model: flatbuffer.Model) -> Iterator[Range]:
    for tensor in model.tensors:
        size = tensor.size_bytes
        if tensor.dtype not in WEIGHT_DTYPES or size < LEAST_WEIGHTS or tensor.data is None:
            continue
        if tensor.data.shape != tensor.shape:  # stored sparsely
            yield Range(WEIGHTS_BY_ROW, tensor.offset, 1, size)
        elif tensor.scale.size > 1 and tensor.axis == len(tensor.shape) - 1:
            rows = tensor.shape[-1]
            yield Range(WEIGHTS_BY_COLUMN, tensor.offset, rows, size // rows)
        else:
            rows = tensor.shape[0]
            yield Range(WEIGHTS_BY_ROW, tensor.offset, rows, size // rows)


def _products(model: flatbuffer.Model, content: bytes) -> Iterator[Range]:
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
        if np.array_equal(kernel.scale * image.scale, bias.scale):
            places = place(bias.scale), bias.scale.size, place(kernel.scale), place(image.scale)
            yield Range(PRODUCT, *places)


def _reads(product: Range, named: NDArray[np.bool_]) -> bool:
    """Tell whether a product is of bytes that the skeleton does not hold."""
    scales = named[product.columns : product.columns + 4 * product.rows]
    return bool(scales.any() or named[product.factor : product.factor + 4].any())


def _worth_coding(content: bytes, ranges: Iterable[Range]) -> list[Range]:
    """Return the ranges without the weights that lzma alone stores in less than their entropy."""
    data = np.frombuffer(content, np.uint8)

    def is_worth(found: Range) -> bool:
        if found.kind == PRODUCT:
            return True
        tables = choose_tables(found.histograms(data), 1)
        return tables.bits / 8 < len(_compress(content[found.start : found.end]))

    return [found for found in ranges if is_worth(found)]


class _Parts(NamedTuple):
    """A package before lzma."""

    plan_bytes: int
    skeleton: bytes
    stream: rans.Stream | None

    @property
    def coded(self) -> bytes:
        """The states and words."""
        if self.stream is None:
            return b""
        states, words = self.stream
        return states.astype("<u4").tobytes() + words.astype("<u2").tobytes()

    @property
    def lanes(self) -> int:
        """How many there are; 0 where nothing is coded."""
        return 0 if self.stream is None else len(self.stream.states)


def _parts(content: bytes, ranges: list[Range]) -> _Parts:
    """Code the named bytes and collect the others."""
    data = np.frombuffer(content, np.uint8)
    weights = [found for found in ranges if found.kind != PRODUCT]
    rest = data[~_mask(len(content), ranges)].tobytes()
    plan = _plan(ranges)
    if not weights:
        plan += _stored(NO_TABLES)
        return _Parts(len(plan), plan + rest, None)
    histograms = np.concatenate([found.histograms(data) for found in weights])
    options = [choose_tables(histograms, count) for count in TABLE_COUNTS]
    tables = min(options, key=lambda each: each.bits / 8 + len(_compress(_stored(each))))
    symbols = np.concatenate([data[found.start : found.end] for found in weights])
    which = _which(weights, tables.rows)
    stream = rans.encode(symbols, which, to_frequencies(tables.stored), _lanes(len(symbols)))
    plan += _stored(tables)
    return _Parts(len(plan), plan + rest, stream)


def _lanes(symbols: int) -> int:
    """Return the power of two that gives each lane about `STEPS_PER_LANE` bytes."""
    return min(MOST_LANES, 1 << max(0, (symbols // STEPS_PER_LANE).bit_length() - 1))


def _assemble(content: bytes, parts: _Parts) -> bytes:
    packed, properties = min(
        ((_compress(parts.skeleton, each), each) for each in PROPERTIES),
        key=lambda one: len(one[0]),
    )
    numbers = (
        *(len(content), parts.plan_bytes, len(packed)),
        *(PROPERTIES.index(properties), parts.lanes),
    )
    covered = hashlib.sha256(content).digest() + _varints(numbers) + packed + parts.coded
    return HEADER.pack(MAGIC, VERSION, zlib.crc32(covered), b"")[:CRC_FROM] + covered


def _unpack(package: bytes) -> bytes:
    _, _, crc, sha256 = HEADER.unpack_from(package)
    if zlib.crc32(package[CRC_FROM:]) != crc:
        raise ValueError("its check sum differs")
    numbers = list(itertools.islice(_read_varints(package, HEADER.size), NUMBERS))
    (size, plan_bytes, packed_bytes, properties, lanes), at = zip(*numbers, strict=True)
    if size > MOST_BYTES or plan_bytes > MOST_BYTES:
        raise ValueError("its sizes are too large")
    if properties >= len(PROPERTIES):
        raise ValueError("its lzma setting is unknown")
    coded = package[at[-1] + packed_bytes :]
    text = _decompress(package[at[-1] :][:packed_bytes], properties, plan_bytes + size)
    if plan_bytes > len(text):
        raise ValueError("its plan is cut short")
    ranges, tables = _read_plan(text[:plan_bytes], size)
    data = np.zeros(size, np.uint8)
    named = _mask(size, ranges)
    rest = np.frombuffer(text, np.uint8, offset=plan_bytes)
    if np.count_nonzero(~named) != len(rest):
        raise ValueError("its skeleton has another size")
    data[~named] = rest
    weights = [found for found in ranges if found.kind != PRODUCT]
    symbols = _decode_weights(coded, lanes, weights, tables)
    for found in weights:
        data[found.start : found.end] = symbols[: found.size_bytes]
        symbols = symbols[found.size_bytes :]
    for found in ranges:
        if found.kind == PRODUCT:
            _multiply(data, found)
    content = data.tobytes()
    if hashlib.sha256(content).digest() != sha256:
        raise ValueError("its content is another one than was packed")
    return content


def _decode_weights(
    coded: bytes, lanes: int, weights: list[Range], tables: Tables
) -> NDArray[np.uint8]:
    if not weights:
        if coded or lanes:
            raise ValueError("something follows its end")
        return np.zeros(0, np.uint8)
    if not 1 <= lanes <= MOST_LANES or len(coded) < 4 * lanes or len(coded) % 2:
        raise ValueError("its coded weights are cut short")
    states = np.frombuffer(coded, "<u4", lanes).astype(np.uint32)
    words = np.frombuffer(coded, "<u2", offset=4 * lanes).astype(np.uint16)
    which = _which(weights, tables.rows)
    return rans.decode(rans.Stream(states, words), which, to_frequencies(tables.stored))


def _which(weights: list[Range], rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the table of each coded byte."""
    ends = list(itertools.accumulate(found.rows for found in weights))
    return np.concatenate(
        [
            found.spread(rows[end - found.rows : end])
            for found, end in zip(weights, ends, strict=True)
        ]
    )


def _multiply(data: NDArray[np.uint8], product: Range) -> None:
    numbers = [
        data[start : start + 4 * count].view("<f4")
        for start, count in ((product.columns, product.rows), (product.factor, 1))
    ]
    data[product.start : product.end] = (numbers[0] * numbers[1]).astype("<f4").view(np.uint8)


def _mask(size: int, ranges: Iterable[Range]) -> NDArray[np.bool_]:
    """Tell which bytes of the file are named by a range."""
    named = np.zeros(size, np.bool_)
    for found in ranges:
        named[found.start : found.end] = True
    return named


def _plan(ranges: Iterable[Range]) -> bytes:
    numbers: list[int] = []
    position = 0
    for found in ranges:
        numbers += [found.kind + 1, found.start - position, found.rows, found.columns]
        numbers += [found.factor] if found.kind == PRODUCT else []
        position = found.end
    return _varints([*numbers, 0])


def _stored(tables: Tables) -> bytes:
    """Return the tables as the plan holds them: how many, their bytes' differences, the rows."""
    steps = np.diff(tables.stored, axis=1, prepend=np.uint8(0))  # modulo 256
    return bytes([len(tables.stored)]) + steps.tobytes() + tables.rows.tobytes()


def _read_plan(plan: bytes, size: int) -> tuple[list[Range], Tables]:
    numbers = _read_varints(plan)
    ranges: list[Range] = []
    position, rows = 0, 0
    while kind := next(numbers)[0]:
        start, *shape = (next(numbers)[0] for _ in range(4 if kind == PRODUCT + 1 else 3))
        found = Range(kind - 1, position + start, *shape)
        if kind > PRODUCT + 1 or not found.rows or found.size_bytes > size - found.start:
            raise ValueError("its plan names bytes that the file has not")
        if found.kind == PRODUCT:
            if max(found.columns + 4 * found.rows, found.factor + 4) > size:
                raise ValueError("its plan names scales that the file has not")
        else:
            rows += found.rows
        ranges.append(found)
        position = found.end
    count, at = next(numbers)
    table_bytes = count * rans.SYMBOLS
    if len(plan) != at + table_bytes + rows:
        raise ValueError("its tables have another size")
    steps = np.frombuffer(plan, np.uint8, table_bytes, at).reshape(count, rans.SYMBOLS)
    of_rows = np.frombuffer(plan, np.uint8, rows, at + table_bytes)
    if rows and int(of_rows.max()) >= count:
        raise ValueError("its plan names a table that is not there")
    return ranges, Tables(np.cumsum(steps, axis=1, dtype=np.uint8), of_rows, 0.0)


def _varints(numbers: Iterable[int]) -> bytes:
    """Return numbers in groups of 7 bits, the lowest first; all but the last have the top bit."""
    content = bytearray()
    for number in numbers:
        while number >= 128:
            content.append(number & 127 | 128)
            number >>= 7
        content.append(number)
    return bytes(content)


def _read_varints(content: bytes, start: int = 0) -> Iterator[tuple[int, int]]:
    """Yield each number and where the next one begins."""
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


def _filters(properties: tuple[int, int, int], most_bytes: int) -> list[dict[str, int]]:
    lc, lp, pb = properties
    dictionary = max(SMALLEST_DICTIONARY, 1 << (most_bytes - 1).bit_length())
    return [
        {
            **{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME},
            **{"dict_size": dictionary, "lc": lc, "lp": lp, "pb": pb},
        }
    ]


def _compress(content: bytes, properties: tuple[int, int, int] = PROPERTIES[0]) -> bytes:
    filters = _filters(properties, len(content))
    return lzma.compress(content, format=lzma.FORMAT_RAW, filters=filters)


def _decompress(packed: bytes, properties: int, most_bytes: int) -> bytes:
    """Return at most `most_bytes`, or fail before there are more."""
    filters = _filters(PROPERTIES[properties], most_bytes)
    decompressor = lzma.LZMADecompressor(format=lzma.FORMAT_RAW, filters=filters)
    content = decompressor.decompress(packed, max_length=most_bytes + 1)
    if len(content) > most_bytes or not decompressor.eof or decompressor.unused_data:
        raise ValueError("its skeleton is cut short or too long")
    return content
