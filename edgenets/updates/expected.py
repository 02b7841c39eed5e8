"""Inputs with the answers that a release expects, made of a few images where it is published.

The tolerance for other runtimes is measured: twice what this machine's own kernels differ by.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgenets.data.sources import open_for_evaluation
from edgenets.errors import EdgenetsError
from edgenets.export.board.protocol import KERNELS
from edgenets.export.measure.classifier import ClassifierFile
from edgenets.export.measure.predict import usual_preparation
from edgenets.updates.probe_files import name_of_inputs, pack_answers, pack_inputs
from edgenets.updates.probes import difference, is_integer, run

IMAGES = 4
"""In a release: enough to tell one model from another, and few kilobytes."""
LEAST_STEPS = 2
"""That integers of another runtime may differ by, at least."""
LEAST_SHARE = 1e-3
"""Of the largest answer, that floats may differ by, at least."""


class Expected(NamedTuple):
    """Probes: their files, what tells these inputs from others, and what the release says."""

    inputs: bytes
    answers: bytes
    name: str
    promised: dict[str, Any]  # `images`, `runtime` and `tolerance`


def make_probes(path: Path, data: str, images: int = IMAGES) -> Expected:
    """Run a file on a few test images; return them and the answers.

    Args:
        path: of the `.tflite`, an image classifier.
        data: the dataset.
        images: how many, evenly spread.

    Raises:
        EdgenetsError: the images or the file cannot be used.
    """
    classifier = ClassifierFile(path)
    preparation = classifier.preparation or usual_preparation(classifier, path)
    if classifier.labels is None:
        raise EdgenetsError(f"{path} holds no labels, which probes from images need; export it")
    split = open_for_evaluation(data, classifier.labels, classifier.seeded_split).split
    chosen = np.unique(np.linspace(0, len(split) - 1, images).astype(np.int64))
    pixels = split.subset(chosen).load(preparation).take(np.arange(len(chosen)))
    inputs = classifier.inputs(pixels)
    outputs, runtime = run(path, inputs)
    others = [run(path, inputs, kernels)[0] for kernels in KERNELS if kernels != "xnnpack"]
    largest = max(difference(other, outputs) for other in others)
    least = LEAST_STEPS if is_integer(outputs) else LEAST_SHARE * float(np.abs(outputs).max())
    return Expected(
        inputs=pack_inputs(pixels),
        answers=pack_answers(classifier.codes, outputs),
        name=name_of_inputs(pixels),
        promised={
            "images": len(inputs),
            "runtime": runtime,
            "tolerance": max(least, 2 * largest),
        },
    )
