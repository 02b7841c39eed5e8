"""What the helpers of post-training int8 gain on the four CIFAR-10 nets of the package.

    python benchmarks/int8_helpers.py cifar10

Measures each helper on the 5,000 training images that the nets' best epochs were chosen on: no net
was trained on them, and no test image is seen. Each file is calibrated on three samples of 200
other training images, one after the other: what a helper gains must be more than luck of one
rounding.
Writes benchmarks/int8_helpers.json and prints it as a table; stopped, the command goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from int8_methods import correct_biases, equalize, percentile_range, without_relu6
from numpy.typing import NDArray
from paired import paired_loss

from edgenets.data.images import Preparation
from edgenets.data.pixels import to_network
from edgenets.data.splits import balanced_sample
from edgenets.export.lower.grids import choose_grids
from edgenets.export.measure.accuracy import classify
from edgenets.export.measure.classifier import Classifier
from edgenets.export.measure.promises import to_snr_db
from edgenets.export.write import tflite
from edgenets.export.write.codes import read_grids
from edgenets.files import write_json
from edgenets.models.backend import keras
from edgenets.models.codes import Codes
from edgenets.models.fold import fold_batch_norm
from edgenets.models.folder import Model, Spec
from edgenets.models.inference import compile_inference, predict_logits
from edgenets.models.weights.sources import PRETRAINED
from edgenets.pipeline.config import DataSettings, RunConfig
from edgenets.pipeline.stages.inputs import RunImages, open_data
from edgenets.quantize.rate.activation_ranges import ChooseRange, mse_range
from edgenets.quantize.settings import Int8Settings
from edgenets.quantize.stages.int8 import quantize_kernels

RESULTS = Path(__file__).with_suffix(".json")
NETS = ("mobilenet_v1", "xception", "shufflenet_v2", "squeezenet")
PLAIN = "plain int8"
SAMPLES = range(3)  # seeds of the calibration images


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


@lru_cache(maxsize=1)
def images_of(source: str, seed: int, preparation: Preparation) -> RunImages:
    """Return the images as the nets were trained on them: the seed decides which were held out."""
    config = RunConfig(data=DataSettings(source=source), seed=seed)
    return RunImages(open_data(config), preparation, config)


def measure_net(net: str, source: str, out: Path) -> dict[str, Any]:
    """Return what the table says of a net; logits that `out` holds are not computed again."""
    loaded = Model.load(PRETRAINED / f"cifar10_{net}")
    model, spec = loaded.net, loaded.spec
    images = images_of(source, spec.seed, spec.preparation)
    held, labels = images.training.validation_images, images.training.validation_labels
    folded = fold_batch_norm(model)
    logits = {"float": [predict_logits(compile_inference(folded), held)]}
    for name, helper in HELPERS.items():
        logits[name] = []
        for seed in SAMPLES:
            path = out / f"{net}, {name}, {seed}.npy"
            if not path.exists():
                chosen = balanced_sample(
                    images.training.labels, Int8Settings().calibration_images, seed
                )
                content = to_int8(folded, spec, images.training.images.take(chosen), helper)
                out.mkdir(parents=True, exist_ok=True)
                np.save(path, classify(Classifier(content), held))
            logits[name].append(np.load(path))
        print(net, name, [f"{right(one, labels).mean():.2%}" for one in logits[name]], flush=True)
    return {name: describe(logits, name, labels) for name in HELPERS}


def describe(
    logits: dict[str, list[NDArray[np.float32]]], name: str, labels: NDArray[np.int64]
) -> dict[str, Any]:
    """Return a row of the table; differences in points, each with its 95 % interval."""
    often = {  # how often each image's answer is right, over the calibration samples
        key: np.mean([right(one, labels) for one in logits[key]], axis=0)
        for key in ("float", PLAIN, name)
    }
    (reference,) = logits["float"]
    error = np.mean([np.sum((one - reference) ** 2) for one in logits[name]])
    return {
        "top1": round(float(often[name].mean()), 5),
        "snr_db": round(to_snr_db(float(np.sum(reference**2)), float(error)), 2),
        "loss": [round(float(x), 3) for x in paired_loss(often["float"], often[name])],
        "gain": [round(float(x), 3) for x in paired_loss(often[name], often[PLAIN])],
    }


def right(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    return logits.argmax(axis=1) == labels


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return the results as the Markdown table of docs/evidence/compression.md."""
    lines = [
        "| net | int8 with | top-1 | logits, dB | loss to float, points | gain over plain int8 |",
        "|---|---|---|---|---|---|",
    ]
    for net, rows in results.items():
        for name, row in rows.items():
            loss, gain = ("{:+.2f} ({:+.2f} to {:+.2f})".format(*row[k]) for k in ("loss", "gain"))
            gain = gain if name != PLAIN else ""
            lines.append(
                f"| {net} | {name} | {row['top1']:.2%} | {row['snr_db']:.1f} | {loss} | {gain} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="CIFAR-10 as folders of images")
    parser.add_argument("--out", type=Path, default=Path("runs/int8_helpers"))
    options = parser.parse_args()
    results = {net: measure_net(net, options.data, options.out) for net in NETS}
    write_json(RESULTS, results)
    print(table(results))


if __name__ == "__main__":
    main()
