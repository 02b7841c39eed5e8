"""The test images that a network is most sure of and wrong about: which ones, and as pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgenets.data.dataset import Images, Split
from edgenets.models.logits import softmax

MOST_CLASSES = 25  # those with the most mistakes
MOST_PER_CLASS = 4
PICTURE_PIXELS = 96  # of a picture's side, at most
JPEG_QUALITY = 80


class Mistake(NamedTuple):
    """An image whose class is not the network's first answer."""

    image: int
    label: int
    answer: int
    score: float  # the answer's softmax probability


def worst_mistakes(
    logits: NDArray[np.floating[Any]],
    labels: NDArray[np.int64],
    most_classes: int = MOST_CLASSES,
    most_per_class: int = MOST_PER_CLASS,
) -> list[Mistake]:
    """Return the mistakes with the highest scores of each class, by class and then by score.

    Args:
        logits: [images, classes].
        labels: [images], the index of each image's true class.
        most_classes: of them; those with the most mistakes are taken.
        most_per_class: mistakes of a class.

    >>> worst_mistakes(np.float32([[0, 9], [9, 0], [0, 1]]), np.array([0, 0, 0]), 1, 1)
    [Mistake(image=0, label=0, answer=1, score=0.9998766054240137)]
    """
    answers = logits.argmax(axis=1)
    wrong = np.flatnonzero(answers != labels)
    counts = np.bincount(labels[wrong], minlength=logits.shape[1])
    chosen = np.argsort(-counts, kind="stable")[:most_classes]
    mistakes = []
    for label in np.sort(chosen):
        of_class = [
            Mistake(int(i), int(label), int(answers[i]), float(softmax(logits[i])[answers[i]]))
            for i in wrong[labels[wrong] == label]
        ]
        mistakes += sorted(of_class, key=lambda mistake: -mistake.score)[:most_per_class]
    return mistakes


def describe_mistakes(
    mistakes: Sequence[Mistake],
    split: Split,
    images: Images,
    classes: Sequence[str],
    root: Path,
) -> list[dict[str, Any]]:
    """Return what a report keeps of mistakes.

    Args:
        mistakes: of images of `split`.
        split: says where the images come from.
        images: their prepared pixels.
        classes: the names of the classes.
        root: the folder that paths are relative to, if the images are within it.

    Returns:
        For each mistake its `index` in the split; `path`, None for an image that is no file;
        `label`, `answer` and `score`; `jpeg`, the picture in base64.
    """
    pixels = images.take([mistake.image for mistake in mistakes])
    return [
        {
            "index": mistake.image,
            "path": _path(split.sources[mistake.image], root),
            "label": classes[mistake.label],
            "answer": classes[mistake.answer],
            "score": mistake.score,
            "jpeg": _jpeg(picture),
        }
        for mistake, picture in zip(mistakes, pixels, strict=True)
    ]


def _path(source: Path | NDArray[np.uint8], root: Path) -> str | None:
    if not isinstance(source, Path):
        return None
    return str(source.relative_to(root) if source.is_relative_to(root) else source)


def _jpeg(pixels: NDArray[np.uint8]) -> str:
    picture = Image.fromarray(pixels)
    picture.thumbnail((PICTURE_PIXELS, PICTURE_PIXELS))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=JPEG_QUALITY)
    return base64.b64encode(file.getvalue()).decode()
