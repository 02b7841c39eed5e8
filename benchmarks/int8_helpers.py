"""What the helpers of post-training int8 gain on the four CIFAR-10 nets of the package.

    python benchmarks/int8_helpers.py cifar10

Measures each helper on the 5,000 training images that the nets' best epochs were chosen on: no net
was trained on them, and no test image is seen. Finished measurements are in
benchmarks/int8_helpers.json and are not made again; --table prints that file's table alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from int8_methods import (
    ChooseRange,
    choose_grids,
    correct_biases,
    equalize,
    mse_range,
    percentile_range,
    without_relu6,
)
from numpy.typing import NDArray
from paired import paired_loss

from edgenets.data.images import to_network
from edgenets.export import tflite
from edgenets.export.codes import read_grids
from edgenets.export.evaluate import classify
from edgenets.export.runtime import Classifier
from edgenets.export.verify import to_snr_db
from edgenets.files import write_json
from edgenets.models.backend import keras
from edgenets.models.codes import Codes
from edgenets.models.fold import fold_batch_norm
from edgenets.models.folder import Spec, load_model
from edgenets.models.weights.initial import PRETRAINED
from edgenets.pipeline.config import DataSettings, RunConfig
from edgenets.pipeline.stages import RunImages, open_images
from edgenets.quantize.int8 import Int8Settings, quantize_kernels
from edgenets.train.fit import compile_inference, predict_logits

RESULTS = Path(__file__).with_suffix(".json")
NETS = ("mobilenet_v1", "xception", "shufflenet_v2", "squeezenet")
PLAIN = "plain int8"


class Helper(NamedTuple):
    """What is other than in plain int8."""

    choose: ChooseRange | None = None  # a range of activations; None: from least to largest
    correct: bool = False  # biases
    prepare: Callable[[keras.Model], keras.Model] | None = None  # the folded net


HELPERS = {
    PLAIN: Helper(),
    "percentile 99.9": Helper(percentile_range(99.9)),
    "percentile 99.99": Helper(percentile_range(99.99)),
    "MSE ranges": Helper(mse_range),
    "bias correction": Helper(correct=True),
    "MSE ranges, bias correction": Helper(mse_range, correct=True),
    "equalization": Helper(prepare=lambda net: equalize(without_relu6(net))),
    "equalization, bias correction": Helper(
        correct=True, prepare=lambda net: equalize(without_relu6(net))
    ),
}


def to_int8(
    folded: keras.Model, spec: Spec, calibration: NDArray[np.uint8], helper: Helper
) -> bytes:
    """Return the int8 file of a folded net, made with a helper."""
    if helper.prepare:
        folded = helper.prepare(folded)
    rounded = fold_batch_norm(folded)
    kernels = quantize_kernels(rounded)
    content = tflite.to_int8(rounded, spec, calibration, Codes(kernels, {}))
    codes = Codes(kernels, read_grids(content, rounded))
    images = to_network(calibration)
    if helper.choose:
        codes = Codes(kernels, choose_grids(content, folded, images, helper.choose))
    if helper.correct:
        corrected = correct_biases(folded, codes, images)
        for layer in corrected.layers:
            if getattr(layer, "use_bias", False):
                rounded.get_layer(layer.name).bias.assign(layer.bias)
    return tflite.to_int8(rounded, spec, None, codes)


def measure_net(net: str, source: str, results: dict[str, dict]) -> None:
    """Add to `results` what is missing of a net, and write them."""
    model, spec = load_model(PRETRAINED / f"cifar10_{net}")
    images: RunImages = open_images(
        RunConfig(data=DataSettings(source=source), seed=spec.seed), spec.preparation
    )
    held, labels = images.training.validation_images, images.training.validation_labels
    calibration = images.calibration(Int8Settings().calibration_images)
    folded = fold_batch_norm(model)
    reference = predict_logits(compile_inference(folded), held)
    of_net = results.setdefault(net, {})
    of_net["float"] = describe(reference, reference, labels)
    for name, helper in HELPERS.items():
        if name not in of_net:
            content = to_int8(folded, spec, calibration, helper)
            of_net[name] = describe(classify(Classifier(content), held), reference, labels)
            print(net, name, of_net[name]["top1"], flush=True)
            write_json(RESULTS, results)


def describe(
    logits: NDArray[np.float32], reference: NDArray[np.float32], labels: NDArray[np.int64]
) -> dict:
    """Return the accuracy, and which answers were right as hexadecimal bits, for pairing."""
    right = logits.argmax(axis=1) == labels
    signal, error = np.sum(reference**2), np.sum((logits - reference) ** 2)
    return {
        "top1": float(right.mean()),
        "snr_db": round(to_snr_db(float(signal), float(error)), 2),
        "samples": len(labels),
        "right": np.packbits(right).tobytes().hex(),
    }


def table(results: dict[str, dict]) -> str:
    """Return the results as the Markdown table of docs/compression.md."""
    lines = [
        "| net | int8 with | top-1 | logits, dB | loss to float, points | gain over plain int8 |",
        "|---|---|---|---|---|---|",
    ]
    for net, of_net in results.items():
        answers = {name: _right(measured) for name, measured in of_net.items()}
        for name in HELPERS:
            loss, gain = (
                "{:+.2f} ({:+.2f} to {:+.2f})".format(*paired_loss(first, second))
                for first, second in (
                    (answers["float"], answers[name]),
                    (answers[name], answers[PLAIN]),
                )
            )
            top1, snr_db = of_net[name]["top1"], of_net[name]["snr_db"]
            gain = gain if name != PLAIN else ""
            lines.append(f"| {net} | {name} | {top1:.2%} | {snr_db:.1f} | {loss} | {gain} |")
    return "\n".join(lines)


def _right(measured: dict) -> NDArray[np.bool_]:
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(measured["right"]), np.uint8))
    return bits[: measured["samples"]].astype(bool)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", help="CIFAR-10 as folders of images")
    parser.add_argument("--table", action="store_true", help="print the table and measure nothing")
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if not options.table:
        for net in NETS:
            measure_net(net, options.data, results)
    print(table(results))


if __name__ == "__main__":
    main()
