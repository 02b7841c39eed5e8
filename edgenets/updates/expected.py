"""Inputs with the answers that a release expects, made of a few images where it is published.

The tolerance for other runtimes is measured: twice what this machine's own kernels differ by.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from edgenets.data.sources import open_for_evaluation
from edgenets.errors import EdgenetsError
from edgenets.export.board.protocol import KERNELS
from edgenets.export.measure.classifier import ClassifierFile
from edgenets.export.measure.predict import usual_preparation
from edgenets.updates.probes import difference, is_integer, run

IMAGES = 4
"""In a release: enough to tell one model from another, and few kilobytes."""
LEAST_STEPS = 2
"""That integers of another runtime may differ by, at least."""
LEAST_SHARE = 1e-3
"""Of the largest answer, that floats may differ by, at least."""


def make_probes(path: Path, data: str, images: int = IMAGES) -> tuple[bytes, dict[str, Any]]:
    """Run a file on a few test images; return inputs and answers as `.npz`, and what they promise.

    Args:
        path: of the `.tflite`, an image classifier.
        data: the dataset.
        images: how many, evenly spread.

    Returns:
        The content of the file, and `images`, `runtime` and `tolerance` of the release.

    Raises:
        EdgenetsError: the images or the file cannot be used.
    """
    classifier = ClassifierFile(path)
    preparation = classifier.preparation or usual_preparation(classifier, path)
    if classifier.labels is None:
        raise EdgenetsError(f"{path} holds no labels, which probes from images need; export it")
    split = open_for_evaluation(data, classifier.labels, classifier.seeded_split).split
    chosen = np.unique(np.linspace(0, len(split) - 1, images).astype(np.int64))
    inputs = classifier.inputs(split.subset(chosen).load(preparation).take(np.arange(len(chosen))))
    outputs, runtime = run(path, inputs)
    others = [run(path, inputs, kernels)[0] for kernels in KERNELS if kernels != "xnnpack"]
    largest = max(difference(other, outputs) for other in others)
    least = LEAST_STEPS if is_integer(outputs) else LEAST_SHARE * float(np.abs(outputs).max())
    content = io.BytesIO()
    np.savez_compressed(content, inputs=inputs, outputs=outputs)
    return content.getvalue(), {
        "images": len(inputs),
        "runtime": runtime,
        "tolerance": max(least, 2 * largest),
    }
