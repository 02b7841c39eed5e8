"""What a set of images can teach and tell: how many of each class, and what is too few."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgenets.data.dataset import Dataset, Split
from edgenets.data.folder import first_few
from edgenets.intervals import wilson_interval
from edgenets.units import format_interval

UNEVEN = 3
"""How many times as many images as the smallest class the largest one may have."""
FEW_IMAGES = 10
"""Of a class: with fewer, chance decides what is learned of it."""
WIDE_INTERVAL = 0.05
"""Beyond, either way, an accuracy hardly tells a good net from a better one."""
USUAL_ACCURACY = 0.85
"""For which the interval is stated before there is an accuracy; nearer to 1 it is narrower."""


def count_images(split: Split, classes: int) -> NDArray[np.int64]:
    """Return how many labelled images each class has, [classes]."""
    return np.bincount(split.labels[split.labels >= 0], minlength=classes)


def is_uneven(counts: NDArray[np.int64]) -> bool:
    """Tell whether one class has more than `UNEVEN` times the images of another.

    >>> is_uneven(np.array([10, 30])), is_uneven(np.array([10, 31])), is_uneven(np.array([]))
    (False, True, False)
    """
    return bool(counts.size) and bool(counts.max() > UNEVEN * counts.min())


def describe(dataset: Dataset) -> str:
    """Return what there is, in one line."""
    counts = count_images(dataset.train, len(dataset.classes))
    low, high = counts.min(), counts.max()
    unlabelled = f"{len(dataset.unlabelled)} unlabelled, " if len(dataset.unlabelled) else ""
    validation = f", {len(dataset.validation)} validation" if len(dataset.validation) else ""
    return (
        f"{dataset.name}: {len(dataset.classes)} classes of "
        f"{low if low == high else f'{low} to {high}'} training images; {unlabelled}"
        f"{len(dataset.train)} training{validation} and {len(dataset.test)} test images"
    )


def warnings_of_images(dataset: Dataset) -> list[str]:
    """Return a sentence for each way in which the images are too few or too uneven."""
    counts = count_images(dataset.train, len(dataset.classes))
    few = [
        f"{name!r} ({count})"
        for name, count in zip(dataset.classes, counts, strict=True)
        if count < FEW_IMAGES
    ]
    smallest, largest = int(counts.argmin()), int(counts.argmax())
    warnings = []
    if few:
        warnings.append(
            f"fewer than {FEW_IMAGES} training images in {first_few(few, 5)}: too few to learn a "
            "class from; add images"
        )
    if is_uneven(counts):
        warnings.append(
            f"{dataset.classes[largest]!r} has {counts[largest]} training images and "
            f"{dataset.classes[smallest]!r} {counts[smallest]}: each class counts alike "
            "in training, unless class_weights is false, but little is learned of few images; add "
            "some to the small classes"
        )
    interval = wilson_interval(USUAL_ACCURACY, len(dataset.test))
    if max(interval[1] - USUAL_ACCURACY, USUAL_ACCURACY - interval[0]) > WIDE_INTERVAL:
        warnings.append(
            f"{len(dataset.test)} test images tell little: of {100 * USUAL_ACCURACY:.0f} % right, "
            f"the 95 % interval would be {format_interval(interval)}; add test images before you "
            "choose by a few points"
        )
    return warnings
