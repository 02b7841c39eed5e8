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

import edgenets as en
from edgenets.files import read_json, write_bytes

NETS = ("mobilenet_v1", "shufflenet_v2", "squeezenet", "xception")
IMAGES_PER_CLASS = {"train": 200, "test": 100}
RECIPE = b"""\
- {stage: prune, sparsity: 0.65, epochs: 1}
- {stage: share, clusters: 16, epochs: 1}
- {stage: int8}
"""
REPORT = "model.tflite.json"


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10, train/ and test/")
    parser.add_argument("--out", type=Path, default=Path("runs/mcu"))
    options = parser.parse_args()
    data = link_some(options.data, options.out / "images")
    write_bytes(options.out / "recipe.yaml", RECIPE)
    print(
        "| net | flash as it is | compressed, no tables | by tables | kernels | arena | by tables |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in NETS:
        found = measure(name, data, options.out)
        plain, small = found["plain"], found["compressed"]
        tables = small["tables"]
        equal = "; ".join(f"{each['bit_equal']} of {each['images']}" for each in found.values())
        print(
            f"| {name} | {plain['flash_bytes']:,} | {tables['flash_bytes_without']:,} | "
            f"{small['flash_bytes']:,} | {tables['kernels']} | "
            f"{tables['arena_bytes_without']:,} | {small['arena_bytes']:,} | {equal} |"
        )


if __name__ == "__main__":
    main()
