"""Packages: any file comes back byte for byte, or an error says why not."""

from __future__ import annotations

import itertools
import lzma
import struct
import subprocess
import tracemalloc
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgenets import flatbuffer, memory
from edgenets.errors import EdgenetsError
from edgenets.export.devices.emulator import Board
from edgenets.files import sha256_bytes
from edgenets.quantize.package import epk as module
from edgenets.quantize.package.contexts import COLUMN
from edgenets.quantize.package.epk import pack, unpack
from edgenets.quantize.package.find import find_ranges
from edgenets.quantize.package.header import CRC_FROM, HEADER, MAGIC, VERSION, Numbers
from edgenets.quantize.package.ranges import (
    COPY,
    END,
    FLOATS_BY_ROW,
    INTEGERS,
    PRODUCT,
    QUOTIENT,
    TABLED,
    WEIGHTS_BY_COLUMN,
    WEIGHTS_BY_ROW,
    symbols,
)
from edgenets.quantize.package.streams import compress, read_varints, varints

ROOT = Path(__file__).parents[3]
NUMBERS = Numbers._fields


def xz(content: bytes) -> int:
    return len(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))


def codes(*shape: int, width: float = 2.0) -> np.ndarray:
    return np.random.default_rng(0).normal(0, width, shape).round().astype(np.int8)


@pytest.fixture(scope="module")
def small_file(dense_file: Callable[..., bytes]) -> bytes:
    """Weights of two kinds of rows, and scales of a bias."""
    kernel = codes(12, 64)
    kernel[::2] //= 2
    return dense_file(kernel)


@pytest.fixture(scope="module")
def small_package(small_file: bytes) -> bytes:
    """The package of `small_file`, in 15 lanes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BYTES_PER_LANE", 50)
        return pack(small_file)


def with_crc(package: bytes) -> bytes:
    crc = struct.pack("<I", zlib.crc32(package[CRC_FROM:]))
    return package[: CRC_FROM - 4] + crc + package[CRC_FROM:]


def with_number(package: bytes, name: str, value: int) -> bytes:
    """Return a package with another number in its header, and the right check sum."""
    found = list(itertools.islice(read_varints(package, HEADER.size), len(NUMBERS)))
    numbers = dict(zip(NUMBERS, (number for number, _ in found), strict=True))
    forged = varints([*{**numbers, name: value}.values()])
    return with_crc(package[: HEADER.size] + forged + package[found[-1][1] :])


@pytest.mark.slow
@given(st.binary(max_size=400))
@settings(deadline=None)
def test_any_bytes_come_back_and_take_little_more_than_by_xz(content: bytes):
    package = pack(content)
    assert unpack(package) == content
    assert len(package) <= xz(content) + 100


@given(
    rows=st.integers(1, 9),
    columns=st.integers(40, 300),
    width=st.sampled_from([0.0, 0.5, 3.0, 60.0]),
    base=st.integers(0, 255),
    seed=st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_any_weights_come_back(
    dense_file: Callable[..., bytes], rows: int, columns: int, width: float, base: int, seed: int
):
    values = np.random.default_rng(seed).normal(base, width, (rows, columns))
    content = dense_file(values.clip(0, 255).astype(np.uint8), zero_point=base)
    assert unpack(pack(content)) == content


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_damaged_models_come_back_too(data: st.DataObject, small_file: bytes):
    damaged = bytearray(small_file)
    changes = st.tuples(st.integers(0, len(damaged) - 1), st.integers(0, 255))
    for at, value in data.draw(st.lists(changes, min_size=1, max_size=4)):
        damaged[at] = value
    assert unpack(pack(bytes(damaged))) == damaged


def test_scales_that_are_no_numbers_or_negative_zeros_come_back(
    dense_file: Callable[..., bytes],
):
    content = dense_file(codes(12, 64))
    (product,) = (found for found in find_ranges(content) if found.kind == PRODUCT)
    cases = (
        (np.inf, 0x7F800000, []),  # no model, as far as can be read
        (np.nan, 0xFFC00001, []),
        (0.0, 0x80000000, [INTEGERS, WEIGHTS_BY_ROW]),
    )
    for factor, wrong, kinds in cases:
        changed = bytearray(content)
        changed[product.base : product.base + 4] = struct.pack("<f", factor)
        changed[product.start : product.end] = struct.pack("<I", wrong) * product.rows
        assert [found.kind for found in find_ranges(bytes(changed))] == kinds
        assert unpack(pack(bytes(changed))) == changed


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_floats_come_back_and_take_less_than_by_xz(dense_file: Callable[..., bytes], dtype: type):
    random = np.random.default_rng(0)
    kernel = random.normal(0, 1, (20, 300)) * random.uniform(0.01, 1, (20, 1))
    kernel[3, :4] = 0, -0.0, np.inf, np.nan
    content = dense_file(kernel.astype(dtype))
    assert FLOATS_BY_ROW in kinds(content)
    package = pack(content)
    assert unpack(package) == content
    assert len(package) < 0.97 * xz(content)


def kinds(content: bytes) -> list[int]:
    return [found.kind for found in find_ranges(content)]


def test_scales_that_follow_from_extremes_take_nothing(dense_file: Callable[..., bytes]):
    content = dense_file(codes(64, 100), extremes=True)
    assert sorted(kinds(content)) == [WEIGHTS_BY_ROW, PRODUCT, QUOTIENT, INTEGERS]
    package = pack(content)
    assert unpack(package) == content
    (scales,) = (found for found in find_ranges(content) if found.kind == QUOTIENT)
    changed = bytearray(content)
    changed[scales.start] ^= 1
    assert QUOTIENT not in kinds(bytes(changed))
    assert unpack(pack(bytes(changed))) == changed
    assert len(pack(bytes(changed))) > len(package) + 64


def test_channels_that_do_little_make_the_codes_of_their_columns_cheap(
    dense_file: Callable[..., bytes],
):
    width = np.random.default_rng(1).choice([0.2, 8.0], 200)
    kernel = (codes(100, 200, width=1.0) * width).round().astype(np.int8)
    shuffled = np.random.default_rng(2).permuted(kernel, axis=1)
    as_it_is, without_columns = (pack(dense_file(each)) for each in (kernel, shuffled))
    assert unpack(as_it_is) == dense_file(kernel)
    assert len(as_it_is) < 0.9 * len(without_columns)


def test_package_of_version_2_is_read():
    package = (Path(__file__).parent / "version_2.epk").read_bytes()
    assert package[4] == 2
    content = unpack(package)
    (kernel,) = (t.data for t in flatbuffer.read(content).tensors if t.dtype == "int8" and t.offset)
    expected = codes(12, 64)
    expected[::2] //= 2
    np.testing.assert_array_equal(kernel, expected)
    for wrong in (package[:-1], package[:100] + b"?" + package[101:]):
        with pytest.raises(EdgenetsError, match="damaged"):
            unpack(wrong)


@pytest.mark.slow
def test_every_smaller_file_at_hand_comes_back_and_8_bit_ones_are_smaller_than_by_xz(
    shared_data: Path,
):
    saved = []
    for path in sorted(shared_data.glob("**/*.tflite")):
        if path.stat().st_size > 1 << 20:
            continue
        content = path.read_bytes()
        package = pack(content)
        assert unpack(package) == content, path.name
        assert len(package) <= xz(content) + 100, path.name
        if "edgetpu" not in path.name and "float" not in path.name:
            saved.append(1 - len(package) / xz(content))
    assert min(saved) > 0
    assert np.mean(saved) >= 0.05


@pytest.mark.parametrize("axis, kind", [(0, WEIGHTS_BY_ROW), (1, WEIGHTS_BY_COLUMN)])
def test_weights_and_products_are_found_once_each_and_in_order(
    dense_file: Callable[..., bytes], axis: int, kind: int
):
    content = dense_file(codes(20, 20), axis=axis)
    ranges = find_ranges(content)
    assert all(first.end <= then.start for first, then in pairwise(ranges))
    (weights,) = (found for found in ranges if found.kind in TABLED)
    assert (weights.kind, weights.rows, weights.columns) == (kind, 20, 20)
    assert content[weights.start : weights.end] == codes(20, 20).tobytes()
    (product,) = (found for found in ranges if found.kind == PRODUCT)
    assert product.rows == 20


def test_other_files_have_no_ranges():
    assert find_ranges(b"no model") == []


def test_codes_of_uint8_weights_are_counted_from_their_zero(dense_file: Callable[..., bytes]):
    kernel = (codes(4, 100).astype(int) + 130).astype(np.uint8)
    content = dense_file(kernel, zero_point=130)
    (weights,) = (found for found in find_ranges(content) if found.kind in TABLED)
    data = np.frombuffer(content, np.uint8)
    coded = symbols(weights, data, data[:0])
    np.testing.assert_array_equal(coded.view(np.int8), codes(4, 100).ravel())


def test_many_short_rows_are_one_row(
    dense_file: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("edgenets.quantize.package.find.MOST_ROWS", 10)
    content = dense_file(codes(20, 20))
    (weights,) = (found for found in find_ranges(content) if found.kind in TABLED)
    assert (weights.rows, weights.columns) == (1, 400)
    assert unpack(pack(content)) == content


def test_coded_weights_are_within_a_hundredth_of_their_entropy(dense_file: Callable[..., bytes]):
    kernel = codes(40, 2000, width=6.0)
    counts = np.unique(kernel, return_counts=True)[1]
    entropy_bytes = -(counts * np.log2(counts / kernel.size)).sum() / 8
    without = len(pack(dense_file(np.zeros_like(kernel))))
    assert len(pack(dense_file(kernel))) - without < 1.01 * entropy_bytes + 100  # and a table


@pytest.mark.parametrize("dtype", [np.int8, np.float16, np.float32])
def test_unpacking_takes_at_most_three_times_the_file_in_memory(
    dtype: type, dense_file: Callable[..., bytes]
):
    content = dense_file(codes(512, 1500, width=6.0).astype(dtype))
    package = pack(content)
    tracemalloc.start()
    unpack(package)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 3 * len(content)


def test_any_flipped_bit_any_cut_and_anything_after_the_end_is_an_error(small_package: bytes):
    package = small_package
    for at in range(len(package)):
        for bit in range(8):
            damaged = bytearray(package)
            damaged[at] ^= 1 << bit
            with pytest.raises(EdgenetsError):
                unpack(bytes(damaged))
        with pytest.raises(EdgenetsError):
            unpack(package[:at])
    for more in (b"\0", b"\0\0", bytes(1000), package):
        with pytest.raises(EdgenetsError, match="damaged"):
            unpack(package + more)


def test_damage_behind_a_right_check_sum_gives_no_wrong_file(
    small_file: bytes, small_package: bytes
):
    package = small_package
    assert len(package) < xz(small_file) - 50  # the weights are coded
    for at in range(CRC_FROM, len(package)):
        damaged = bytearray(package)
        damaged[at] ^= 1 << (at % 8)
        try:  # a bit may be one that lzma does not look at
            assert unpack(with_crc(bytes(damaged))) == small_file
        except EdgenetsError as error:
            assert is_refused(error)
        for wrong in (with_crc(package[:at]), with_crc(package + bytes(at % 5 + 1))):
            with pytest.raises(EdgenetsError, match="damaged"):
                unpack(wrong)


def is_refused(error: EdgenetsError) -> bool:
    """Whether a forged package is said to be damaged, or to need a base that nobody has."""
    return "is damaged" in str(error) or "changes to another file" in str(error)


@pytest.mark.parametrize("name", NUMBERS)
def test_forged_length_is_an_error_before_memory_is_taken(
    name: str, small_file: bytes, small_package: bytes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "MOST_BYTES", 1 << 18)
    monkeypatch.setattr(module, "MOST_PLAN_BYTES", 1 << 18)
    for value in (0, 1, 2, 600, 1 << 18, (1 << 18) + 1, 1 << 34):
        tracemalloc.start()
        try:  # another setting of lzma may unpack the same
            assert unpack(with_number(small_package, name, value)) == small_file
        except EdgenetsError as error:
            assert is_refused(error)
        assert tracemalloc.get_traced_memory()[1] < 1 << 21
        tracemalloc.stop()


TABLE = bytes([255, 1]) + bytes(254)  # differences of a table: all are byte 0
TABLES = varints([1]) + TABLE + varints([1]) + bytes(8) + bytes([0])  # and a family, its unit


def forged(plan: bytes, size: int, lanes: int = 1) -> bytes:
    """A package of `size` bytes with any plan, of symbols that take no words."""
    packed, rest = compress(plan), compress(b"")
    numbers = [size, len(plan), len(packed), len(rest), 0, lanes, 0]
    states = struct.pack("<I", 1 << 16 | rest[0]) + struct.pack("<I", 1 << 16) * (lanes - 1)
    covered = bytes(32) + varints(numbers) + packed + states
    return with_crc(MAGIC + bytes([VERSION]) + bytes(4) + covered)


def bomb(size: int, lanes: int) -> bytes:
    """A package of so many equal weights, which take no bytes."""
    return forged(
        varints([WEIGHTS_BY_ROW, 0, 1, size, 0, 0, 0, END]) + TABLES + bytes(1), size, lanes
    )


@pytest.mark.parametrize(
    "fields, sentence",
    [
        ([9, 0, 1, 100, 0, 0, 0], "a kind of bytes that is unknown"),
        ([WEIGHTS_BY_ROW, 0, 1, 101, 0, 0, 0], "bytes that the file has not"),
        ([WEIGHTS_BY_ROW, 1 << 40, 1, 1, 0, 0, 0], "bytes that the file has not"),
        ([WEIGHTS_BY_ROW, 0, 0, 100, 0, 0, 0], "bytes that the file has not"),
        ([WEIGHTS_BY_ROW, 0, 1, 100, 0, 3, 0], "a context that is unknown"),
        ([WEIGHTS_BY_ROW, 0, 1, 100, 0, 2, 0], "a context that is unknown"),
        ([WEIGHTS_BY_ROW, 0, 1, 100, 0, 0, 1], "bytes that the base file has not"),
        ([WEIGHTS_BY_ROW, 0, 1, 100, 300, 0, 0], "a zero point that is no byte"),
        ([FLOATS_BY_ROW, 0, 1, 25, 3, 0, 0], "numbers of an unknown size"),
        ([FLOATS_BY_ROW, 0, 1, 25, 4, 1, 0], "a context that is unknown"),
        ([INTEGERS, 0, 3, 20, 0, 0, 0], "numbers of an unknown size"),
        ([PRODUCT, 0, 5, 80, 97, 0, 0], "scales that the file has not"),
        ([QUOTIENT, 0, 5, 85, 0, 0, 0], "scales that the file has not"),
        ([COPY, 0, 100, 1, 0, 0, 0], "copies from nowhere"),
        ([WEIGHTS_BY_ROW, 0, 2, 50, 0, 0, 0], "rows have another number"),
    ],
)
def test_plan_of_what_is_not_there_is_refused(fields: list[int], sentence: str):
    plan = varints([*fields, END]) + TABLES + bytes(1)
    with pytest.raises(EdgenetsError, match=f"damaged .*{sentence}"):
        unpack(forged(plan, 100))


@pytest.mark.parametrize(
    "ranges, columns, sentence",
    [(4097, 1, "too many contexts"), (1, (1 << 16) + 1, "a context that is unknown")],
)
def test_contexts_that_take_time_or_memory_are_refused(ranges: int, columns: int, sentence: str):
    plan = varints([*[WEIGHTS_BY_ROW, 0, 1, columns, 0, COLUMN, 0] * ranges, END]) + TABLES
    with pytest.raises(EdgenetsError, match=f"damaged .*{sentence}"):
        unpack(forged(plan, ranges * columns))


@pytest.mark.parametrize(
    "tables, sentence",
    [
        (varints([2]) + TABLE, "tables have another size"),
        (varints([257]) + 257 * TABLE, "tables have another size"),
        (varints([1]) + bytes(256) + TABLES[257:], "frequency table is damaged"),
        (TABLES[:257] + varints([2]) + bytes(8), "families have another size"),
        (
            TABLES[:257] + varints([1]) + bytes([0] * 7 + [1]) + bytes(1),
            "a table that is not there",
        ),
        (TABLES[:-1] + bytes([88]), "a table that is not there"),
        (varints([0]) + varints([0]), "a table that is not there"),
    ],
)
def test_tables_that_are_not_there_are_refused(tables: bytes, sentence: str):
    plan = varints([WEIGHTS_BY_ROW, 0, 1, 100, 0, 0, 0, END]) + tables + bytes(1)
    with pytest.raises(EdgenetsError, match=f"damaged .*{sentence}"):
        unpack(forged(plan, 100))


def test_damage_of_floats_and_contexts_behind_a_right_check_sum_gives_no_wrong_file(
    dense_file: Callable[..., bytes],
):
    random = np.random.default_rng(0)
    columns = random.normal(0, 1, (300, 24)) * random.choice([0.1, 8], 24)
    floats = random.normal(0, 1, (20, 64)).astype(np.float32)
    for content in (dense_file(columns.round().astype(np.int8)), dense_file(floats)):
        package = pack(content)
        for at in random.integers(CRC_FROM, len(package), 40):
            damaged = bytearray(package)
            damaged[at] ^= 1 << (at % 8)
            try:
                assert unpack(with_crc(bytes(damaged))) == content
            except EdgenetsError as error:
                assert is_refused(error)


def test_bomb_is_refused_before_its_memory_and_time_are_taken():
    with pytest.raises(EdgenetsError, match="content is another one than was packed"):
        unpack(bomb(10_000, 1))  # what it is, but for its size
    for size, sentence in ((1 << 34, "sizes are too large"), (1 << 28, "coded weights have")):
        package = bomb(size, 1)
        tracemalloc.start()
        with memory.at_most(1 << 40), pytest.raises(EdgenetsError, match=sentence):
            unpack(package)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()


def test_package_that_takes_too_much_memory_is_refused_before_it_is_taken():
    package = pack(bytes(1 << 24))
    assert len(package) < 3000
    tracemalloc.start()
    with memory.at_most(1 << 25), pytest.raises(EdgenetsError) as raised:
        unpack(package)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    assert str(raised.value).startswith("it unpacks to too much, which would take 48.0")
    with memory.at_most(1 << 26):
        assert unpack(package) == bytes(1 << 24)


def test_lack_of_memory_is_not_called_damage(small_package: bytes, monkeypatch):
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(module, "_decode", fail)
    with pytest.raises(EdgenetsError, match=r"^there is not enough memory to unpack the package;"):
        unpack(small_package)


def test_rest_that_unpacks_to_more_than_its_size_is_refused(small_file: bytes):
    package = pack(bytes(1 << 20))
    assert len(package) < 400
    with pytest.raises(EdgenetsError, match="do not end where they should"):
        unpack(with_number(package, "size", 1000))


def test_what_is_no_package_or_of_another_version_gets_a_sentence():
    with pytest.raises(EdgenetsError, match="not a package"):
        unpack(b"TFL3")
    for version, way_out in ((VERSION + 1, "install a newer edgenets"), (1, "pack the file again")):
        sentence = f"has version {version}, this edgenets reads versions 2 and 3; {way_out}"
        with pytest.raises(EdgenetsError, match=sentence):
            unpack(MAGIC + bytes([version]))


def test_file_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MOST_BYTES", 10)
    with pytest.raises(EdgenetsError, match="at most 10 bytes, the file has 11"):
        pack(bytes(11))


UNPACK_ON_THE_BOARD = """
import hashlib, platform, sys
sys.path.insert(0, sys.argv[1])
from edgenets.quantize.package.epk import unpack
assert platform.machine() == "aarch64"
for path in sys.argv[2:]:
    print(hashlib.sha256(unpack(open(path, "rb").read())).hexdigest())
"""


@pytest.mark.board
def test_package_made_here_is_the_same_file_on_the_board(
    dense_file: Callable[..., bytes], emulated_board: Board, small_file: bytes, tmp_path: Path
):
    kernel = (codes(64, 700, width=20.0).astype(int) + 128).astype(np.uint8)
    columns = (codes(300, 24, width=1.0) * np.resize([0, 8], 24)).astype(np.int8)
    floats = np.random.default_rng(0).normal(0, 1, (20, 64)).astype(np.float32)
    files = [
        *(small_file, dense_file(kernel, zero_point=128), dense_file(codes(64, 64), axis=1)),
        *(dense_file(columns, extremes=True), dense_file(floats)),
    ]
    paths = [tmp_path / f"{number}.epk" for number in range(len(files))]
    for path, content in zip(paths, files, strict=True):
        path.write_bytes(pack(content))
    command = [*emulated_board.command("cortex-a72"), "-c", UNPACK_ON_THE_BOARD, str(ROOT)]
    done = subprocess.run([*command, *map(str, paths)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [sha256_bytes(content) for content in files]
