"""Ways to share weights, compared on their int8 files (docs/evidence/compression.md).

    python benchmarks/sharing_methods.py PRUNED_MODEL_DIR --data cifar10 [--epochs 1] [--out DIR]

From one pruned net, 32 values a kernel: float kernels shared as tfmot does, the same followed by
tfmot's PCQAT (which keeps zeros and clusters), a codebook for each output channel, and the integer
codes of the folded net, shared as `edgenets compress` does. All trainings have as many epochs, no
teacher, and seed 0; all files are calibrated on the same 200 training images and evaluated on the
test images. Finished rows are kept in --out.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgenets import flatbuffer
from edgenets.data.pixels import to_network
from edgenets.export.measure.accuracy import classify
from edgenets.export.measure.classifier import Classifier
from edgenets.export.write import tflite
from edgenets.files import read_json, write_json
from edgenets.models.backend import keras, tf, tfmot, tfmot_clustering
from edgenets.models.codes import Codes, KernelCodes
from edgenets.models.fold import fold_batch_norm
from edgenets.models.folder import Model, Spec
from edgenets.pipeline.compress import open_images_of
from edgenets.pipeline.config import check_config
from edgenets.pipeline.stages.inputs import RunImages
from edgenets.quantize.layers import assign_kernels, copy_model, restore_weights
from edgenets.quantize.settings import ShareSettings
from edgenets.quantize.sizes.counts import distinct_values, sparsity, stored_bytes
from edgenets.quantize.stages.codebook import share_codes
from edgenets.quantize.stages.int8 import quantize_kernels
from edgenets.quantize.stages.share import share_weights
from edgenets.training.fit import fit
from edgenets.training.settings import FitSettings

CLUSTERS = 32
LEARNING_RATE = 2e-4  # of floats with clusters; `share` has its own


class Bench:
    """The pruned net, its images, and where trainings keep their state."""

    def __init__(self, folder: Path, data: str, epochs: int, out: Path) -> None:
        self.source = Model.load(folder)
        self.model, self.spec = self.source.net, self.source.spec
        values = {"model": self.spec.net, "data": {"source": data}}
        config = check_config({**values, "seed": self.spec.seed}, lambda place: "the benchmark")
        self.images: RunImages = open_images_of(self.source, config)
        self.calibration = self.images.calibration(200)
        self.epochs, self.out = epochs, out

    def train(self, model: keras.Model, name: str) -> None:
        """Train a net that shares its floats, or go on with its training."""
        settings = FitSettings(
            epochs=self.epochs,
            **{"batch_size": 128, "augment": 0.5, "warmup_epochs": 0, "weight_decay": 0},
            learning_rate=LEARNING_RATE,
        )
        checkpoint = self.out / f"{name}.safetensors"
        fit(
            model,
            self.images.training,
            settings,
            **{"seed": 0, "checkpoint": checkpoint, "key": name, "description": name},
        )


def as_int8(spec: Spec, model: keras.Model, bench: Bench) -> bytes:
    return tflite.to_int8(model, spec, bench.calibration)


def share_floats(bench: Bench) -> keras.Model:
    clustering = tfmot.clustering.keras
    wrapped = copy_model(
        bench.model,
        lambda layer: tfmot_clustering.cluster_weights(
            layer,
            number_of_clusters=CLUSTERS,
            cluster_centroids_init=clustering.CentroidInitialization.LINEAR,
            preserve_sparsity=True,
        ),
    )
    bench.train(wrapped, "floats")
    return restore_weights(bench.model, clustering.strip_clustering(wrapped))


def floats(bench: Bench) -> bytes:
    return as_int8(bench.spec, share_floats(bench), bench)


def pcqat(bench: Bench) -> bytes:
    quantization = tfmot.quantization.keras
    scheme = tfmot.experimental.combine.Default8BitClusterPreserveQuantizeScheme(True)
    annotated = quantization.quantize_annotate_model(share_floats(bench))
    quantized = quantization.quantize_apply(annotated, scheme)
    bench.train(quantized, "pcqat")
    stripped = tfmot.experimental.combine.strip_clustering_cqat(quantized)
    return _convert(stripped, bench)


def _convert(quantized: keras.Model, bench: Bench) -> bytes:
    """Convert a net with tfmot's own rounding, which knows its ranges."""
    image = tf.TensorSpec([1, *quantized.input_shape[1:]], tf.float32)
    function = tf.function(lambda image: quantized(image, training=False))
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function(image)], quantized
    )
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [to_network(image[np.newaxis])] for image in bench.calibration
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def codes_of(share: Callable[[KernelCodes], KernelCodes], bench: Bench) -> bytes:
    """Share the codes of the folded net without any training."""
    folded = fold_batch_norm(bench.model)
    kernels = {name: share(codes) for name, codes in quantize_kernels(folded).items()}
    assign_kernels(folded, kernels)
    return tflite.to_int8(folded, bench.spec, bench.calibration, Codes(kernels, {}))


def per_channel(kernel: KernelCodes) -> KernelCodes:
    """Return a kernel that has a codebook for each output channel: the axes with a scale each."""
    codes, scale = kernel
    shared = np.empty_like(codes)
    for index in np.ndindex(scale.shape):
        part = tuple(
            slice(None) if size == 1 else slice(i, i + 1)
            for i, size in zip(index, scale.shape, strict=True)
        )
        shared[part] = share_codes(KernelCodes(codes[part], scale[part]), CLUSTERS).codes
    return KernelCodes(shared, scale)


def integer_codes(bench: Bench) -> bytes:
    settings = ShareSettings(clusters=CLUSTERS, epochs=bench.epochs, batch_size=128, augment=0.5)
    shared = share_weights(
        bench.source,
        bench.images.training,
        settings,
        **{"seed": 0, "checkpoint": bench.out / "codes.safetensors", "key": "codes"},
    )
    return tflite.to_int8(shared.net, bench.spec, bench.calibration, shared.codes)


METHODS: dict[str, Callable[[Bench], bytes]] = {
    "none: int8 of the pruned net": lambda bench: as_int8(bench.spec, bench.model, bench),
    "floats, as tfmot": floats,
    "floats, then tfmot's PCQAT": pcqat,
    "codes of each channel, untrained": partial(codes_of, per_channel),
    "codes of the kernel, untrained": partial(
        codes_of, lambda kernel: share_codes(kernel, CLUSTERS)
    ),
    "codes of the kernel, trained": integer_codes,
}


def measure(content: bytes, bench: Bench) -> dict[str, Any]:
    kernels = [tensor.data for tensor in flatbuffer.read(content).weights]
    logits = classify(Classifier(content), bench.images.test)
    return {
        "top1": bench.images.score(logits)["top1"],
        "distinct": distinct_values(kernels),
        "sparsity": sparsity(kernels),
        "stored_bytes": stored_bytes(content),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="PRUNED_MODEL_DIR")
    parser.add_argument("--data", required=True)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/sharing"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.folder, options.data, options.epochs, options.out)
    print("| shared | top-1 | most integers in a kernel | zeros | stored, bytes |")
    print("|---|---|---|---|---|")
    for number, (name, method) in enumerate(METHODS.items()):
        kept = options.out / f"{number}.json"
        if not kept.exists():
            write_json(kept, measure(method(bench), bench))
        row = read_json(kept)
        print(
            f"| {name} | {row['top1']:.2%} | {row['distinct']} | {row['sparsity']:.1%} | "
            f"{row['stored_bytes']:,} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
