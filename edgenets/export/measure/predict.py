"""What is in these images: class names and probabilities from a `.tflite` file."""

from __future__ import annotations

import csv
import glob
import io
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets.data.folder import images_in
from edgenets.data.images import Preparation, load_prepared
from edgenets.data.input_range import Range
from edgenets.data.loading import map_in_threads
from edgenets.errors import EdgenetsError
from edgenets.export.devices.device import LOCAL
from edgenets.export.devices.opening import open_device
from edgenets.export.measure.classifier import ClassifierFile
from edgenets.export.measure.remote_classifier import RemoteClassifier
from edgenets.files import write_bytes
from edgenets.models.weights.labels import readable_name
from edgenets.progress import progress_bar, say

CSV_COLUMNS = ("path", "rank", "label", "name", "score", "error")


def find_images(places: Sequence[Path]) -> list[Path]:
    """Return the image files that are meant, in order.

    Args:
        places: of each a file; a folder, for the images in it and below; or a pattern with *, ?, []
            or **, for the files and folders that it fits.

    Raises:
        EdgenetsError: a folder holds no image, or a pattern fits nothing.
    """
    found: list[Path] = []
    for place in places:
        fitting = [place]
        if not place.exists() and glob.has_magic(str(place)):
            names = glob.glob(str(place), recursive=True)  # noqa: PTH207 - that takes hidden ones
            fitting = sorted(map(Path, names))
        images = [images_in(path) if path.is_dir() else [path] for path in fitting]
        if not any(images):
            raise EdgenetsError(f"there is no image in {place}; give files, a folder or a pattern")
        found += chain.from_iterable(images)
    return list(dict.fromkeys(found))  # ** fits a folder and what is in it


def predict_files(
    model_path: Path,
    image_paths: Sequence[Path],
    top: int = 5,
    *,
    labels: Sequence[str] | None = None,
    input_range: Range | None = None,
    patience_seconds: float | None = None,
) -> list[dict[str, Any]]:
    """Classify image files.

    A file without labels numbers its classes ("class 0"); one without an image preparation gets
    the usual one for its input size.

    Args:
        model_path: of the `.tflite`.
        image_paths: of the images.
        top: how many classes are wanted of each.
        labels, input_range: what the file does not say, as for `ClassifierFile`.
        patience_seconds: as for `open_device`.

    Returns:
        For each image its `path`, and `top`: the likeliest classes, at most `top` of them, each
        with `label`, `name` (what an ImageNet class is called; None for other labels) and `score`,
        the probability: what the network gives, if it gives probabilities, else the softmax. An
        image that cannot be read has `error`, the reason, instead of `top`.

    Raises:
        EdgenetsError: the `.tflite` cannot be read, is not a classifier of square images, or does
            not say what its input takes.
    """
    predictions: list[dict[str, Any]] = []
    with open_device(LOCAL, patience_seconds=patience_seconds) as session:
        classifier = RemoteClassifier(model_path, session, labels=labels, input_range=input_range)
        if classifier.lost_labels:
            say(f"{lost_labels_sentence(classifier, model_path)}; its classes are numbered here")
        preparation = classifier.preparation or usual_preparation(classifier, model_path)
        with progress_bar("predict", len(image_paths)) as advance:
            for start in range(0, len(image_paths), classifier.images_at_once):
                paths = image_paths[start : start + classifier.images_at_once]
                predictions += _predict(classifier, preparation, paths, top)
                advance(len(paths))
    return predictions


def write_csv(path: Path, predictions: Sequence[dict[str, Any]]) -> None:
    """Write what `predict_files` returned as a table, atomically: a row for each image and rank.

    Its columns are `CSV_COLUMNS`; an image that could not be read has one row, with its error.

    Raises:
        EdgenetsError: the file cannot be written.
    """
    text = io.StringIO()
    table = csv.DictWriter(text, CSV_COLUMNS, restval="")
    table.writeheader()
    for prediction in predictions:
        about: dict[str, Any] = {key: prediction.get(key, "") for key in ("path", "error")}
        for rank, best in enumerate(prediction.get("top", [{}]), start=1):
            table.writerow({**about, **best, "rank": rank if best else ""})
    write_bytes(path, text.getvalue().encode(errors="surrogateescape"))


def _predict(
    classifier: ClassifierFile, preparation: Preparation, paths: Sequence[Path], top: int
) -> list[dict[str, Any]]:
    labels = classifier.labels or [f"class {i}" for i in range(classifier.classes)]

    def read(path: Path) -> NDArray[np.uint8] | str:
        try:
            return load_prepared(path, preparation)
        except EdgenetsError as error:
            return str(error)

    read_all = map_in_threads(read, paths)
    pixels = [image for image in read_all if not isinstance(image, str)]
    rows: list[dict[str, Any]] = [
        {"path": str(path), **({"error": image} if isinstance(image, str) else {})}
        for path, image in zip(paths, read_all, strict=True)
    ]
    if not pixels:
        return rows
    readable = [row for row in rows if "error" not in row]
    probabilities = classifier.probabilities_of(classifier.outputs(np.stack(pixels)))
    for row, scores in zip(readable, probabilities, strict=True):
        row["top"] = [
            {"label": labels[i], "name": readable_name(labels[i]), "score": float(scores[i])}
            for i in np.argsort(-scores, kind="stable")[:top]
        ]
    return rows


def lost_labels_sentence(classifier: ClassifierFile, path: Path) -> str:
    """Return what has become of labels that a file names and does not hold, and what to do."""
    return (
        f"{path} names its labels, {classifier.lost_labels}, and does not hold them: it was cut "
        "short, or a tool that rewrote it left out what stood behind the model; pass them with "
        "--labels FILE"
    )


def usual_preparation(classifier: ClassifierFile, path: Path) -> Preparation:
    """Return how images are prepared for a file that does not say it, by its input's size.

    Raises:
        EdgenetsError: the input is not square.
    """
    _, height, width, _ = classifier.input.shape
    if height != width:
        raise EdgenetsError(
            f"{path} takes images of {height} x {width} pixels and does not say how to make them; "
            "edgenets prepares square ones"
        )
    return Preparation.default("", height)
