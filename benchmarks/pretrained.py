"""Keep the nets that runs trained on CIFAR-10 in the package, in float16: --weights cifar10.

    python benchmarks/pretrained.py RUN_DIR ... [--data cifar10]

Writes edgenets/models/pretrained/cifar10_NAME of each run's stages/01-train; equal runs give equal
files. With --data it prints what the rounding to float16 costs on the test images.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import safetensors.numpy

from edgenets.errors import EdgenetsError
from edgenets.files import read_bytes, read_json, sha256_bytes, write_bytes, write_json
from edgenets.models.folder import SPEC, WEIGHTS, Model
from edgenets.models.weights.sources import PRETRAINED
from edgenets.pipeline.one_step import evaluate
from edgenets.units import format_bytes, format_percent

LARGEST_BYTES = 2_000_000


def keep(trained: Path, pretrained: Path) -> Path:
    """Write the model folder `trained` in float16 to `pretrained`/cifar10_NAME and return that.

    Raises:
        EdgenetsError: a weight is beyond float16, or the folder would be larger than 2 MB.
    """
    model = Model.load(trained)  # checks hash, names and shapes
    name = model.spec.name
    tensors = safetensors.numpy.load(read_bytes(trained / WEIGHTS))
    for weight, tensor in tensors.items():
        if np.abs(tensor).max() > np.finfo(np.float16).max:
            raise EdgenetsError(f"{weight} of {trained} has values that float16 cannot hold")
    weights = safetensors.numpy.save({k: v.astype(np.float16) for k, v in tensors.items()})
    stored = {**read_json(trained / SPEC), "weights_sha256": sha256_bytes(weights)}
    size_bytes = len(weights) + len(json.dumps(stored, indent=2)) + 1
    if size_bytes > LARGEST_BYTES:
        raise EdgenetsError(
            f"{name} of {trained} takes {format_bytes(size_bytes)} in float16, and may take "
            f"{format_bytes(LARGEST_BYTES)}; train a smaller net"
        )
    folder = pretrained / f"cifar10_{name}"
    shutil.rmtree(folder, ignore_errors=True)
    write_bytes(folder / WEIGHTS, weights)
    write_json(folder / SPEC, stored)
    print(f"{folder.name}: {model.net.count_params():,} parameters, {format_bytes(size_bytes)}")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR")
    parser.add_argument("--data", help="the images of CIFAR-10, to measure on")
    options = parser.parse_args()
    for run in options.runs:
        trained = run / "stages" / "01-train"
        folder = keep(trained, PRETRAINED)
        if options.data:
            before, after = (
                evaluate(Model.load(f), options.data)["top1"] for f in (trained, folder)
            )
            print(
                f"  top-1 {format_percent(before)} in float32, {format_percent(after)} in float16"
            )


if __name__ == "__main__":
    main()
