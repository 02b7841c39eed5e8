"""Whether the cost of an operator is attributed rightly: convolutions of known cost put into nets.

    python benchmarks/per_op.py [--out runs/per_op] [--min-seconds 2]

Builds a net of each family with random weights, as int8. Into each, at three places, goes one
convolution more (1 x 1, or 3 x 3), which keeps the map and its channels. Its stand-alone cost is
the median latency of it as a file of its own, by `edgenets benchmark`; against that stand what
`benchmark --per-op` attributes to it within the net, and three other methods: the operator alone,
timed in turn with other files; the difference of two prefixes of the net; the difference of the
whole net with and without it. It prints the table of
docs/evidence/per_op.md. Rows that are measured are
kept in the folder --out; started again, the command goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from copy import copy, deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgenets import flatbuffer
from edgenets.export.devices.device import LOCAL
from edgenets.export.devices.opening import open_device
from edgenets.export.measure.benchmark import benchmark_file
from edgenets.export.measure.per_op import time_in_turn
from edgenets.export.measure.statistics import median, undisturbed
from edgenets.files import read_json, write_bytes, write_json
from edgenets.flatbuffer.extract import cut

NETS: dict[str, dict[str, Any]] = {
    "mobilenet_v1": {"width": 0.5, "resolution": 224},
    "squeezenet": {"version": "1.1"},
    "shufflenet_v2": {"resolution": 224},
    "xception": {"width": 0.5, "resolution": 192},
}
PLACES = (0.2, 0.5, 0.8)  # of the operators before it
KERNELS = (1, 3)
SAME, NO_ACTIVATION = 0, 0  # of the schema's Padding and ActivationFunctionType
METHODS = ("per_op_ms", "alone_ms", "prefixes_ms", "wholes_ms")
HEADER = (
    "| net | convolution | map | stand-alone, ms | `--per-op`, ms (95 %) | resolution, ms | error "
    "| alone in turn | prefixes | wholes |",
    "|---|---|---|---|---|---|---|---|---|---|",
)


class Inserted(NamedTuple):
    """A file with one convolution more, and where that is."""

    content: bytes
    operator: int


def insert_convolution(content: bytes, place: float, kernel: int, seed: int = 0) -> Inserted:
    """Put a convolution behind the first operator from `place` on that computes a map of its own.

    Args:
        content: of an int8 file with a CONV_2D.
        place: as a fraction of the operators.
        kernel: height and width.
        seed: of the weights.
    """
    model = flatbuffer.read(content)
    before = next(
        i
        for i in range(round(place * len(model.operators)), len(model.operators))
        if model.operators[i].name == "CONV_2D"
        and len(model.tensors[model.operators[i].outputs[0]].shape) == 4
    )
    behind = model.operators[before].outputs[0]
    channels = model.tensors[behind].shape[-1]
    random = np.random.default_rng(seed)
    weights = random.integers(-127, 128, (channels, kernel, kernel, channels), np.int8)

    def insert(schema_model: Any) -> None:
        graph = schema_model.subgraphs[0]
        donor = graph.operators[before]  # of kernel and bias tensors, code and options

        def add(like: int, name: str, shape: Sequence[int], scale: Any, data: Any = None) -> int:
            tensor = copy(graph.tensors[like])
            tensor.quantization = copy(tensor.quantization)
            tensor.name, tensor.shape, tensor.shapeSignature = name, np.int32(shape), None
            tensor.buffer = 0
            if data is not None:
                tensor.quantization.scale = np.float32(scale)
                tensor.quantization.zeroPoint = np.zeros(channels, np.int64)
                tensor.quantization.min = tensor.quantization.max = None
                buffer = copy(schema_model.buffers[0])
                buffer.data = data.reshape(-1).view(np.uint8)
                schema_model.buffers.append(buffer)
                tensor.buffer = len(schema_model.buffers) - 1
            graph.tensors.append(tensor)
            return len(graph.tensors) - 1

        scale = np.full(channels, 1 / (74 * kernel * channels**0.5))  # outputs spread as inputs
        of_bias = scale * model.tensors[behind].scale[0]
        _, kernel_like, bias_like = donor.inputs
        inputs = [
            behind,
            add(kernel_like, "inserted/kernel", weights.shape, scale, weights),
            add(bias_like, "inserted/bias", [channels], of_bias, np.zeros(channels, np.int32)),
        ]
        output = add(behind, "net/inserted/Conv2D", model.tensors[behind].shape, None)
        for operator in graph.operators:
            operator.inputs = np.where(operator.inputs == behind, output, operator.inputs)
        graph.outputs = np.where(np.array(graph.outputs) == behind, output, graph.outputs)
        convolution = deepcopy(donor)
        convolution.inputs, convolution.outputs = np.int32(inputs), np.int32([output])
        options = convolution.builtinOptions
        options.padding, options.fusedActivationFunction = SAME, NO_ACTIVATION
        options.strideH = options.strideW = 1
        options.dilationHFactor = options.dilationWFactor = 1
        graph.operators.insert(before + 1, convolution)

    return Inserted(flatbuffer.rewrite(content, insert), before + 1)


def build(name: str, path: Path) -> bytes:
    """Return a net of random weights as an int8 file, kept at `path`."""
    if path.exists():
        return path.read_bytes()
    from edgenets.data.images import Preparation
    from edgenets.export.measure.promises import random_images
    from edgenets.export.write.tflite import to_int8
    from edgenets.models.backend import keras
    from edgenets.models.folder import Spec
    from edgenets.models.registry import complete_arguments, create

    keras.utils.set_random_seed(0)
    arguments = complete_arguments(name, NETS[name])
    size = arguments["resolution"]
    labels = tuple(map(str, range(arguments["classes"])))
    spec = Spec(name, arguments, labels, Preparation(size, size), seed=0)
    content = to_int8(create(name, **arguments), spec, random_images(size, 8))
    write_bytes(path, content)
    return content


def measure(name: str, place: float, kernel: int, out: Path, min_seconds: float) -> dict[str, Any]:
    plain = build(name, out / f"{name}.tflite")
    content, i = insert_convolution(plain, place, kernel)
    whole, alone = out / "whole.tflite", out / "alone.tflite"
    write_bytes(whole, content)
    write_bytes(alone, cut(content, i, i + 1))
    standing = benchmark_file(alone, min_seconds=min_seconds).latency_ms.median
    profiled = benchmark_file(whole, min_seconds=min_seconds, per_op=True)
    op = profiled.ops[i]
    files = {
        "alone": alone.read_bytes(),
        "with": content,
        "without": plain,
        "prefix": cut(content, 0, i + 1),
        "before": cut(content, 0, i),
    }
    with open_device(LOCAL) as session:
        (ms,) = time_in_turn(session, [files], min_seconds=min_seconds)
    (_, height, width, channels) = flatbuffer.read(files["alone"]).outputs[0].shape
    return {
        "net": name,
        "kernel": kernel,
        "map": [height, width, channels],
        "standalone_ms": standing,
        "per_op_ms": op["ms"],
        "per_op_ci95": op["ms_ci95"],
        "alone_ms": undisturbed(ms["alone"]),
        "prefixes_ms": undisturbed(ms["prefix"]) - undisturbed(ms["before"]),
        "wholes_ms": undisturbed(ms["with"]) - undisturbed(ms["without"]),
        **{
            key: getattr(profiled, key)
            for key in ("ops_sum_ms", "ops_whole_ms", "ops_resolution_ms")
        },
    }


def print_row(row: dict[str, Any]) -> None:
    errors = [f"{100 * (row[method] / row['standalone_ms'] - 1):+.0f} %" for method in METHODS]
    low, high = row["per_op_ci95"]
    print(
        f"| {row['net']} | {row['kernel']} x {row['kernel']} | "
        f"{' x '.join(map(str, row['map']))} | {row['standalone_ms']:.3g} | "
        f"{row['per_op_ms']:.3g} ({low:.3g} to {high:.3g}) | "
        f"{row['ops_resolution_ms']:.2g} | {' | '.join(errors)} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/per_op"))
    parser.add_argument("--min-seconds", type=float, default=2.0)
    options = parser.parse_args()
    rows = []
    print("\n".join(HEADER), flush=True)
    for name in NETS:
        for place in PLACES:
            for kernel in KERNELS:
                kept = options.out / f"{name}_{place:g}_{kernel}.json"
                if not kept.exists():
                    row = measure(name, place, kernel, options.out, options.min_seconds)
                    write_json(kept, row)
                rows.append(read_json(kept))
                print_row(rows[-1])
    for method in METHODS:
        errors = sorted(abs(row[method] / row["standalone_ms"] - 1) for row in rows)
        print(
            f"{method}: error {100 * median(errors):.1f} % in the median, {100 * errors[-1]:.1f} % "
            f"at most; within 20 %: {sum(error <= 0.2 for error in errors)} of {len(errors)}"
        )
    for name in NETS:
        sums = [(row["ops_sum_ms"], row["ops_whole_ms"]) for row in rows if row["net"] == name]
        shares = [100 * (sum_ms / whole_ms - 1) for sum_ms, whole_ms in sums]
        resolutions = [row["ops_resolution_ms"] for row in rows if row["net"] == name]
        print(
            f"{name}: sum against whole {min(shares):+.1f} to {max(shares):+.1f} %, resolution "
            f"{min(resolutions):.2g} to {max(resolutions):.2g} ms"
        )


if __name__ == "__main__":
    main()
