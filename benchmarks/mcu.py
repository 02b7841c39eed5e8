"""What four CIFAR-10 nets take on a microcontroller: the table of docs/evidence/mcu.md.

    tar -xJf cifar10.tar.xz
    python benchmarks/mcu.py --data cifar10 [--out runs/mcu]

Each net of the package is exported as it is, and after Deep Compression (65 % zeros, 16 values a
kernel) in few steps: an epoch for each stage, on 200 images a class, because flash and memory
depend on zeros and values, not on how well they were trained. Started again, it goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import edgenets as en
from edgenets import flatbuffer
from edgenets.export.write.mcu.flash import LEAST_SAVED_BYTES, MOST_BITS
from edgenets.files import read_json, write_bytes

NETS = ("mobilenet_v1", "shufflenet_v2", "squeezenet", "xception")
IMAGES_PER_CLASS = {"train": 200, "test": 100}
RECIPE = b"""\
- {stage: prune, sparsity: 0.65, epochs: 1}
- {stage: share, clusters: 16, epochs: 1}
- {stage: int8}
"""
MODEL, REPORT = "model.tflite", "model.tflite.json"


def link_some(data: Path, folder: Path) -> Path:
    """Link the first images of each class of `data` into `folder`; return it."""
    for split, count in IMAGES_PER_CLASS.items():
        for label in sorted(path for path in (data / split).iterdir() if path.is_dir()):
            place = folder / split / label.name
            place.mkdir(parents=True, exist_ok=True)
            for image in sorted(label.iterdir())[:count]:
                link = place / image.name
                if not link.is_symlink():
                    link.symlink_to(image.resolve())
    return folder


def measure(name: str, data: Path, out: Path) -> dict[str, dict[str, Any]]:
    """Return the `mcu` of the report of the net as it is and compressed, by these words."""
    plain = en.train(name, weights="cifar10", epochs=0)
    small = out / f"{name}_compressed"
    if not (out / "plain" / name).exists():
        plain.export(out / "plain" / name, target="mcu", data=data)
    if not small.exists():
        plain.compress(data, recipe=out / "recipe.yaml", out=small)
    if not (out / "compressed" / name).exists():
        en.Model.load(small).export(out / "compressed" / name, target="mcu", data=data)
    return {kind: read_json(out / kind / name / REPORT)["mcu"] for kind in ("plain", "compressed")}


def by_own_compressor(content: bytes) -> int:
    """Return the bytes that TFLM's own compressor makes, of the kernels that it makes smaller."""
    from tflite_micro.tensorflow.lite.micro.compression import compress, spec

    model = flatbuffer.read(content)
    asked = []
    for kernel in {op.inputs[1] for op in model.operators if op.name in flatbuffer.WEIGHTED}:
        tensor = model.tensors[kernel]
        channels = np.moveaxis(np.asarray(tensor.content).reshape(tensor.shape), tensor.axis, 0)
        longest = max(len(np.unique(channel)) for channel in channels)
        bits = max(1, (longest - 1).bit_length())
        if bits <= MOST_BITS:
            size = tensor.size_bytes * bits // 8 + longest * len(channels) + LEAST_SAVED_BYTES
            mode = spec.PerChannel(tensor.axis)
            if size < tensor.size_bytes:
                method = spec.LookUpTableCompression(bits, mode)
                asked.append(spec.Tensor(0, kernel, [method]))
    return len(compress(content, asked)) if asked else len(content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10, train/ and test/")
    parser.add_argument("--out", type=Path, default=Path("runs/mcu"))
    options = parser.parse_args()
    data = link_some(options.data, options.out / "images")
    write_bytes(options.out / "recipe.yaml", RECIPE)
    columns = (
        *("net", "flash as it is", "compressed, no tables", "by tables", "kernels by tables"),
        *("by TFLM's compressor", "arena", "arena with tables", "bit-equal images"),
    )
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for name in NETS:
        found = measure(name, data, options.out)
        plain, small = found["plain"], found["compressed"]
        tables = small["tables"]
        content = (options.out / "compressed" / name / MODEL).read_bytes()
        equal = "; ".join(f"{each['bit_equal']} of {each['images']}" for each in found.values())
        print(
            f"| {name} | {plain['flash_bytes']:,} | {tables['flash_bytes_without']:,} | "
            f"{small['flash_bytes']:,} | {tables['kernels']} | {by_own_compressor(content):,} | "
            f"{tables['arena_bytes_without']:,} | {small['arena_bytes']:,} | {equal} |"
        )


if __name__ == "__main__":
    main()
