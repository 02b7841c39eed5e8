"""Packages against general compressors: the table of docs/results.md.

    python benchmarks/packing.py FILE.tflite ...

For each file: the bytes of .epk, zlib -9, xz -9e, zstd -19 and brotli -11 (of the test extra), the
zero-order entropy of its 8-bit weights, tensor by tensor, the seconds that packing and unpacking
take, and the memory of unpacking as a multiple of the file. All in one run, each once.
"""

from __future__ import annotations

import argparse
import lzma
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import brotli
import zstandard

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.quantize.package import pack, unpack
from edgenets.quantize.ranges import WEIGHT_DTYPES
from edgenets.quantize.sizes import entropy_bytes

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "zlib -9": lambda content: zlib.compress(content, 9),
    "xz -9e": lambda content: lzma.compress(content, preset=9 | lzma.PRESET_EXTREME),
    "zstd -19": lambda content: zstandard.ZstdCompressor(19).compress(content),
    "brotli -11": lambda content: brotli.compress(content, quality=11),
}
COLUMNS = (
    *("file", "bytes", ".epk", *COMPRESSORS, "saved over xz", "entropy of weights"),
    *("pack, s", "unpack, s", "unpack, memory"),
)


def weights_entropy(content: bytes) -> float:
    """Return the zero-order entropy of all 8-bit weights in bytes; 0.0 without any."""
    try:
        weights = flatbuffer.read(content).weights
    except EdgenetsError:
        return 0.0
    return sum(entropy_bytes(t.content) for t in weights if t.dtype in WEIGHT_DTYPES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    options = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |")
    print("|" + "---|" * len(COLUMNS))
    for path in options.files:
        content = path.read_bytes()
        start = time.perf_counter()
        package = pack(content)
        packed = time.perf_counter()
        assert unpack(package) == content
        unpacked = time.perf_counter()
        tracemalloc.start()
        unpack(package)
        memory = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        sizes = {name: len(compress(content)) for name, compress in COMPRESSORS.items()}
        cells = (
            *(path.name, f"{len(content):,}", f"{len(package):,}"),
            *(f"{size:,}" for size in sizes.values()),
            f"{1 - len(package) / sizes['xz -9e']:.1%}",
            f"{weights_entropy(content):,.0f}",
            *(f"{packed - start:.2f}", f"{unpacked - packed:.3f}"),
            f"{memory / len(content):.1f} x",
        )
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
