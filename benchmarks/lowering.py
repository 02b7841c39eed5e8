"""What the form of a net for a target saves, in instructions on the emulated boards.

    edgenets doctor --setup-emulator
    python benchmarks/lowering.py [--out runs/lowering]
    python benchmarks/lowering.py --families [--out runs/lowering]

Nets have fresh weights and are calibrated on noise; counts of dense kernels do not depend on them.
The first form prints what each lowering saves; --families all families for every target. Files and
counts are kept in --out; started again, the command goes on. It prints the tables of
docs/evidence/targets.md.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgenets import flatbuffer
from edgenets.data.images import Preparation
from edgenets.data.pixels import to_network
from edgenets.export.formats import FORMATS, FP32
from edgenets.export.inspect.edge_tpu import prediction
from edgenets.export.inspect.xnnpack import partitions
from edgenets.export.lower.lower import lower, runs_sparsely
from edgenets.export.lower.rewriting import CodedModel
from edgenets.export.measure.instructions import count_instructions
from edgenets.export.measure.promises import random_images
from edgenets.export.targets import CORAL, RPI4, TARGETS
from edgenets.export.write import tflite
from edgenets.files import read_json, sha256_file, write_bytes, write_json
from edgenets.models.backend import keras, tf
from edgenets.models.folder import Spec
from edgenets.models.graph import call_layer, walk
from edgenets.models.grouped import ChannelShuffle, GroupedPointwise
from edgenets.models.registry import complete_arguments, create
from edgenets.units import format_count

CPUS = ("cortex-a72", "cortex-a76")
CALIBRATION_IMAGES = 2
SEED = 0
SPARSITY = 0.85
PLAIN, DENSE = "plain converter", "rpi4, dense"
FORMS = {**TARGETS, DENSE: RPI4._replace(int8_rewrites=("dense",))}


class Row(NamedTuple):
    """A file to count."""

    title: str
    name: str
    arguments: dict[str, Any]
    target: str  # of FORMS, or PLAIN
    number_format: str
    sparsity: float = 0.0  # of the 1x1 kernels


V1 = ("shufflenet_v1", {})
SQUEEZENET = ("squeezenet", {})
SHUFFLES = (
    ("ShuffleNet V2 0.5x, 96 px", "shufflenet_v2", {"scale": 0.5, "resolution": 96}),
    ("ShuffleNet V2 1.0x, 96 px", "shufflenet_v2", {"scale": 1.0, "resolution": 96}),
    ("ShuffleNet V1 0.25x g=3, 96 px", "shufflenet_v1", {"scale": 0.25, "resolution": 96}),
    ("ShuffleNet V1 0.5x g=3, 96 px", "shufflenet_v1", {"scale": 0.5, "resolution": 96}),
)
VWW = ("mobilenet_v1", {"width": 0.25, "resolution": 96, "classes": 2})
LOWERINGS = (
    Row("ShuffleNet V1 1.0 g=3, Keras layers", *V1, PLAIN, "int8"),
    *(Row("ShuffleNet V1 1.0 g=3", *V1, target, "int8") for target in ("generic", "rpi4", "rpi5")),
    *(Row("SqueezeNet 1.0", *SQUEEZENET, target, "int8") for target in ("generic", "rpi4", "rpi5")),
    *(Row("MobileNet V1 0.25, 96 px", *VWW, target, "int8") for target in ("generic", "rpi4")),
    *(
        Row("MobileNet V1 1.0, 85 % zeros", "mobilenet_v1", {}, target, number_format, SPARSITY)
        for target in ("generic", "rpi4", "rpi5")
        for number_format in ("fp32", "int8")
    ),
    *(Row(*net, target, "int8") for net in SHUFFLES for target in ("rpi4", "rpi5", DENSE)),
)
FAMILIES = (
    ("mobilenet_v1", {}),
    ("mobilenet_v2", {}),
    ("mobilenet_v3_small", {}),
    ("mobilenet_v3_small", {"minimalistic": True}),
    ("inception_v1", {}),
    ("xception", {"resolution": 96}),
    ("squeezenet", {}),
    ("shufflenet_v1", {}),
    ("shufflenet_v2", {}),
)


def build(row: Row) -> tuple[keras.Model, Spec]:
    arguments = complete_arguments(row.name, row.arguments)
    keras.utils.set_random_seed(SEED)
    model = create(row.name, **arguments)
    for layer in model.layers if row.sparsity else ():
        if type(layer) is keras.layers.Conv2D and layer.kernel_size == (1, 1):
            kernel, *rest = layer.get_weights()
            kernel[np.abs(kernel) < np.quantile(np.abs(kernel), row.sparsity)] = 0
            layer.set_weights([kernel, *rest])
    labels = tuple(str(i) for i in range(arguments["classes"]))
    resolution = arguments["resolution"]
    return model, Spec(row.name, arguments, labels, Preparation(resolution, resolution), SEED)


def convert(row: Row) -> bytes:
    model, spec = build(row)
    images = random_images(spec.preparation.resolution, CALIBRATION_IMAGES)
    if row.target == PLAIN:
        return convert_plainly(model, images)
    number_format, target = FORMATS[row.number_format], FORMS[row.target]
    sparse = number_format is FP32 and target.sparse and runs_sparsely(model)
    net = lower(CodedModel(model, None), target, number_format, sparse=sparse)
    file = (
        tflite.to_sparse(net.model)
        if sparse
        else tflite.to_format(number_format, net.model, spec, images)
    )
    file.edit(flatbuffer.slim)
    return file.content


def convert_plainly(model: keras.Model, images: np.ndarray) -> bytes:
    """Convert as a user of the converter would: Keras's own layers, batch open, defaults."""
    converter = tf.lite.TFLiteConverter.from_keras_model(with_keras_layers(model))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([to_network(image[None])] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    content: bytes = converter.convert()
    return content


def with_keras_layers(model: keras.Model) -> keras.Model:
    """Write grouped convolutions as Conv2D(groups) and shuffles as reshape, permute, reshape."""

    def visit(layer: keras.layers.Layer, inputs: list[Any]) -> Any:
        if not inputs:
            return keras.Input(layer.output.shape[1:], name=layer.name)
        if isinstance(layer, ChannelShuffle):
            _, height, width, channels = inputs[0].shape
            shape = (height, width, layer.groups, channels // layer.groups)
            x = keras.layers.Permute((1, 2, 4, 3))(keras.layers.Reshape(shape)(inputs[0]))
            return keras.layers.Reshape((height, width, channels))(x)
        kind = keras.layers.Conv2D if isinstance(layer, GroupedPointwise) else type(layer)
        return call_layer(kind.from_config(layer.get_config()), inputs)

    tensors = {layer.name: tensor for layer, tensor in walk(model, visit)}
    plain = keras.Model(tensors[model.layers[0].name], tensors[model.layers[-1].name])
    plain.set_weights(model.get_weights())
    return plain


def made(row: Row, out: Path) -> Path:
    arguments = "_".join(f"{key}{value}" for key, value in row.arguments.items())
    parts = (row.name, arguments, row.target, row.number_format, row.sparsity)
    path = out / ("_".join(str(part) for part in parts).replace(" ", "_") + ".tflite")
    if not path.exists():
        write_bytes(path, convert(row))
    return path


def counted(path: Path, cpus: tuple[str, ...]) -> dict[str, int]:
    kept, sha256 = path.with_suffix(".json"), sha256_file(path)
    result = read_json(kept) if kept.exists() else {}
    if result.get("sha256") != sha256:
        result = {"sha256": sha256}
    for cpu in cpus:
        if cpu not in result:
            (result[cpu],) = count_instructions([path], cpu)
            write_json(kept, result)
    return {cpu: result[cpu] for cpu in cpus}


def print_lowerings(out: Path) -> None:
    print(f"| net | target | format | bytes | partitions | {' | '.join(CPUS)} |")
    print("|---|---|---|---|---|" + "---|" * len(CPUS))
    for row in LOWERINGS:
        path = made(row, out)
        counts = counted(path, CPUS)
        found = partitions(path)
        print(
            f"| {row.title} | {row.target} | {row.number_format} | {path.stat().st_size:,} | "
            f"{found.number} | {' | '.join(format_count(counts[cpu]) for cpu in CPUS)} |",
            flush=True,
        )


def print_families(out: Path) -> None:
    print("| net | target | format | bytes | partitions | operators outside | instructions |")
    print("|---|---|---|---|---|---|---|")
    for name, arguments in FAMILIES:
        for target in TARGETS.values():
            if target.accelerator == "ethos_u":
                continue  # benchmarks/ethos_u.py has these
            print_family(name, arguments, target.name, out)


def print_family(name: str, arguments: dict[str, Any], target_name: str, out: Path) -> None:
    target = TARGETS[target_name]
    row = Row(name, name, arguments, target.name, target.formats[0])
    path = made(row, out)
    file, found = flatbuffer.read(path), partitions(path)
    names = [operator.name for operator in file.operators]
    outside = Counter(names[i] for i in found.outside)
    count = format_count(counted(path, (target.cpu,))[target.cpu]) if target.cpu else ""
    doubt = ""
    if target is CORAL:
        predicted = prediction.predict(file)
        outside = predicted.on_cpu
        doubt = f"; {len(predicted.unstated)} by rules unstated" if predicted.unstated else ""
    told = (", ".join(f"{number} {name}" for name, number in outside.items()) or "none") + doubt
    parts = "" if target is CORAL else found.number
    title = " ".join([name, *(f"{key}={value}" for key, value in arguments.items())])
    print(
        f"| {title} | {target.name} | {row.number_format} | {path.stat().st_size:,} | {parts} | "
        f"{told} | {count} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", action="store_true", help="all families for every target")
    parser.add_argument("--out", type=Path, default=Path("runs/lowering"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    table: Callable[[Path], None] = print_families if options.families else print_lowerings
    table(options.out)


if __name__ == "__main__":
    main()
