"""docs/reference/package-format.md is enough: a plain decoder that follows it alone."""

from __future__ import annotations

import hashlib
import lzma
import struct
import zlib
from collections.abc import Callable

import numpy as np

from edgenets.quantize.package.epk import pack

SETTINGS = [(3, 0, 2), (4, 0, 0), (1, 2, 2), (0, 2, 2)]


def test_packages_are_decoded_by_the_documented_format_alone(dense_file: Callable[..., bytes]):
    random = np.random.default_rng(0)
    kernel = random.normal(0, 3, (20, 64)).round().astype(np.int8)
    kernel[::2] //= 4
    files = [
        dense_file(kernel),
        dense_file(kernel.view(np.uint8) + np.uint8(128), zero_point=128),
        dense_file(kernel, axis=1),
        *(b"no model", b""),
    ]
    for content in files:
        assert unpack_plainly(pack(content)) == content


def unpack_plainly(package: bytes) -> bytes:
    assert package[:5] == b"\x89EPK\x02"
    assert int.from_bytes(package[5:9], "little") == zlib.crc32(package[9:])
    numbers, at = [], 41
    for _ in range(6):
        number, at = read_varint(package, at)
        numbers.append(number)
    size, plan_bytes, packed_plan_bytes, packed_rest_bytes, settings, lanes = numbers
    plan = unlzma(package[at : at + packed_plan_bytes], settings % 4, plan_bytes)
    ranges, tables, table_of_row = read_plan(plan)
    at += packed_plan_bytes
    end = len(package) - max(0, packed_rest_bytes - 2 * lanes)
    weights = [found for found in ranges if found[0] != 3]
    which, coded = [], []
    row = 0
    for kind, _, rows, columns, _ in weights:
        for i in range(rows * columns):
            which.append(table_of_row[row + (i // columns if kind == 1 else i % rows)])
        row += rows
    states = list(struct.unpack_from(f"<{lanes}I", package, at))
    words = iter(struct.unpack(f"<{(end - at - 4 * lanes) // 2}H", package[at + 4 * lanes : end]))
    for first in range(0, len(which), lanes or 1):
        step = range(min(lanes, len(which) - first))
        for lane in step:
            slot, high = states[lane] % 2**13, states[lane] // 2**13
            byte, start, frequency = tables[which[first + lane]][slot]
            states[lane] = frequency * high + slot - start
            coded.append(byte)
        for lane in step:
            if states[lane] < 2**16:
                states[lane] = states[lane] * 2**16 + next(words)
    assert not list(words) and all(2**16 <= state < 2**17 for state in states)
    head = struct.pack(f"<{lanes}H", *(state % 2**16 for state in states))
    left = size - sum(4 * found[2] if found[0] == 3 else found[2] * found[3] for found in ranges)
    rest = unlzma(head[:packed_rest_bytes] + package[end:], settings // 4, left)
    file = bytearray()
    for kind, gap, rows, columns, base in ranges:
        file, rest = file + rest[:gap], rest[gap:]
        count = 4 * rows if kind == 3 else rows * columns
        file += bytes(count) if kind == 3 else bytes((b + base) % 256 for b in coded[:count])
        coded = coded if kind == 3 else coded[count:]
    file += rest
    position = 0
    for kind, gap, rows, columns, base in ranges:
        position += gap
        if kind == 3:
            (factor,) = struct.unpack_from("<f", file, base)
            for i, number in enumerate(struct.unpack_from(f"<{rows}f", file, columns)):
                struct.pack_into("<f", file, position + 4 * i, number * factor)
        position += 4 * rows if kind == 3 else rows * columns
    assert hashlib.sha256(file).digest() == package[9:41]
    return bytes(file)


def read_varint(content: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        number |= (content[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if content[at - 1] < 128:
            return number, at


def unlzma(packed: bytes, setting: int, size: int) -> bytes:
    lc, lp, pb = SETTINGS[setting]
    filters = {"id": lzma.FILTER_LZMA2, "dict_size": max(4096, size), "lc": lc, "lp": lp, "pb": pb}
    content = lzma.decompress(packed, format=lzma.FORMAT_RAW, filters=[filters])
    assert len(content) == size
    return content


def read_plan(plan: bytes) -> tuple[list[list[int]], list[list[tuple[int, int, int]]], bytes]:
    """Return the ranges, for each table the byte, start and frequency of every slot, and rows."""
    ranges: list[list[int]] = []
    at = 0
    if not plan:
        return ranges, [], b""
    while True:
        kind, at = read_varint(plan, at)
        if kind == 0:
            break
        ranges.append([kind])
        for _ in range(4):
            number, at = read_varint(plan, at)
            ranges[-1].append(number)
    count, at = read_varint(plan, at)
    tables = []
    for _ in range(count):
        stored, total = [], 0
        for difference in plan[at : at + 256]:
            total = (total + difference) % 256
            stored.append(total)
        at += 256
        known = [b if b < 8 else (8 + b % 8) << (b // 8 - 1) for b in stored]
        left = 2**13 - sum(known[i] for i in range(256) if stored[i] != 255)
        slots: list[tuple[int, int, int]] = []
        for byte in range(256):
            frequency = left if stored[byte] == 255 else known[byte]
            slots += [(byte, len(slots), frequency)] * frequency
        tables.append(slots)
    return ranges, tables, plan[at:]
