"""Does a file answer alike everywhere: the four nets of the package in every runtime at hand.

    python benchmarks/verify_runtimes.py --data cifar10 [--device emulated:cortex-a72] \
        [--out runs/verify]

DATA/train calibrates (200 images, seed 0, as `edgenets export` does); 64 images of DATA/test,
evenly spread, are compared. It prints the tables of docs/evidence/verify.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgenets.export.devices.device import parse_device
from edgenets.export.measure.verify import IMAGES, verify_file
from edgenets.models.weights.sources import PRETRAINED
from edgenets.results.verification import VERIFY_CELLS, verify_rows
from edgenets.verbs.model import Model

NETS = ("mobilenet_v1", "squeezenet", "shufflenet_v2", "xception")


def export(net: str, data: str, out: Path) -> Path:
    """Return the int8 file of a net, which is written unless it is there."""
    path = out / f"{net}.tflite"
    if not path.exists():
        Model.load(PRETRAINED / f"cifar10_{net}").export(path, data=data)
    return path


def parting(found: dict[str, Any] | None) -> str:
    return "{op} {operator}: {values} of {of}".format(**found) if found else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--device", action="append", type=parse_device, default=[])
    parser.add_argument("--out", type=Path, default=Path("runs/verify"))
    arguments = parser.parse_args()
    columns = (*VERIFY_CELLS, "parts at")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for net in NETS:
        path = export(net, arguments.data, arguments.out)
        result = verify_file(path, arguments.data, IMAGES, devices=arguments.device)
        print(f"\n{net}, {result['images']} images\n")
        print(f"| {' | '.join(column.lstrip('>') for column in columns)} |")
        print("|" + "---|" * len(columns))
        rows = verify_rows(result["runtimes"])
        for row, runtime in zip(rows, result["runtimes"], strict=True):
            print(f"| {' | '.join(row)} | {parting(runtime['first_difference'])} |", flush=True)
        for row in result["missing"]:
            print(f"\nnot run: {row['name']}: {row['reason']}")


if __name__ == "__main__":
    main()
