"""How sure is a run's loss of accuracy: float model against int8 file on the same test images.

    python benchmarks/paired.py runs/cifar10

Prints both accuracies and the difference with its paired 95 % interval (normal approximation of the
mean of the per-image differences).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets.export.measure.accuracy import classify
from edgenets.export.measure.classifier import Classifier
from edgenets.models.folder import Model
from edgenets.models.inference import compile_inference, predict_logits
from edgenets.pipeline.config_file import load_config
from edgenets.pipeline.stages.inputs import open_training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run_dir", type=Path)
    run = parser.parse_args().run_dir
    images, _ = open_training(load_config(run / "config.yaml"))
    labels = images.dataset.test.labels
    model = Model.load(run / "stages" / "01-train").net
    of_model = predict_logits(compile_inference(model), images.test).argmax(axis=1) == labels
    of_file = classify(Classifier(run / "model.tflite"), images.test).argmax(axis=1) == labels
    loss, low, high = paired_loss(of_model, of_file)
    print(
        f"float {of_model.mean():.2%}, int8 file {of_file.mean():.2%} on {len(labels)} images: "
        f"loss {loss:.2f} points, 95 % interval {low:.2f} to {high:.2f}"
    )


def paired_loss(first: NDArray[Any], second: NDArray[Any]) -> tuple[float, float, float]:
    """Return how many points `second` is less often right than `first`, and its 95 % interval.

    Args:
        first, second: [images], whether the answer is right, or how often.
    """
    differences = 100 * (first.astype(float) - second)
    error = 1.96 * differences.std(ddof=1) / np.sqrt(len(differences))
    return differences.mean(), differences.mean() - error, differences.mean() + error


if __name__ == "__main__":
    main()
