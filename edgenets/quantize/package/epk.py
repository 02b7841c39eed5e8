"""The package (.epk): any file, byte for byte, with the weights of a `.tflite` entropy coded.

    header     magic, version, CRC-32 of all that follows, SHA-256 of the original, seven numbers,
               and, of a package that needs another file, the base, its SHA-256
    plan       by lzma: which ranges of the file are coded, and the tables
    coded      states and words of `rans`, for all ranges in one stream
    rest       by lzma: the file's bytes that no range has, then the lower bytes of floats; what
               fits in is in the ends of `rans`

Weights are coded with a family of tables for each output channel, which the context chooses from;
scales that follow from others are computed, not stored. Nothing is allocated that the package's
sizes do not allow, and nothing is returned before its SHA-256 is that of the original.
docs/reference/package-format.md says all that another decoder needs.

Unpacking needs NumPy and the standard library only.
"""

from __future__ import annotations

import hashlib
import lzma
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgenets import memory
from edgenets.errors import EdgenetsError
from edgenets.quantize.package import plan as plans
from edgenets.quantize.package import rans
from edgenets.quantize.package.contexts import walk
from edgenets.quantize.package.frequencies import to_frequencies
from edgenets.quantize.package.header import (
    CRC_FROM,
    HEADER,
    MAGIC,
    VERSION,
    Header,
    Numbers,
    read_header,
)
from edgenets.quantize.package.plan import Plan
from edgenets.quantize.package.ranges import (
    COPY,
    PRODUCT,
    QUOTIENT,
    derive,
    gaps,
    restore,
    restore_planes,
)
from edgenets.quantize.package.streams import (
    PROPERTIES,
    compress,
    decompress,
    smallest,
    varints,
)

if TYPE_CHECKING:
    from edgenets.quantize.package.choose import Option

MOST_BYTES = 1 << 28  # of a file: more than any board's network has
MOST_PLAN_BYTES = 1 << 22
MEMORY_PER_BYTE, MEMORY_PER_PLAN_BYTE = 3, 128  # that unpacking takes; with a base a byte more
BYTES_PER_LANE = 600  # at least: fewer lanes decode slower, more take more room
FEW_LANES, BYTES_PER_FEW = 192, 400  # of small files, which fewer would make slow
LEAST_LANE_BYTES = 32  # that a lane has to code, at least
MOST_LANES = 1 << 9
MOST_STEPS = MOST_BYTES // MOST_LANES  # that a lane may take: they bound the time of decoding

Bytes = NDArray[np.uint8]


def pack(content: bytes, base: bytes | None = None) -> bytes:
    """Return the package of a file.

    >>> new, old = bytes(range(256)) * 8 + b"new", bytes(range(256)) * 8 + b"old"
    >>> package = pack(new, base=old)
    >>> unpack(package, base=old) == new
    True

    Args:
        content: of the file.
        base: of a file that it differs little from: the package needs it, and holds the changes.

    Raises:
        EdgenetsError: a file is larger than 256 MiB, or the base is empty.
    """
    # A board that unpacks needs the memory that these take.
    from edgenets.quantize.package.choose import coded, whole
    from edgenets.quantize.package.delta import refer
    from edgenets.quantize.package.find import find_ranges

    check_size(len(content))
    data, nothing = np.frombuffer(content, np.uint8), np.zeros(0, np.uint8)
    full = _least(whole(content), coded(data, find_ranges(content), nothing))
    if base is None:
        return _assemble(data, full, nothing)
    check_size(len(base))
    if not base:
        raise EdgenetsError("a base file must not be empty; pack without one")
    old = np.frombuffer(base, np.uint8)
    ranges = [find_ranges(each, scales=True) for each in (content, base)]
    changes = _least(full, coded(data, refer(ranges[0], data, ranges[1], old), old))
    options = (full,) if changes is full else (full, changes)
    return min((_assemble(data, option, old) for option in options), key=len)


def _least(first: Option, others: Iterable[Option]) -> Option:
    """Return the option that takes the fewest bytes, of those whose plan may be read."""
    fit = (each for each in others if len(plans.write(each.plan)) <= MOST_PLAN_BYTES)
    return min((first, *fit), key=lambda option: option.size_bytes)


def check_size(size_bytes: int) -> None:
    """Check that a file is not too large for a package.

    Raises:
        EdgenetsError: it is.
    """
    if size_bytes > MOST_BYTES:
        raise EdgenetsError(
            f"a package holds at most {MOST_BYTES:,} bytes, the file has {size_bytes:,}"
        )


def unpack(package: bytes, base: bytes | None = None) -> bytes:
    """Return the file that was packed.

    Args:
        package: that `pack` made.
        base: the base file, if it was made with one.

    Raises:
        EdgenetsError: it is not a package, or of another version, or damaged; or it was made with
            another base, or with one, or with none; or it takes more memory than a file may
            (`edgenets.memory`).
    """
    with _damage_told():
        header = read_header(memoryview(package))
        _check_base(header, base)
        old = np.frombuffer(base or b"", np.uint8)
        data = _unpack(memoryview(package), header, old)
        if hashlib.sha256(data.data).digest() != header.sha256:
            raise ValueError("its content is another one than was packed")
        return data.tobytes()


def base_sha256(package: bytes) -> str | None:
    """Return the SHA-256, in hex digits, of the base that a package needs; None: it needs none.

    Raises:
        EdgenetsError: it is not a package, or of another version, or damaged.
    """
    with _damage_told():
        return read_header(memoryview(package)).base_sha256.hex() or None


@contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise EdgenetsError(
            "there is not enough memory to unpack the package; end other programs, or unpack it on "
            "a larger machine"
        ) from error
    except (ValueError, EOFError, lzma.LZMAError) as error:
        raise EdgenetsError(f"the package is damaged ({error}); copy or pack it again") from error


def _check_base(header: Header, base: bytes | None) -> None:
    needed = header.base_sha256.hex()
    if base is None and needed:
        raise EdgenetsError(
            "the package holds changes to another file; pass --base with the one whose SHA-256 is "
            f"{needed}"
        )
    if base is not None and not needed:
        raise EdgenetsError("the package holds a whole file; unpack it without --base")
    if base is not None and (found := hashlib.sha256(base).hexdigest()) != needed:
        raise EdgenetsError(
            f"the package holds changes to the file whose SHA-256 is {needed}, the one that was "
            f"passed has {found}; pass --base with that file"
        )


def _assemble(data: Bytes, option: Option, base: Bytes) -> bytes:
    content = plans.write(option.plan)
    plan, plan_properties = smallest(content, compress(content), len(content))
    decisive = len(option.rest) or len(option.low)
    rest, rest_properties = smallest(option.rest + option.low, option.packed_rest, decisive)
    stream, lanes = b"", 0
    if option.symbols.size:
        lanes = _lanes(option.symbols.size, option.coded_bytes)
        ends = np.frombuffer(rest[: 2 * lanes].ljust(2 * lanes, b"\0"), "<u2")
        frequencies = to_frequencies(option.plan.tables)
        states, words = rans.encode(option.symbols, option.which, frequencies, ends, option.batches)
        stream = states.astype("<u4").tobytes() + words.astype("<u2").tobytes()
    numbers = Numbers(
        size=len(data),
        plan_bytes=len(content),
        packed_plan_bytes=len(plan),
        packed_rest_bytes=len(rest),
        properties=plan_properties + len(PROPERTIES) * rest_properties,
        lanes=lanes,
        base_size=base.size,
    )
    sha256 = hashlib.sha256(data.data).digest()
    base_sha256 = hashlib.sha256(base.data).digest() if base.size else b""
    covered = sha256 + varints(numbers) + base_sha256 + plan + stream + rest[2 * lanes :]
    return HEADER.pack(MAGIC, VERSION, zlib.crc32(covered), b"")[:CRC_FROM] + covered


def _lanes(symbols: int, coded_bytes: float) -> int:
    """Return how many lanes decode fast and take little."""
    few = min(FEW_LANES, symbols // BYTES_PER_FEW)
    most = min(MOST_LANES, int(coded_bytes) // LEAST_LANE_BYTES)
    return max(1, min(most, max(few, symbols // BYTES_PER_LANE)))


def _unpack(package: memoryview, header: Header, base: Bytes) -> Bytes:
    """Return what was packed."""
    numbers, at = header.numbers, header.end
    if numbers.size > MOST_BYTES or numbers.plan_bytes > MOST_PLAN_BYTES:
        raise ValueError("its sizes are too large")
    per_byte = MEMORY_PER_BYTE + (numbers.base_size > 0)
    taken = per_byte * numbers.size + MEMORY_PER_PLAN_BYTE * numbers.plan_bytes
    memory.require(taken, "it unpacks to too much")
    rest_properties, plan_properties = divmod(numbers.properties, len(PROPERTIES))
    if rest_properties >= len(PROPERTIES):
        raise ValueError("its lzma setting is unknown")
    content = np.empty(numbers.plan_bytes, np.uint8)
    decompress([package[at : at + numbers.packed_plan_bytes]], plan_properties, [content])
    plan = plans.read(content.tobytes(), header.version, numbers.size, len(base))
    stream = package[at + numbers.packed_plan_bytes :]
    found, rest = _decode(stream, numbers, plan, base)
    data = np.empty(numbers.size, np.uint8)
    parts = [*gaps(numbers.size, plan.ranges), *(each.low_part for each in plan.tabled)]
    decompress(rest, rest_properties, [data[part] for part in parts])
    _fill(data, plan, found, base)
    return data


def _decode(
    stream: memoryview, numbers: Numbers, plan: Plan, base: Bytes
) -> tuple[list[Bytes], list[bytes | memoryview]]:
    """Return the symbols of all that is coded, and the packed rest in pieces."""
    lanes, rest_bytes = numbers.lanes, numbers.packed_rest_bytes
    in_ends = min(2 * lanes, rest_bytes)
    words_end = len(stream) - (rest_bytes - in_ends)
    if words_end < 4 * lanes or words_end % 2:
        raise ValueError("it is cut short")
    count = plan.coded_bytes
    if lanes > MOST_LANES or count > lanes * MOST_STEPS or (not count and words_end):
        raise ValueError("its coded weights have another size")
    if not count:
        return [], [stream]
    states = np.frombuffer(stream, "<u4", lanes).astype(np.uint32)
    words = np.frombuffer(stream[4 * lanes : words_end], "<u2")
    decoder = rans.Decoder(rans.Stream(states, words), to_frequencies(plan.tables))
    found = walk(plan.matrices(base), plan.families, plan.units, decoder.decode)
    head = decoder.ends().astype("<u2").tobytes()[:in_ends]
    return found, [head, stream[words_end:]]


def _fill(data: Bytes, plan: Plan, found: list[Bytes], base: Bytes) -> None:
    """Put all that is not in the rest into the file; `found` is emptied."""
    for each in plan.ranges:
        if each.kind == COPY:
            data[each.part] = base[each.in_base]
    found.reverse()
    if plan.integers:
        restore_planes(plan.integers, data, found.pop(), base)
    for each in plan.tabled:
        restore(each, data, found.pop().ravel(), base)  # there need not be memory for all twice
    for kind in (QUOTIENT, PRODUCT):
        for each in plan.ranges:
            if each.kind == kind:
                derive(each, data)
