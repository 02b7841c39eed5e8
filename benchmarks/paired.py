"""How sure is a run's loss of accuracy: float model against int8 file on the same test images.

    python benchmarks/paired.py runs/cifar10

Prints both accuracies and the difference with its paired 95 % interval (normal approximation of the
mean of the per-image differences).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from edgenets.data.dataset import open_dataset
from edgenets.export.runtime import Classifier
from edgenets.models.folder import load_model
from edgenets.pipeline.config_file import load_config
from edgenets.train.fit import compile_inference, predict_logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run_dir", type=Path)
    run = parser.parse_args().run_dir
    config = load_config(run / "config.yaml")
    data = config.data
    test = open_dataset(
        data.source, seed=config.seed, strict=data.strict, test_fraction=data.test_fraction
    ).test
    model, spec = load_model(run / "stages" / "01-train")
    pixels = test.load(spec.preparation).take(np.arange(len(test)))
    of_model = predict_logits(compile_inference(model), pixels).argmax(axis=1) == test.labels
    of_file = Classifier(run / "model.tflite").logits(pixels).argmax(axis=1) == test.labels
    differences = 100 * (of_model.astype(float) - of_file)
    error = 1.96 * differences.std(ddof=1) / np.sqrt(len(test))
    print(
        f"float {of_model.mean():.2%}, int8 file {of_file.mean():.2%} on {len(test)} images: loss "
        f"{differences.mean():.2f} points, 95 % interval {differences.mean() - error:.2f} to "
        f"{differences.mean() + error:.2f}"
    )


if __name__ == "__main__":
    main()
