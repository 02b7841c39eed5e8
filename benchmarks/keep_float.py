"""What keeping an int8 file's worst layers float gains, and what it costs.

    python benchmarks/keep_float.py mobilenet_v1 --data cifar10

Takes one of the CIFAR-10 nets of the package. Layers are chosen by the error that they add on the
training images that the net's best epoch was chosen on, as the stage `int8` measures it, and the
logits' signal-to-noise ratio is of these images too. Test images are only counted on: top-1, and
its gain over plain int8 with a paired 95 % interval.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from paired import paired_loss

from edgenets.data.dataset import Images
from edgenets.export.measure.accuracy import classify
from edgenets.export.measure.benchmark import benchmark_file
from edgenets.export.measure.classifier import Classifier
from edgenets.export.measure.promises import to_snr_db
from edgenets.export.report.layer_errors import LayerError, measure_error
from edgenets.export.write import tflite
from edgenets.models.backend import keras
from edgenets.models.codes import Codes
from edgenets.models.fold import fold_batch_norm
from edgenets.models.folder import Model
from edgenets.models.graph import find_readers
from edgenets.models.inference import compile_inference, predict_logits
from edgenets.models.weights.sources import PRETRAINED
from edgenets.pipeline.config import DataSettings, RunConfig
from edgenets.pipeline.stages.compress import ERROR_IMAGES
from edgenets.pipeline.stages.inputs import RunImages, open_data
from edgenets.quantize.layers import kernel_axes
from edgenets.quantize.settings import Int8Settings
from edgenets.quantize.sizes.counts import stored_bytes
from edgenets.quantize.stages.int8 import quantize_kernels

SECONDS = 5.0  # of each latency measurement
COLUMNS = "kept float|logits, dB|top-1|gain, points|.tflite|stored|fastest, ms".split("|")


class Measured(NamedTuple):
    """What one choice of layers gives."""

    snr_db: float  # of the logits, on the images that layers are chosen by
    right: NDArray[np.bool_]  # by test image
    size_bytes: int
    stored_bytes: int
    fastest_ms: float


class Net:
    """A net of the package and its images."""

    def __init__(self, name: str, source: str) -> None:
        loaded = Model.load(PRETRAINED / f"cifar10_{name}")
        model, self.spec = loaded.net, loaded.spec
        config = RunConfig(data=DataSettings(source=source), seed=self.spec.seed)
        self.images: RunImages = RunImages(open_data(config), self.spec.preparation, config)
        self.folded: keras.Model = fold_batch_norm(model)
        self.held: Images = self.images.training.validation_images
        self.reference = predict_logits(compile_inference(self.folded), self.held)

    def to_int8(self, keep_float: Sequence[str]) -> bytes:
        """Return the int8 file that the stage `int8` gives."""
        kernels = quantize_kernels(self.folded)
        kernels = {name: kernel for name, kernel in kernels.items() if name not in keep_float}
        calibration = self.images.calibration(Int8Settings().calibration_images)
        spec = replace(self.spec, folded=True, keep_float=tuple(keep_float))
        return tflite.to_int8(self.folded, spec, calibration, Codes(kernels, {}))

    def worst_layer(self, content: bytes) -> LayerError:
        """Return the layer with a kernel that adds most error."""
        errors = measure_error(content, self.folded, self.images.validation(ERROR_IMAGES))
        with_kernel = [e for e in errors if kernel_axes(self.folded.get_layer(e.layer))]
        return min(with_kernel, key=lambda error: error.own_snr_db)

    def measure(self, content: bytes) -> Measured:
        """Measure a file."""
        logits = classify(Classifier(content), self.held)
        error = float(np.sum((logits - self.reference) ** 2))
        answers = classify(Classifier(content), self.images.test).argmax(axis=1)
        with TemporaryDirectory() as folder:
            path = Path(folder) / "model.tflite"
            path.write_bytes(content)
            samples = benchmark_file(path, 1, SECONDS).samples_ms
        return Measured(
            to_snr_db(float(np.sum(self.reference**2)), error),
            answers == self.images.dataset.test.labels,
            len(content),
            stored_bytes(content),
            min(samples),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("net", help="mobilenet_v1, xception, shufflenet_v2 or squeezenet")
    parser.add_argument("--data", required=True, help="the folder of CIFAR-10")
    options = parser.parse_args()
    net = Net(options.net, options.data)
    plain = net.to_int8([])
    worst = net.worst_layer(plain)
    print(worst)
    readers = [layer.name for layer in find_readers(net.folded)[worst.layer] if kernel_axes(layer)]
    all_layers = [layer.name for layer in net.folded.layers if kernel_axes(layer)]
    before = net.measure(plain)
    print(f"| {' | '.join(COLUMNS)} |")
    print("|" + "---|" * len(COLUMNS))
    for kept in ([], [worst.layer], [worst.layer, *readers], all_layers):
        after = net.measure(net.to_int8(kept)) if kept else before
        gain, low, high = paired_loss(after.right, before.right)
        cells = (
            "all" if kept is all_layers else ", ".join(kept) or "none",
            f"{after.snr_db:.1f}",
            f"{100 * after.right.mean():.2f}",
            f"{gain:+.2f} ({low:+.2f} to {high:+.2f})" if kept else "",
            f"{after.size_bytes:,}",
            f"{after.stored_bytes:,}",
            f"{after.fastest_ms:.3f}",
        )
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
