"""The images of a training: those to learn from, and those held out to choose the best epoch by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgenets.data.census import is_uneven
from edgenets.data.dataset import Images, Split
from edgenets.data.images import Preparation
from edgenets.data.loading import UNLABELLED
from edgenets.data.splits import hold_out
from edgenets.errors import EdgenetsError


@dataclass(frozen=True)
class TrainingData:
    """Images to learn from, and images split from them on which the best epoch is chosen.

    Images to learn from may be unlabelled: a teacher's answers are then all they teach. Those of
    photographs are there a second time, larger, for crops of them: `sources`, in the same order.
    """

    images: Images
    labels: NDArray[np.int64]
    validation_images: Images
    validation_labels: NDArray[np.int64]
    flip: bool
    sources: Images | None = None
    uneven: bool = False  # of all labelled images, those held out among them: `is_uneven`

    @classmethod
    def from_split(
        cls,
        split: Split,
        preparation: Preparation,
        *,
        validation_fraction: float,
        flip: bool,
        seed: int,
        unlabelled: Split | None = None,
        validation: Split | None = None,
        sources: Preparation | None = None,
    ) -> TrainingData:
        """Hold out a stratified fraction of the training images for choosing the best epoch.

        With images of `validation`, these are for that. Unlabelled ones are added to the others,
        but for copies of those held out.
        `sources` is how the images are prepared that crops are cut from, if they are.
        """
        train = split
        if not validation:
            kept, held = hold_out(split.labels, validation_fraction, seed, split.digests)
            train, validation = split.subset(kept), split.subset(held)
        if not len(validation):
            raise EdgenetsError(
                "training needs a class with at least two training images, of which it keeps one "
                "to choose the best epoch by; add images"
            )
        if unlabelled is not None:
            train += unlabelled.without_copies(validation)
        return cls(
            train.load(preparation),
            train.labels,
            validation.load(preparation),
            validation.labels,
            flip,
            train.load(sources) if sources else None,
            is_uneven(np.unique(split.labels, return_counts=True)[1]),
        )

    def class_weights(self, wanted: bool | None = None) -> NDArray[np.float32]:
        """Return what an image of each class counts: [classes], 1 on average over the images.

        Args:
            wanted: whether each class counts alike, however few images it has; by default where
                they are `uneven`.
        """
        known = np.concatenate([self.labels, self.validation_labels])
        counts = np.bincount(
            self.labels[self.labels != UNLABELLED], minlength=known.max(initial=0) + 1
        )
        present = counts[counts > 0]
        if not len(present) or not (self.uneven if wanted is None else wanted):
            return np.ones(len(counts), np.float32)
        return (counts.sum() / (len(present) * np.maximum(counts, 1))).astype(np.float32)
