"""The package (.epk): any file, byte for byte, with the weights of a `.tflite` entropy coded.

    header     magic, version, CRC-32 of all that follows, SHA-256 of the original, six numbers
    plan       by lzma: which ranges of the file are coded, and the tables
    weights    states and words of `rans`, for all ranges in one stream
    rest       by lzma: the file's bytes that no range has; what fits in is in the ends of `rans`

Weights are coded with a table for each output channel; products are computed, not stored. Nothing
is allocated that the package's sizes do not allow, and nothing is returned before its SHA-256 is
that of the original. docs/reference/package-format.md says all that another decoder needs.

Unpacking needs NumPy and the standard library only.
"""

from __future__ import annotations

import hashlib
import itertools
import lzma
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets import flatbuffer, memory
from edgenets.errors import EdgenetsError
from edgenets.quantize.package import rans
from edgenets.quantize.package.frequencies import (
    MOST_TABLES,
    Tables,
    choose_tables,
    first_groups,
    to_frequencies,
)
from edgenets.quantize.package.weight_ranges import PRODUCT, ByteRange, find_ranges, gaps

MAGIC, VERSION = flatbuffer.PACKAGE, 2
HEADER = struct.Struct("<4sBI32s")  # before its numbers
CRC_FROM = 9  # what the CRC-32 covers, to the end

MOST_BYTES = 1 << 28  # of a file: more than any board's network has
MOST_PLAN_BYTES = 1 << 22
MEMORY_PER_BYTE, MEMORY_PER_PLAN_BYTE = 3, 48  # that unpacking takes
BYTES_PER_LANE = 600  # at least: fewer lanes decode slower, more take more room
MOST_LANES = 1 << 9
MOST_STEPS = MOST_BYTES // MOST_LANES  # that a lane may take: they bound the time of decoding
MOST_BITS = 35  # of a number
SAMPLE_BYTES = 1 << 18  # by which lzma's setting is chosen
READ_BYTES = 1 << 14  # that lzma takes in or gives out at a time
LEAST_DICTIONARY = 1 << 12  # of lzma; otherwise it is as large as what is packed
# lzma's lc, lp and pb: for bytes of any kind, and for files of 4-byte numbers.
PROPERTIES = ((3, 0, 2), (4, 0, 0), (1, 2, 2), (0, 2, 2))

Bytes = NDArray[np.uint8]
NO_TABLES = Tables(np.zeros((0, rans.SYMBOLS), np.uint8), np.zeros(0, np.uint8), 0.0)


class _Numbers(NamedTuple):
    """The numbers of the header."""

    size: int  # of the original, in bytes
    plan_bytes: int
    packed_plan_bytes: int
    packed_rest_bytes: int
    properties: int  # of the plan, + 4 times those of the rest
    lanes: int


def pack(content: bytes) -> bytes:
    """Return the package of a file.

    Raises:
        EdgenetsError: it is larger than 256 MiB.
    """
    check_size(len(content))
    data = np.frombuffer(content, np.uint8)
    whole = _Option([], NO_TABLES, content, _compress(content))
    options = [whole, *_coded(data, find_ranges(content))]
    return _assemble(data, min(options, key=lambda option: option.size_bytes))


def check_size(size_bytes: int) -> None:
    """Check that a file is not too large for a package.

    Raises:
        EdgenetsError: it is.
    """
    if size_bytes > MOST_BYTES:
        raise EdgenetsError(
            f"a package holds at most {MOST_BYTES:,} bytes, the file has {size_bytes:,}"
        )


def unpack(package: bytes) -> bytes:
    """Return the file that was packed.

    Raises:
        EdgenetsError: it is not a package, or of another version, or damaged; or it takes more
            memory than a file may (`edgenets.memory`).
    """
    if not package.startswith(MAGIC):
        raise EdgenetsError("this is not a package (.epk) of edgenets")
    if len(package) > len(MAGIC) and (version := package[len(MAGIC)]) != VERSION:
        way_out = "install a newer edgenets" if version > VERSION else "pack the file again"
        raise EdgenetsError(
            f"the package has version {version}, this edgenets reads version {VERSION}; {way_out}"
        )
    try:
        data, sha256 = _unpack(memoryview(package))
        if hashlib.sha256(data.data).digest() != sha256:
            raise ValueError("its content is another one than was packed")
        return data.tobytes()
    except MemoryError as error:
        raise EdgenetsError(
            "there is not enough memory to unpack the package; end other programs, or unpack it on "
            "a larger machine"
        ) from error
    except (ValueError, EOFError, lzma.LZMAError) as error:
        raise EdgenetsError(f"the package is damaged ({error}); copy or pack it again") from error


class _Option(NamedTuple):
    """What can be packed of a file, before its weights are coded."""

    ranges: list[ByteRange]
    tables: Tables
    rest: bytes
    packed_rest: bytes  # with the first of PROPERTIES

    @property
    def weights(self) -> list[ByteRange]:
        """The ranges that are coded with tables."""
        return [found for found in self.ranges if found.kind != PRODUCT]

    @property
    def plan(self) -> bytes:
        """The ranges and tables as they are stored; b"" without any."""
        return _plan(self.ranges) + _stored(self.tables) if self.ranges else b""

    @property
    def size_bytes(self) -> float:
        """What it will take, about."""
        return len(_compress(self.plan)) + self.tables.bits / 8 + len(self.packed_rest)


def _coded(data: Bytes, found: list[ByteRange]) -> Iterator[_Option]:
    """Yield the option that codes ranges, if there are some that are worth it."""
    ranges, histograms = [], []
    for each in found:
        counts = None if each.kind == PRODUCT else each.histograms(data)
        if counts is None or _is_worth_coding(data, each, counts):
            ranges.append(each)
            histograms += [] if counts is None else [counts]
    if not ranges:
        return
    tables = NO_TABLES
    if histograms:
        rows = np.concatenate(histograms)
        tensors = np.repeat(np.arange(len(histograms)), [len(counts) for counts in histograms])
        options = [choose_tables(rows, groups) for groups in first_groups(rows, tensors)]
        tables = min(options, key=lambda each: each.bits / 8 + len(_compress(_stored(each))))
    rest = b"".join(data[gap].tobytes() for gap in gaps(len(data), ranges))
    option = _Option(ranges, tables, rest, _compress(rest))
    if len(option.plan) <= MOST_PLAN_BYTES:
        yield option


def _is_worth_coding(data: Bytes, weights: ByteRange, histograms: NDArray[np.int64]) -> bool:
    """Tell whether weights take less by one table than by lzma."""
    bits = choose_tables(histograms, np.zeros(weights.rows, np.intp)).bits
    return bits / 8 < len(_compress(data[weights.start : weights.end].tobytes()))


def _assemble(data: Bytes, option: _Option) -> bytes:
    plan, plan_properties = _smallest(option.plan, _compress(option.plan))
    rest, rest_properties = _smallest(option.rest, option.packed_rest)
    coded, lanes = b"", 0
    if option.weights:
        symbols = np.concatenate([found.symbols(data) for found in option.weights])
        lanes = min(MOST_LANES, max(1, len(symbols) // BYTES_PER_LANE))
        ends = np.frombuffer(rest[: 2 * lanes].ljust(2 * lanes, b"\0"), "<u2")
        which = _which(option.weights, option.tables.rows)
        frequencies = to_frequencies(option.tables.stored)
        states, words = rans.encode(symbols, which, frequencies, ends)
        coded = states.astype("<u4").tobytes() + words.astype("<u2").tobytes()
    numbers = _Numbers(
        size=len(data),
        plan_bytes=len(option.plan),
        packed_plan_bytes=len(plan),
        packed_rest_bytes=len(rest),
        properties=plan_properties + len(PROPERTIES) * rest_properties,
        lanes=lanes,
    )
    sha256 = hashlib.sha256(data.data).digest()
    covered = sha256 + _varints(numbers) + plan + coded + rest[2 * lanes :]
    return HEADER.pack(MAGIC, VERSION, zlib.crc32(covered), b"")[:CRC_FROM] + covered


def _smallest(content: bytes, packed: bytes) -> tuple[bytes, int]:
    """Return the content as the best of PROPERTIES packs it, and which that is.

    A part in the middle tells which may be better than the first one, which made `packed`.
    """
    middle = max(0, len(content) - SAMPLE_BYTES) // 2
    sample = content[middle : middle + SAMPLE_BYTES]
    best = min(range(len(PROPERTIES)), key=lambda number: len(_compress(sample, number)))
    other = _compress(content, best)
    return (other, best) if len(other) < len(packed) else (packed, 0)


def _unpack(package: memoryview) -> tuple[Bytes, bytes]:
    """Return what was packed, and the SHA-256 that it should have."""
    if len(package) < HEADER.size:
        raise ValueError("it is cut short")
    _, _, crc, sha256 = HEADER.unpack_from(package)
    if zlib.crc32(package[CRC_FROM:]) != crc:
        raise ValueError("its check sum differs")
    values = list(itertools.islice(_read_varints(package, HEADER.size), len(_Numbers._fields)))
    numbers, at = _Numbers(*(number for number, _ in values)), values[-1][1]
    if numbers.size > MOST_BYTES or numbers.plan_bytes > MOST_PLAN_BYTES:
        raise ValueError("its sizes are too large")
    memory.require(
        MEMORY_PER_BYTE * numbers.size + MEMORY_PER_PLAN_BYTE * numbers.plan_bytes,
        "it unpacks to too much",
    )
    rest_properties, plan_properties = divmod(numbers.properties, len(PROPERTIES))
    if rest_properties >= len(PROPERTIES):
        raise ValueError("its lzma setting is unknown")
    coded = package[at + numbers.packed_plan_bytes :]
    plan = np.empty(numbers.plan_bytes, np.uint8)
    _decompress(package[at : at + numbers.packed_plan_bytes], plan_properties, plan, [slice(None)])
    ranges, tables = _read_plan(plan.tobytes(), numbers.size)
    weights = [found for found in ranges if found.kind != PRODUCT]
    symbols, rest = _decode_weights(coded, numbers, weights, tables)
    data = np.empty(numbers.size, np.uint8)
    _decompress(rest, rest_properties, data, gaps(numbers.size, ranges))
    position = 0
    for found in weights:
        coded_bytes = symbols[position : position + found.size_bytes]
        np.add(coded_bytes, np.uint8(found.base), out=data[found.start : found.end])
        position += found.size_bytes
    for found in ranges:
        if found.kind == PRODUCT:
            _multiply(data, found)
    return data, sha256


def _decode_weights(
    coded: memoryview, numbers: _Numbers, weights: list[ByteRange], tables: Tables
) -> tuple[Bytes, memoryview]:
    """Return the bytes of all weights, and the packed rest."""
    lanes, rest_bytes = numbers.lanes, numbers.packed_rest_bytes
    count = sum(found.size_bytes for found in weights)
    in_ends = min(2 * lanes, rest_bytes)
    words_end = len(coded) - (rest_bytes - in_ends)
    if words_end < 4 * lanes or words_end % 2:
        raise ValueError("it is cut short")
    if lanes > MOST_LANES or count > lanes * MOST_STEPS or (not weights and words_end):
        raise ValueError("its coded weights have another size")
    if not weights:
        return np.empty(0, np.uint8), coded
    states = np.frombuffer(coded, "<u4", lanes).astype(np.uint32)
    words = np.frombuffer(coded[4 * lanes : words_end], "<u2")
    which = _which(weights, tables.rows)
    symbols, ends = rans.decode(rans.Stream(states, words), which, to_frequencies(tables.stored))
    head = ends.astype("<u2").tobytes()[:in_ends]
    return symbols, memoryview(head + coded[words_end:].tobytes())


def _which(weights: list[ByteRange], rows: NDArray[np.uint8]) -> Bytes:
    """Return the table of each coded byte."""
    which = np.empty(sum(found.size_bytes for found in weights), np.uint8)
    position, row = 0, 0
    for found in weights:
        which[position : position + found.size_bytes] = found.spread(rows[row : row + found.rows])
        position, row = position + found.size_bytes, row + found.rows
    return which


def _multiply(data: Bytes, product: ByteRange) -> None:
    numbers = [
        data[start : start + 4 * count].view("<f4")
        for start, count in ((product.columns, product.rows), (product.base, 1))
    ]
    data[product.start : product.end] = (numbers[0] * numbers[1]).astype("<f4").view(np.uint8)


def _plan(ranges: Iterable[ByteRange]) -> bytes:
    numbers: list[int] = []
    position = 0
    for found in ranges:
        numbers += [found.kind + 1, found.start - position, *found[2:]]
        position = found.end
    return _varints([*numbers, 0])


def _stored(tables: Tables) -> bytes:
    """Return the tables as the plan holds them: how many, their bytes' differences, the rows."""
    steps = np.diff(tables.stored, axis=1, prepend=np.uint8(0))  # modulo 256
    return _varints([len(tables.stored)]) + steps.tobytes() + tables.rows.tobytes()


def _read_plan(plan: bytes, size: int) -> tuple[list[ByteRange], Tables]:
    if not plan:
        return [], NO_TABLES
    numbers = _read_varints(plan)
    ranges: list[ByteRange] = []
    position, rows = 0, 0
    while kind := next(numbers)[0]:
        start, *others = (next(numbers)[0] for _ in range(4))
        found = ByteRange(kind - 1, position + start, *others)
        if kind > PRODUCT + 1 or not found.size_bytes or found.size_bytes > size - found.start:
            raise ValueError("its plan names bytes that the file has not")
        if found.kind == PRODUCT:
            if max(found.columns + 4 * found.rows, found.base + 4) > size:
                raise ValueError("its plan names scales that the file has not")
        else:
            rows += found.rows
        ranges.append(found)
        position = found.end
    count, at = next(numbers)
    table_bytes = count * rans.SYMBOLS
    if count > MOST_TABLES or len(plan) != at + table_bytes + rows:
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


def _read_varints(content: bytes | memoryview, start: int = 0) -> Iterator[tuple[int, int]]:
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


def _filters(properties: int, size: int) -> list[dict[str, int]]:
    lc, lp, pb = PROPERTIES[properties]
    return [
        {
            **{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME},
            **{"dict_size": max(LEAST_DICTIONARY, size), "lc": lc, "lp": lp, "pb": pb},
        }
    ]


def _compress(content: bytes, properties: int = 0) -> bytes:
    filters = _filters(properties, len(content))
    return lzma.compress(content, format=lzma.FORMAT_RAW, filters=filters)


def _decompress(
    packed: bytes | memoryview, properties: int, data: Bytes, parts: list[slice]
) -> None:
    """Fill these parts of `data`, in order; fail if there is less or more."""
    targets = [data[part] for part in parts]
    filters = _filters(properties, sum(map(len, targets)))
    decompressor = lzma.LZMADecompressor(format=lzma.FORMAT_RAW, filters=filters)
    taken = 0

    def read(most: int) -> bytes:
        """Return at most so many bytes; none at the end of the input."""
        nonlocal taken
        while not decompressor.eof:
            following = packed[taken : taken + READ_BYTES] if decompressor.needs_input else b""
            taken += len(following)
            if found := decompressor.decompress(following, min(most, READ_BYTES)):
                return found
            if decompressor.needs_input and taken == len(packed):
                break
        return b""

    for target in targets:
        position = 0
        while position < len(target):
            found = read(len(target) - position)
            if not found:
                raise ValueError("its lzma streams are cut short")
            target[position : position + len(found)] = np.frombuffer(found, np.uint8)
            position += len(found)
    if read(1) or not decompressor.eof or decompressor.unused_data or taken < len(packed):
        raise ValueError("its lzma streams do not end where they should")
