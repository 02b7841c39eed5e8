"""Accuracy: top-1, top-5, per class, and what is taken for what; here or on a device."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets.data.dataset import Images
from edgenets.data.images import Preparation
from edgenets.data.input_range import Range
from edgenets.data.sources import EvaluationImages, open_for_evaluation
from edgenets.errors import EdgenetsError
from edgenets.export.devices.device import LOCAL, Device
from edgenets.export.devices.opening import check_device, open_device
from edgenets.export.measure.classifier import Classifier, ClassifierFile
from edgenets.export.measure.predict import lost_labels_sentence, usual_preparation
from edgenets.export.measure.remote_classifier import RemoteClassifier
from edgenets.intervals import wilson_interval
from edgenets.memory import read_bounded
from edgenets.progress import progress_bar
from edgenets.units import format_interval, format_percent

IMAGES_AT_ONCE = 32


def score(
    logits: NDArray[np.floating[Any]], labels: NDArray[np.int64], class_names: Sequence[str]
) -> dict[str, Any]:
    """Compare logits with the true classes.

    The classes of an image are ranked by logit; among equal ones, which quantized networks often
    return, the class with the lower index comes first.

    Args:
        logits: [images, classes].
        labels: [images], the index of each image's true class.
        class_names: one per class.

    Returns:
        top1: fraction of images whose true class comes first.
        top5: fraction whose true class is among the first five; None below six classes.
        ci95: low and high end of top1's 95 % confidence interval.
        samples: number of images.
        per_class: for each class its label, samples, top1 and ci95 (both None without samples).
        confusion: [true class][first class], numbers of images.

    Raises:
        EdgenetsError: there are no images, or a logit is NaN.

    >>> score(np.array([[1.0, 1.0], [3.0, 2.0]]), np.array([1, 0]), ["cat", "dog"])["top1"]
    0.5
    """
    samples, classes = logits.shape
    if not samples:
        raise EdgenetsError("there is no image to evaluate on")
    if np.isnan(logits).any():
        raise EdgenetsError("the network returned a NaN: its weights or its training went wrong")
    ranks = label_ranks(logits, labels)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, logits.argmax(axis=1)), 1)
    top1 = float(np.mean(ranks < 1))
    return {
        "top1": top1,
        "top5": float(np.mean(ranks < 5)) if classes > 5 else None,
        "ci95": list(wilson_interval(top1, samples)),
        "samples": samples,
        "per_class": [
            {"label": label, **_of_class(int(row[i]), int(row.sum()))}
            for i, (label, row) in enumerate(zip(class_names, confusion, strict=True))
        ],
        "confusion": confusion.tolist(),
    }


def commonest_class(per_class: Sequence[dict[str, Any]]) -> tuple[str, float]:
    """Return the class with the most images of a score, and its share of all of them.

    >>> commonest_class([{"label": "cat", "samples": 1}, {"label": "dog", "samples": 3}])
    ('dog', 0.75)
    """
    commonest = max(per_class, key=itemgetter("samples"))
    return commonest["label"], commonest["samples"] / sum(row["samples"] for row in per_class)


def warnings_of_score(score: dict[str, Any]) -> list[str]:
    """Return a sentence if an accuracy cannot be told from answering the commonest class always.

    That is so where the lower end of its 95 % interval is at most the share of that class. Images
    of a single class tell nothing of this.

    Args:
        score: what the function `score` returns.
    """
    label, share = commonest_class(score["per_class"])
    if share == 1 or share < score["ci95"][0]:
        return []
    return [
        f"top-1 {format_percent(score['top1'])} (95 % interval {format_interval(score['ci95'])}) "
        f"cannot be told from always answering {label!r}, the commonest class, which is right for "
        f"{format_percent(share)} of the {score['samples']} test images: the net may have learned "
        "nothing; train with more images, or begin with trained weights (--weights imagenet, "
        "or train.weights=imagenet in a config)"
    ]


def label_ranks(logits: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many classes come before each image's true one: [images].

    >>> label_ranks(np.array([[2.0, 7.0, 2.0]] * 3), np.array([0, 1, 2]))
    array([1, 0, 2])
    """
    true = np.take_along_axis(logits, labels[:, np.newaxis], axis=1)
    earlier = np.arange(logits.shape[1]) < labels[:, np.newaxis]
    return np.sum((logits > true) | ((logits == true) & earlier), axis=1)


def right_answers(logits: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> str:
    """Return which images are answered rightly: a bit each, in hexadecimal, the first one in front.

    >>> right_answers(np.array([[2.0, 7.0], [7.0, 2.0], [1.0, 0.0]]), np.array([1, 1, 0]))
    'a0'
    """
    return np.packbits(label_ranks(logits, labels) < 1).tobytes().hex()


def commonest_confusions(confusion: list[list[int]], most: int) -> list[tuple[int, int, int]]:
    """Return (images, true class, wrong answer) of the `most` pairs most often confused.

    >>> commonest_confusions([[9, 1, 0], [0, 7, 3], [0, 0, 9]], most=5)
    [(3, 1, 2), (1, 0, 1)]
    """
    wrong = [
        (images, true, taken)
        for true, row in enumerate(confusion)
        for taken, images in enumerate(row)
        if images and taken != true
    ]
    return sorted(wrong, key=lambda pair: (-pair[0], *pair[1:]))[:most]


def evaluate_file(
    path: Path,
    source: str,
    device: Device = LOCAL,
    *,
    kernels: str | None = None,
    everything: bool = False,
    labels: Sequence[str] | None = None,
    input_range: Range | None = None,
    patience_seconds: float | None = None,
) -> dict[str, Any]:
    """Measure the accuracy of a `.tflite` file on a dataset.

    Args:
        path: of the file; where it does not say how its images are prepared, that is done in the
            usual way for its size, and `warnings` say so.
        source: the dataset: a folder or a built-in name.
        device: where the file runs; images are decoded and prepared here.
        kernels: of `KERNELS`, that the interpreter computes with; None: those that it takes.
        everything: score all images, those to train with too.
        labels, input_range: what the file does not say, as for `ClassifierFile`.
        patience_seconds: as for `open_device`.

    Returns:
        What `score` returns; `labels`; `split`, which part of the dataset was scored; `skipped`,
        the files left out with their reasons; and `warnings`, what the accuracy does not say. On
        another device also its `name`, its `runtime`, and `here`: this machine's `runtime` and
        `top1` on the same inputs, how many images' outputs are `identical` bit for bit, and the
        `largest_difference` of an output, in codes where they are quantized.

    Raises:
        EdgenetsError: the file or the dataset cannot be read, they do not belong together, or the
            device cannot be used.
    """
    size_bytes = 0 if device == LOCAL else len(read_bounded(path))  # before it is connected to
    with open_device(device, patience_seconds=patience_seconds) as session:
        if device != LOCAL:
            check_device(session, size_bytes)
        open_file = partial(
            RemoteClassifier,
            path,
            kernels=kernels,
            labels=labels,
            input_range=input_range,
        )
        classifier = open_file(session)
        labels, preparation = needed_of(classifier, path)
        dataset = open_for_evaluation(
            source, labels, classifier.seeded_split, everything=everything
        )
        images = dataset.split.load(preparation, once=True)
        if device == LOCAL:
            (outputs,) = run_images([classifier], images)
            scored = score_dataset(classifier.logits_of(outputs), dataset, labels)
            return _warned(scored, classifier, preparation)
        with open_device(LOCAL, patience_seconds=patience_seconds) as here_session:
            at_home = open_file(here_session)
            there, here = run_images([classifier, at_home], images)
    difference = np.abs(there.astype(np.float64) - here)
    scored = score_dataset(classifier.logits_of(there), dataset, labels)
    return {
        **_warned(scored, classifier, preparation),
        "device": {"name": device.name},
        "runtime": classifier.runtime,
        "here": {
            "runtime": {key: at_home.runtime[key] for key in ("name", "version")},
            "top1": score(classifier.logits_of(here), dataset.split.labels, labels)["top1"],
            "identical": int((there == here).all(axis=1).sum()),
            "largest_difference": float(difference.max()),
        },
    }


def needed_of(classifier: ClassifierFile, path: Path) -> tuple[tuple[str, ...], Preparation]:
    """Return the labels and the image preparation of a file: the usual one, if it says none.

    Raises:
        EdgenetsError: it holds no labels and none were given, or the input is not square.
    """
    if classifier.labels is None:
        lost = f"{path} does not hold its labels; pass them with --labels FILE, one a line"
        raise EdgenetsError(
            lost_labels_sentence(classifier, path) if classifier.lost_labels else lost
        )
    return classifier.labels, classifier.preparation or usual_preparation(classifier, path)


def unprepared_warnings(classifier: ClassifierFile, preparation: Preparation) -> list[str]:
    """Return a sentence where the preparation of images is not the file's own."""
    if classifier.preparation is not None:
        return []
    return [
        f"the file does not say how its images are prepared; taken was the usual way, {preparation}"
    ]


def _warned(
    scored: dict[str, Any], classifier: ClassifierFile, preparation: Preparation
) -> dict[str, Any]:
    """Return a score with a warning where the preparation of images is not the file's own."""
    warnings = unprepared_warnings(classifier, preparation)
    return {**scored, "warnings": [*warnings, *scored["warnings"]]}


def score_dataset(
    logits: NDArray[np.floating[Any]], dataset: EvaluationImages, labels: Sequence[str]
) -> dict[str, Any]:
    """Return what `evaluate_file` does of the logits, [images, classes], of a dataset's images."""
    measured = score(logits, dataset.split.labels, labels)
    about = dataset.to_json()
    about["warnings"] += warnings_of_score(measured)
    return {**measured, "labels": list(labels), **about}


def run_images(classifiers: Sequence[RemoteClassifier], images: Images) -> list[NDArray[Any]]:
    """Return every classifier's outputs, [images, classes], of the same file on the images.

    Images are prepared once, few in memory at a time.
    """
    first = classifiers[0]
    outputs = [
        np.empty((len(images), first.output.shape[-1]), first.output.dtype) for _ in classifiers
    ]
    with progress_bar("evaluate", total=len(images)) as advance:
        for start in range(0, len(images), first.images_at_once):
            batch = np.arange(start, min(start + first.images_at_once, len(images)))
            pixels = images.take(batch)
            for classifier, rows in zip(classifiers, outputs, strict=True):
                rows[batch] = classifier.outputs(pixels)
            advance(len(batch))
    return outputs


def classify(classifier: Classifier, images: Images) -> NDArray[np.float32]:
    """Return the file's logits `[images, classes]` of every image, few in memory at a time."""
    logits = np.empty((len(images), classifier.classes), np.float32)
    with progress_bar("evaluate", total=len(images)) as advance:
        for start in range(0, len(images), IMAGES_AT_ONCE):
            batch = np.arange(start, min(start + IMAGES_AT_ONCE, len(images)))
            logits[batch] = classifier.logits(images.take(batch))
            advance(len(batch))
    return logits


def _of_class(right: int, samples: int) -> dict[str, Any]:
    if not samples:
        return {"samples": 0, "top1": None, "ci95": None}
    top1 = right / samples
    return {"samples": samples, "top1": top1, "ci95": list(wilson_interval(top1, samples))}
