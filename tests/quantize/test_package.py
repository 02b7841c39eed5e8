"""Packages: any file comes back byte for byte, or an error says why not."""

from __future__ import annotations

import lzma
import struct
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgenets.errors import EdgenetsError
from edgenets.quantize import package as module
from edgenets.quantize.package import CRC_FROM, MAGIC, PRODUCT, find_ranges, pack, unpack


def xz(content: bytes) -> int:
    return len(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))


def with_crc(package: bytes) -> bytes:
    crc = struct.pack("<I", zlib.crc32(package[CRC_FROM:]))
    return package[: CRC_FROM - 4] + crc + package[CRC_FROM:]


@pytest.fixture(scope="module")
def small_file(shared_data: Path) -> bytes:
    return (shared_data / "mlperf_tiny" / "pretrainedResnet_quant.tflite").read_bytes()


@given(st.binary(max_size=400))
@settings(deadline=None)
def test_any_bytes_come_back_and_take_little_more_than_by_xz(content: bytes):
    package = pack(content)
    assert unpack(package) == content
    assert len(package) <= xz(content) + 100


@pytest.mark.slow
def test_every_file_at_hand_comes_back_and_8_bit_ones_are_smaller_than_by_xz(shared_data: Path):
    saved = []
    for path in sorted(shared_data.glob("**/*.tflite")):
        content = path.read_bytes()
        package = pack(content)
        assert unpack(package) == content, path.name
        assert len(package) <= xz(content) + 100, path.name
        if "edgetpu" not in path.name and "float" not in path.name:
            saved.append(1 - len(package) / xz(content))
    assert min(saved) > 0
    assert np.mean(saved) >= 0.03


def test_weights_and_products_are_found_once_each_and_in_order(small_file: bytes):
    ranges = find_ranges(small_file)
    assert all(first.end <= then.start for first, then in pairwise(ranges))
    coded = sum(found.size_bytes for found in ranges if found.kind != PRODUCT)
    assert coded > 70_000
    assert any(found.kind == PRODUCT for found in ranges)
    assert find_ranges(b"no model") == []


def test_any_flipped_bit_and_any_cut_is_an_error(small_file: bytes):
    package = pack(small_file[:3000])
    for at in range(len(package)):
        damaged = bytearray(package)
        damaged[at] ^= 1 << (at % 8)
        with pytest.raises(EdgenetsError):
            unpack(bytes(damaged))
        with pytest.raises(EdgenetsError):
            unpack(package[:at])
    with pytest.raises(EdgenetsError, match="damaged"):
        unpack(package + b"\0")


def test_damage_behind_a_right_check_sum_gives_no_wrong_file(small_file: bytes):
    package = pack(small_file)
    assert len(package) < 0.9 * len(small_file)  # weights are coded
    for at in [*range(CRC_FROM, 120), *range(120, len(package), 4001)]:
        for bit in (0, 7):
            damaged = bytearray(package)
            damaged[at] ^= 1 << bit
            try:  # a bit may be one that lzma does not look at
                assert unpack(with_crc(bytes(damaged))) == small_file
            except EdgenetsError as error:
                assert "damaged" in str(error)
    with pytest.raises(EdgenetsError, match="damaged"):
        unpack(with_crc(package + b"\0\0"))


def test_tiny_package_that_claims_gigabytes_is_refused_before_they_are_taken():
    numbers = module._varints([1 << 34, 1, 5, 0, 0])
    bomb = with_crc(MAGIC + b"\1" + bytes(4) + bytes(32) + numbers + b"\0" * 5)
    with pytest.raises(EdgenetsError, match="sizes are too large"):
        unpack(bomb)


def test_what_is_no_package_and_what_is_newer_get_a_sentence():
    with pytest.raises(EdgenetsError, match="not a package"):
        unpack(b"TFL3")
    with pytest.raises(EdgenetsError, match="has version 2, this edgenets reads version 1; inst"):
        unpack(MAGIC + b"\2")


def test_file_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MOST_BYTES", 10)
    with pytest.raises(EdgenetsError, match="at most 10 bytes, the file has 11"):
        pack(bytes(11))
