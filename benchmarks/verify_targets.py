"""Nets at their papers' defaults, exported for every target and held against Keras.

    python benchmarks/verify_targets.py imagenet500/test [NET ...]

Weights are fresh (seed 0), and BatchNorm has the statistics of 24 of the images, which also
calibrate and are compared on. It prints the signal-to-noise ratio of the logits, XNNPACK's
partitions and the operators outside, and for coral the operators that are predicted to stay on the
CPU and those whose place rests on an unstated rule.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from edgenets import flatbuffer
from edgenets.data.images import Preparation, load_prepared
from edgenets.data.pixels import to_network
from edgenets.export.formats import FP32, INT8
from edgenets.export.inspect.edge_tpu import prediction
from edgenets.export.inspect.xnnpack import partitions
from edgenets.export.targets import CORAL, TARGETS
from edgenets.export.write.checked_file import export_checked
from edgenets.models.backend import keras
from edgenets.models.folder import Spec
from edgenets.models.registry import complete_arguments, create

NETS = ("mobilenet_v1", "shufflenet_v1", "squeezenet", "shufflenet_v2", "xception")
IMAGES = 24
SEED = 0


def verify(name: str, files: list[Path]) -> None:
    arguments = complete_arguments(name, {})
    preparation = Preparation.default(name, arguments["resolution"])
    images = np.stack([load_prepared(file, preparation) for file in files])
    keras.utils.set_random_seed(SEED)
    model = create(name, **arguments)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(to_network(images), training=True)
    labels = tuple(str(i) for i in range(arguments["classes"]))
    spec = Spec(name, arguments, labels, preparation, SEED)
    for target in TARGETS.values():
        if target.accelerator == "ethos_u":
            continue  # benchmarks/ethos_u.py has these
        for number_format in (INT8, FP32):
            if number_format.name not in target.formats:
                continue
            exported = export_checked(number_format, model, spec, images, None, target)
            assert exported.fidelity is not None  # there are images
            found = partitions(exported.content)
            placed = f"{found.number} | {len(found.outside)}"
            if target is CORAL:
                predicted = prediction.predict(flatbuffer.read(exported.content))
                placed = f"{predicted.cpu_ops} on the CPU | {len(predicted.unstated)} unstated"
            snr_db = f"{exported.fidelity.snr_db:.1f}"
            print(
                f"| {name} | {target.name} | {number_format.name} | {snr_db} | {placed} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, help="a folder of folders of images")
    parser.add_argument("nets", nargs="*", default=NETS, metavar="NET")
    options = parser.parse_args()
    files = sorted(options.images.glob("*/*"))
    print("| net | target | format | dB | partitions | operators outside |")
    print("|---|---|---|---|---|---|")
    for name in options.nets:
        verify(name, files[:: max(1, len(files) // IMAGES)][:IMAGES])


if __name__ == "__main__":
    main()
