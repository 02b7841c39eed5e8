"""What a package begins with: mark, version, check sums, sizes, and the base that it needs."""

from __future__ import annotations

import itertools
import struct
import zlib
from typing import NamedTuple

from edgenets.errors import EdgenetsError
from edgenets.files import PACKAGE
from edgenets.quantize.package.streams import read_varints

MAGIC, VERSION = PACKAGE, 3
READ_VERSIONS = (2, 3)
HEADER = struct.Struct("<4sBI32s")  # before its numbers
CRC_FROM = 9  # what the CRC-32 covers, to the end
SHA256_BYTES = 32


class Numbers(NamedTuple):
    """The numbers of the header."""

    size: int  # of the original, in bytes
    plan_bytes: int
    packed_plan_bytes: int
    packed_rest_bytes: int
    properties: int  # of the plan, + 4 times those of the rest
    lanes: int
    base_size: int = 0  # of the base file, in bytes; 0 without one


class Header(NamedTuple):
    """What a package begins with."""

    version: int
    sha256: bytes
    numbers: Numbers
    base_sha256: bytes  # b"" without a base
    end: int


def read_header(package: memoryview) -> Header:
    """Return the header of a package whose check sum is right.

    Raises:
        EdgenetsError: it is no package, or of another version.
        ValueError: it is damaged.
    """
    if package[: len(MAGIC)] != MAGIC:
        raise EdgenetsError("this is not a package (.epk) of edgenets")
    if len(package) > len(MAGIC) and (version := package[len(MAGIC)]) not in READ_VERSIONS:
        way_out = "install a newer edgenets" if version > VERSION else "pack the file again"
        known = " and ".join(map(str, READ_VERSIONS))
        raise EdgenetsError(
            f"the package has version {version}, this edgenets reads versions {known}; {way_out}"
        )
    if len(package) < HEADER.size:
        raise ValueError("it is cut short")
    _, version, crc, sha256 = HEADER.unpack_from(package)
    if zlib.crc32(package[CRC_FROM:]) != crc:
        raise ValueError("its check sum differs")
    count = len(Numbers._fields) - (version == 2)
    values = list(itertools.islice(read_varints(package, HEADER.size), count))
    numbers, end = Numbers(*(number for number, _ in values)), values[-1][1]
    base_sha256 = bytes(package[end : end + SHA256_BYTES]) if numbers.base_size else b""
    if numbers.base_size and len(base_sha256) < SHA256_BYTES:
        raise ValueError("it is cut short")
    return Header(version, sha256, numbers, base_sha256, end + len(base_sha256))
