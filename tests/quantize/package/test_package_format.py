"""docs/reference/package-format.md is enough: a plain decoder that follows it alone."""

from __future__ import annotations

import hashlib
import lzma
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from edgenets.quantize.package.epk import pack

SETTINGS = [(3, 0, 2), (4, 0, 0), (1, 2, 2), (0, 2, 2)]


def test_packages_are_decoded_by_the_documented_format_alone(dense_file: Callable[..., bytes]):
    random = np.random.default_rng(0)
    kernel = random.normal(0, 3, (20, 64)).round().astype(np.int8)
    kernel[::2] //= 4
    tall = random.normal(0, 1, (600, 24)) * random.choice([0.1, 8], 24)
    tall = tall.round().astype(np.int8)
    floats = random.normal(0, 1, (20, 64)).astype(np.float32)
    files = [
        dense_file(kernel),
        dense_file(tall, extremes=True),
        dense_file(kernel.view(np.uint8) + np.uint8(128), zero_point=128),
        dense_file(kernel, axis=1),
        dense_file(floats),
        dense_file(floats.astype(np.float16).reshape(1, 4, 5, 64)),
        *(b"no model", b""),
    ]
    seen = set()
    for content in files:
        assert unpack_plainly(pack(content), seen) == content
    assert seen == {*((kind, 0) for kind in range(1, 8)), (1, 1)}


def test_packages_of_changes_are_decoded_so_too(dense_file: Callable[..., bytes]):
    random = np.random.default_rng(0)
    kernel = random.normal(0, 1, (60, 64)) * random.choice([0.1, 20], (60, 64))
    kernel = kernel.round().astype(np.int8)
    moved = np.where(abs(kernel) > 9, random.integers(-3, 4, kernel.shape), 0)
    floats = random.normal(0, 1, (20, 64)).astype(np.float32)
    pairs = [
        (dense_file(kernel + moved.astype(np.int8)), dense_file(kernel)),
        (dense_file(floats * np.float32(1.0001)), dense_file(floats)),
        (b"new" * 50, b"old" * 50),
    ]
    seen: set[tuple[int, int]] = set()
    for new, old in pairs:
        assert unpack_plainly(pack(new, base=old), seen, old) == new
    assert {(1, 2), (5, 0), (8, 0)} <= seen


def unpack_plainly(package: bytes, seen: set[tuple[int, int]], base: bytes = b"") -> bytes:
    assert package[:5] == b"\x89EPK\x03"
    assert int.from_bytes(package[5:9], "little") == zlib.crc32(package[9:])
    numbers, at = [], 41
    for _ in range(7):
        number, at = read_varint(package, at)
        numbers.append(number)
    size, plan_bytes, packed_plan_bytes, packed_rest_bytes, settings, lanes, base_bytes = numbers
    assert base_bytes == len(base)
    if base:
        assert package[at : at + 32] == hashlib.sha256(base).digest()
        at += 32
    plan = read_plan(unlzma(package[at : at + packed_plan_bytes], settings % 4, plan_bytes))
    seen |= {(each.kind, each.context) for each in plan.ranges}
    at += packed_plan_bytes
    end = len(package) - max(0, packed_rest_bytes - 2 * lanes)
    coder = Coder(package[at : at + 4 * lanes], package[at + 4 * lanes : end], plan.tables)
    coded = read_symbols(plan, coder, base)
    assert not coder.words and all(2**16 <= state < 2**17 for state in coder.states)
    head = struct.pack(f"<{lanes}H", *(state % 2**16 for state in coder.states))
    low = [e.rows * e.columns * (e.base - 1) if e.kind in (6, 7) else 0 for e in plan.ranges]
    left = size - sum(each.size for each in plan.ranges) + sum(low)
    rest = unlzma(head[:packed_rest_bytes] + package[end:], settings // 4, left)
    lows = rest[left - sum(low) :]
    file = bytearray()
    for each, low_bytes in zip(plan.ranges, low, strict=True):
        file, rest = file + rest[: each.gap], rest[each.gap :]
        each.place = len(file)
        if each.kind in (1, 2):
            others = each.of_base(base) if each.reference else bytes([each.base] * each.size)
            both = zip(coded[id(each)], others, strict=True)
            file += bytes((symbol + other) % 256 for symbol, other in both)
        elif each.kind == 8:
            file += each.of_base(base)
        elif each.kind in (6, 7):
            file += to_floats(coded[id(each)], lows[:low_bytes], each.base)
            lows = lows[low_bytes:]
        else:
            file += coded.get(id(each), bytes(each.size))
    file += rest[: left - sum(low) - sum(each.gap for each in plan.ranges)]
    for kind in (4, 3):
        for each in plan.ranges:
            if each.kind == kind:
                derive(file, each)
    assert hashlib.sha256(file).digest() == package[9:41]
    return bytes(file)


@dataclass
class Range:
    kind: int
    gap: int
    rows: int
    columns: int
    base: int
    context: int
    reference: int
    place: int = 0

    @property
    def size(self) -> int:
        if self.kind in (3, 4):
            return 4 * self.rows
        return self.rows * self.columns * (self.base if self.kind in (6, 7) else 1)

    def of_base(self, base: bytes) -> bytes:
        return base[self.reference - 1 : self.reference - 1 + self.size]


class Plan(NamedTuple):
    ranges: list[Range]
    tables: list[list[tuple[int, int, int]]]  # symbol, start and frequency of every slot
    families: list[bytes]
    units: list[int]
    rows: bytes


class Coder:
    """The lanes."""

    def __init__(self, states: bytes, words: bytes, tables: list[list[tuple[int, int, int]]]):
        self.states = [state for (state,) in struct.iter_unpack("<I", states)]
        self.words = [word for (word,) in struct.iter_unpack("<H", words)]
        self.tables = tables

    def decode(self, which: list[int]) -> list[int]:
        found = []
        lanes = len(self.states)
        for first in range(0, len(which), lanes or 1):
            step = range(min(lanes, len(which) - first))
            for lane in step:
                slot, high = self.states[lane] % 2**13, self.states[lane] // 2**13
                symbol, start, frequency = self.tables[which[first + lane]][slot]
                self.states[lane] = frequency * high + slot - start
                found.append(symbol)
            for lane in step:
                if self.states[lane] < 2**16:
                    self.states[lane] = self.states[lane] * 2**16 + self.words.pop(0)
        return found


def read_symbols(plan: Plan, coder: Coder, base: bytes) -> dict[int, bytes]:
    """Return the symbols of weights and floats, and the bytes of integers, by range."""
    coded: dict[int, bytes] = {}
    rows = list(plan.rows)
    integers = [each for each in plan.ranges if each.kind == 5]
    count = sum(each.columns for each in integers)
    numbers = [0] * count
    for _ in range(4 if integers else 0):
        family = plan.families[rows.pop(0)]
        which = [family[min(7, number.bit_length())] for number in numbers]
        symbols = coder.decode(which)
        numbers = [256 * n + symbol for n, symbol in zip(numbers, symbols, strict=True)]
    for each in integers:
        own, numbers = numbers[: each.columns], numbers[each.columns :]
        own = [n >> 1 ^ (0xFFFFFFFF if n & 1 else 0) for n in own]
        if each.reference:
            others = struct.unpack(f"<{len(own)}I", each.of_base(base))
            own = [(n + other) % 2**32 for n, other in zip(own, others, strict=True)]
        coded[id(each)] = struct.pack(f"<{len(own)}I", *own)
    waiting: list[tuple[Range, list[int]]] = []

    def decode_waiting() -> None:
        symbols = coder.decode([table for _, which in waiting for table in which])
        for each, which in waiting:
            coded[id(each)] = bytes(symbols[: len(which)])
            symbols = symbols[len(which) :]
        waiting.clear()

    for each in plan.ranges:
        if each.kind not in (1, 2, 6, 7):
            continue
        own, rows = rows[: each.rows], rows[each.rows :]
        by_row = each.kind in (1, 6)
        lines, width = (each.rows, each.columns) if by_row else (each.columns, each.rows)
        families = [[own[i if by_row else j] for j in range(width)] for i in range(lines)]
        if each.context == 0:
            waiting.append((each, [plan.families[f][0] for line in families for f in line]))
        elif each.context == 2:
            decode_waiting()
            codes = [(byte - each.base) % 256 for byte in each.of_base(base)]
            sizes = [code if code < 128 else 256 - code for code in codes]
            names = [f for line in families for f in line]
            pairs = zip(names, sizes, strict=True)
            which = [plan.families[f][min(7, size.bit_length())] for f, size in pairs]
            coded[id(each)] = bytes(coder.decode(which))
        else:
            decode_waiting()
            coded[id(each)] = decode_by_column(plan, coder, families)
    decode_waiting()
    return coded


def decode_by_column(plan: Plan, coder: Coder, families: list[list[int]]) -> bytes:
    lines, width, known = len(families), len(families[0]), 0
    sums, found = [0] * width, []
    while known < lines:
        group = families[known : known + min(max(1, known), max(1, 4096 // width))]
        bounds = [(32 << i) * (known + 2) for i in range(7)]
        classes = [sum(bound <= total + 512 for bound in bounds) for total in sums]
        which = [plan.families[line[j]][classes[j]] for line in group for j in range(width)]
        symbols = coder.decode(which)
        for i, symbol in enumerate(symbols):
            size = symbol if symbol < 128 else 256 - symbol
            sums[i % width] += min(4096, size * 4096 // plan.units[group[i // width][i % width]])
        found += symbols
        known += len(group)
    return bytes(found)


def to_floats(symbols: bytes, low: bytes, size: int) -> bytes:
    found = bytearray()
    for i, symbol in enumerate(symbols):
        number = int.from_bytes(
            low[i * (size - 1) : (i + 1) * (size - 1)] + bytes([symbol]), "little"
        )
        found += (number >> 1 | (number & 1) << (8 * size - 1)).to_bytes(size, "little")
    return bytes(found)


def derive(file: bytearray, found: Range) -> None:
    for i, number in enumerate(struct.unpack_from(f"<{found.rows}f", file, found.columns)):
        if found.kind == 3:
            value = number * struct.unpack_from("<f", file, found.base)[0]
        else:
            value = (
                max(abs(number), abs(struct.unpack_from("<f", file, found.base + 4 * i)[0])) / 127
            )
        struct.pack_into("<f", file, found.place + 4 * i, value)


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


def read_plan(plan: bytes) -> Plan:
    ranges: list[Range] = []
    at = 0
    if not plan:
        return Plan(ranges, [], [], [], b"")
    while True:
        kind, at = read_varint(plan, at)
        if kind == 0:
            break
        numbers = []
        for _ in range(6):
            number, at = read_varint(plan, at)
            numbers.append(number)
        ranges.append(Range(kind, *numbers))
    count, at = read_varint(plan, at)
    tables = [read_table(plan[at + 256 * i : at + 256 * (i + 1)]) for i in range(count)]
    at += 256 * count
    count, at = read_varint(plan, at)
    families = [plan[at + 8 * i : at + 8 * (i + 1)] for i in range(count)]
    at += 8 * count
    units = [max(1, frequency(byte)) for byte in plan[at : at + count]]
    return Plan(ranges, tables, families, units, plan[at + count :])


def read_table(differences: bytes) -> list[tuple[int, int, int]]:
    stored, total = [], 0
    for difference in differences:
        total = (total + difference) % 256
        stored.append(total)
    left = 2**13 - sum(frequency(byte) for byte in stored if byte != 255)
    slots: list[tuple[int, int, int]] = []
    for symbol, byte in enumerate(stored):
        share = left if byte == 255 else frequency(byte)
        slots += [(symbol, len(slots), share)] * share
    return slots


def frequency(byte: int) -> int:
    return byte if byte < 8 else (8 + byte % 8) << (byte // 8 - 1)
