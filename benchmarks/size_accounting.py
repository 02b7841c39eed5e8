"""What the theory of sizes says of a file that exists: SqueezeNet as Deep Compression stored it.

    python benchmarks/size_accounting.py compressed_SqueezeNet.net

Prints the table of docs/evidence/size_accounting.md: theoretical sizes of the file's weights as it
stores them, with layers stored whole where that is smaller, and so with the gaps of the paper's
section 2; below them the file itself and its package (.epk).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from edgenets.files import read_bytes
from edgenets.models.registry import create
from edgenets.models.weights.convolutions import slots
from edgenets.models.weights.deep_compression import decode_layers
from edgenets.quantize.sizes.accounting import (
    DEEP_COMPRESSION,
    SQUEEZENET_FILE,
    STEPS,
    Coding,
    LayerWeights,
    account,
)
from edgenets.quantize.sizes.counts import stored_bytes

CODINGS = {
    "as in the file": SQUEEZENET_FILE,
    "whole where smaller": SQUEEZENET_FILE._replace(may_be_whole=True),
    "and gaps of 8 bits": DEEP_COMPRESSION,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    path = parser.parse_args().file
    content = read_bytes(path)
    layers = read_layers(content, path)
    columns = [sizes(layers, content, coding) for coding in CODINGS.values()]
    print(f"| bytes | kind | {' | '.join(CODINGS)} |")
    print(f"|---|---|{'---:|' * len(CODINGS)}")
    for step in STEPS:
        cells = [f"{size[step]:,} ({size['float32'] / size[step]:.1f}x)" for size in columns]
        print(f"| {step} | theoretical | {' | '.join(cells)} |")
    for name, size_bytes in (("the file", len(content)), ("its package", stored_bytes(content))):
        ratio = columns[0]["float32"] / size_bytes
        print(f"| {name} | measured | {size_bytes:,} ({ratio:.1f}x){' |' * len(CODINGS)}")


def read_layers(content: bytes, path: Path) -> list[LayerWeights]:
    """Return the file's layers, their weights in its order."""
    shapes = {slot.layer.name: slot.kernel_shape for slot in slots(create("squeezenet"))}
    return [
        LayerWeights(layer.name, layer.kernel.transpose(3, 2, 0, 1), layer.bias.size)
        for layer in decode_layers(content, shapes, path)
    ]


def sizes(layers: list[LayerWeights], content: bytes, coding: Coding) -> dict[str, int]:
    """Return the theoretical sizes by step."""
    accounting = account(
        layers,
        float_file_bytes=len(content),
        file_bytes=len(content),
        stored_bytes=stored_bytes(content),
        coding=coding,
    )
    return {row["name"]: row["size_bytes"] for row in accounting["rows"]}


if __name__ == "__main__":
    main()
