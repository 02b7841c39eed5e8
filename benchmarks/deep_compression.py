"""Deep Compression of the CIFAR-10 nets in the package: the table of docs/evidence/compression.md.

    python benchmarks/deep_compression.py --data cifar10 [--out runs/deep-compression] [NET ...]

Each net is pruned, its weights are shared, and its integers settled, at most 5 epochs a stage;
stopped, the same command goes on. Fine-tuning and the choice of its best epoch see training images
only; the differences are those of the float model and the exported file on the test images, with a
paired 95 % interval (normal approximation of the mean of the per-image differences).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from paired import paired_loss

from edgenets.data.sources import open_for_evaluation
from edgenets.export.formats import INT8
from edgenets.export.measure.accuracy import classify
from edgenets.export.measure.classifier import Classifier
from edgenets.export.write.checked_file import export_checked
from edgenets.files import read_json
from edgenets.models.folder import Model, load_spec
from edgenets.models.inference import compile_inference, predict_logits
from edgenets.models.weights.sources import PRETRAINED
from edgenets.pipeline.compress import MEASURED
from edgenets.pipeline.compress import compress as compress_model
from edgenets.pipeline.config import check_config
from edgenets.units import format_seconds


class Setting(NamedTuple):
    """How far a net is compressed, and for how many epochs it is trained to prune and to share."""

    sparsity: float
    clusters: int
    prune_epochs: int
    share_epochs: int


SETTINGS = {
    "mobilenet_v1": Setting(0.65, 32, 5, 4),
    "squeezenet": Setting(0.65, 32, 5, 3),
    "shufflenet_v2": Setting(0.65, 32, 4, 3),
    "xception": Setting(0.6, 16, 4, 3),
}
COLUMNS = "net stage top-1 loss .tflite stored ratio zeros values nonzeros time".split()


Recipe = list[dict[str, object]]


def recipe(name: str) -> Recipe:
    sparsity, clusters, prune_epochs, share_epochs = SETTINGS[name]
    fine_tuning = {"batch_size": 128, "augment": 0.5}
    pruning = {"sparsity": sparsity, "ramp": 0.4, "epochs": prune_epochs}
    return [
        {"stage": "prune", **pruning, **fine_tuning},
        {"stage": "share", "clusters": clusters, "epochs": share_epochs, **fine_tuning},
        {"stage": "int8"},
    ]


def compress(folder: Path, stages: Recipe, data: str, out: Path) -> None:
    spec, _ = load_spec(folder)
    values = {"model": spec.net, "data": {"source": data}, "compress": stages}
    config = check_config(values, lambda place: folder.name)
    compress_model(Model.load(folder), config, out)


def exported(out: Path) -> bytes:
    """Return the int8 file of the compressed folder."""
    model = Model.load(out)
    return export_checked(INT8, model.net, model.spec, None, model.codes).content


def is_right(folder: Path, data: str, content: bytes | None = None) -> NDArray[np.bool_]:
    """Tell of each test image whether the folder's model, or else its file, is right."""
    loaded = Model.load(folder)
    model, spec = loaded.net, loaded.spec
    split = open_for_evaluation(data, spec.labels).split
    images = split.load(spec.preparation)
    if content is None:
        logits = predict_logits(compile_inference(model), images)
    else:
        logits = classify(Classifier(content), images)
    return logits.argmax(axis=1) == split.labels


def format_loss(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> str:
    """Return the points of top-1 that are lost, and their 95 % interval."""
    return "{:.2f} ({:.2f} to {:.2f})".format(*paired_loss(first, second))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nets", nargs="*", default=list(SETTINGS), metavar="NET")
    parser.add_argument("--data", required=True, help="the folder of CIFAR-10")
    parser.add_argument("--out", type=Path, default=Path("runs/deep-compression"))
    options = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |")
    print("|" + "---|" * len(COLUMNS))
    for name in options.nets:
        folder, out = PRETRAINED / f"cifar10_{name}", options.out / name
        if not (out / MEASURED).exists():
            compress(folder, recipe(name), options.data, out)
        stages = read_json(out / MEASURED)["stages"]
        float_bytes = stages[0]["size_bytes"]
        right = [is_right(folder, options.data, content) for content in (None, exported(out))]
        for stage in stages:
            is_last, stored = stage is stages[-1], stage["stored_bytes"]
            cells = (
                name,
                stage["name"],
                f"{100 * stage['top1']:.2f}",
                format_loss(*right) if is_last else "",
                f"{stage['size_bytes']:,}",
                f"{stored:,}" if stored else "",
                f"{float_bytes / stored:.2f}x" if stored else "",
                f"{100 * stage['sparsity']:.1f} %",
                str(stage["distinct_values"]),
                f"{stage['nonzero_params']:,}",
                format_seconds(stage["seconds"]),
            )
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
