"""Packages against general compressors: the tables of docs/evidence/packing.md.

    OPENBLAS_NUM_THREADS=1 python benchmarks/packing.py FILE.tflite ...

For each file the bytes by .epk, zlib -9, xz -9e, zstd -19 and brotli -11 (of the test extra), and
what its 8-bit weights take: at zero-order entropy, tensor by tensor, and in the package, which is
how much smaller it is when they are all zero. Then the processor seconds to encode and to decode,
the best of some runs, and the memory that unpacking takes as a multiple of the file. All in one
process; every decoder gives the file back.
"""

from __future__ import annotations

import argparse
import lzma
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import brotli
import numpy as np
import zstandard

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.files import read_bytes
from edgenets.quantize.package.epk import pack, unpack
from edgenets.quantize.sizes.counts import entropy_bytes

Result = TypeVar("Result")
ENCODE_RUNS, DECODE_RUNS = 1, 5


class Coder(NamedTuple):
    """A way to make a file smaller."""

    name: str
    encode: Callable[[bytes], bytes]
    decode: Callable[[bytes], bytes]


class Coded(NamedTuple):
    """What it made of a file."""

    size_bytes: int
    encode_seconds: float
    decode_seconds: float


CODERS = (
    Coder(".epk", pack, unpack),
    Coder("zlib -9", lambda content: zlib.compress(content, 9), zlib.decompress),
    Coder(
        "xz -9e",
        lambda content: lzma.compress(content, preset=9 | lzma.PRESET_EXTREME),
        lzma.decompress,
    ),
    Coder(
        "zstd -19",
        lambda content: zstandard.ZstdCompressor(19).compress(content),
        lambda packed: zstandard.ZstdDecompressor().decompress(packed),
    ),
    Coder("brotli -11", lambda content: brotli.compress(content, quality=11), brotli.decompress),
)
NAMES = tuple(coder.name for coder in CODERS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    contents = {path.stem: read_bytes(path) for path in parser.parse_args().files}
    rows = {
        name: [measure(coder, content) for coder in CODERS] for name, content in contents.items()
    }

    print_row("file", "bytes", *NAMES, "under xz", "entropy of weights", "weights in .epk")
    print(f"|---{'|---:' * (len(CODERS) + 4)}|")
    for name, content in contents.items():
        package, *others = (coded.size_bytes for coded in rows[name])
        under = f"{1 - package / others[NAMES.index('xz -9e') - 1]:.1%}"
        weights = [f"{size:,.0f}" if size else "" for size in weights_bytes(content)]
        sizes = [f"{size:,}" for size in (len(content), package, *others)]
        print_row(name, *sizes, under, *weights)

    print()
    print_row("file", *NAMES, ".epk decodes, MB/s", "in memory")
    print(f"|---{'|---:' * (len(CODERS) + 2)}|")
    for name, content in contents.items():
        times = [
            f"{1000 * c.encode_seconds:.0f} / {1000 * c.decode_seconds:.1f}" for c in rows[name]
        ]
        speed = len(content) / rows[name][0].decode_seconds / 1e6
        print_row(name, *times, f"{speed:.0f}", f"{memory_bytes(content) / len(content):.1f}x")


def measure(coder: Coder, content: bytes) -> Coded:
    """Return what a coder makes of a file, and check that it gives the file back."""
    packed, encode_seconds = timed(lambda: coder.encode(content), ENCODE_RUNS)
    unpacked, decode_seconds = timed(lambda: coder.decode(packed), DECODE_RUNS)
    assert unpacked == content
    return Coded(len(packed), encode_seconds, decode_seconds)


def timed(work: Callable[[], Result], runs: int) -> tuple[Result, float]:
    """Return the result and the least processor seconds that a run took."""
    seconds = []
    for _ in range(runs):
        start = time.process_time()
        result = work()
        seconds.append(time.process_time() - start)
    return result, min(seconds)


def weights_bytes(content: bytes) -> tuple[float, int]:
    """Return the zero-order entropy of all 8-bit weights, and what they take in a package."""
    try:
        weights = [t for t in flatbuffer.read(content).weights if t.dtype in ("int8", "uint8")]
    except EdgenetsError:
        return 0.0, 0
    without = np.frombuffer(content, np.uint8).copy()
    for tensor in weights:
        without[tensor.offset : tensor.offset + tensor.size_bytes] = 0
    in_package = len(pack(content)) - len(pack(without.tobytes()))
    return sum(entropy_bytes(tensor.content) for tensor in weights), in_package


def memory_bytes(content: bytes) -> int:
    """Return the most memory that unpacking takes at a time, its result included."""
    package = pack(content)
    tracemalloc.start()
    unpack(package)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def print_row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
