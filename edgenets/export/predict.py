"""What is in these images: class names and probabilities from a `.tflite` file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets.data.images import Preparation, load_rgb, prepare
from edgenets.errors import EdgenetsError
from edgenets.export.devices import LOCAL, open_device
from edgenets.export.remote import RemoteClassifier
from edgenets.export.runtime import ClassifierFile
from edgenets.models.weights.labels import readable_name


def predict_files(
    model_path: Path, image_paths: Sequence[Path], top: int = 5
) -> list[dict[str, Any]]:
    """Classify image files.

    A file without labels numbers its classes ("class 0"); one without an image preparation gets
    the usual one for its input size.

    Returns:
        For each image its `path`, and `top`: the likeliest classes, at most `top` of them, each
        with `label`, `name` (what an ImageNet class is called; None for other labels) and `score`,
        the softmax probability. An image that cannot be read has `error`, the reason, instead of
        `top`.

    Raises:
        EdgenetsError: the `.tflite` cannot be read, or is not a classifier of square images.
    """
    predictions: list[dict[str, Any]] = []
    with open_device(LOCAL) as session:
        classifier = RemoteClassifier(model_path, session)
        preparation = classifier.preparation or _usual_preparation(classifier, model_path)
        for start in range(0, len(image_paths), classifier.images_at_once):
            paths = image_paths[start : start + classifier.images_at_once]
            predictions += _predict(classifier, preparation, paths, top)
    return predictions


def _predict(
    classifier: ClassifierFile, preparation: Preparation, paths: Sequence[Path], top: int
) -> list[dict[str, Any]]:
    labels = classifier.labels or [f"class {i}" for i in range(classifier.classes)]
    pixels: list[NDArray[np.uint8]] = []
    rows: list[dict[str, Any]] = []
    for path in paths:
        try:
            pixels.append(prepare(load_rgb(path), preparation))
            rows.append({"path": str(path)})
        except EdgenetsError as error:
            rows.append({"path": str(path), "error": str(error)})
    if not pixels:
        return rows
    readable = [row for row in rows if "error" not in row]
    for row, logits in zip(readable, classifier.logits(np.stack(pixels)), strict=True):
        scores = softmax(logits)
        row["top"] = [
            {"label": labels[i], "name": readable_name(labels[i]), "score": float(scores[i])}
            for i in np.argsort(-scores, kind="stable")[:top]
        ]
    return rows


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the probabilities of one image's classes: exp(logits) / sum(exp(logits)), [classes].

    >>> softmax(np.float32([1000, 1000]))
    array([0.5, 0.5])
    """
    powers = np.exp(logits.astype(np.float64) - logits.max())
    return powers / powers.sum()


def _usual_preparation(classifier: ClassifierFile, path: Path) -> Preparation:
    _, height, width, _ = classifier.input.shape
    if height != width:
        raise EdgenetsError(
            f"{path} takes images of {height} x {width} pixels and does not say how to make them; "
            "edgenets prepares square ones"
        )
    return Preparation.default("", height)
