"""Seeded splits and samples: pure functions from labels to indices."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets.errors import EdgenetsError

TEST_FRACTION = 0.2  # of each class, where images to test with are split off here
CALIBRATION_IMAGES = 200  # that the ranges of activations are measured on


@dataclass(frozen=True)
class SeededSplit:
    """A test part that was split off here, said so that it can be split off again.

    Attributes:
        seed, test_fraction: what `hold_out` was given.
        fingerprint: of the images and their two parts.
    """

    seed: int
    test_fraction: float
    fingerprint: str

    def to_json(self) -> dict[str, Any]:
        """Return what a model folder and a `.tflite` store."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> SeededSplit:
        """Return the split that `to_json` stored.

        Raises:
            EdgenetsError: a key is missing or unknown, or its value cannot be.
        """
        with suppress(TypeError):
            split = cls(**value)
            if (
                type(split.seed) is int
                and split.seed >= 0
                and isinstance(split.test_fraction, float)
                and 0 < split.test_fraction < 1
                and isinstance(split.fingerprint, str)
            ):
                return split
        raise EdgenetsError(
            f"a seeded split looks like {cls(0, TEST_FRACTION, '67d1...').to_json()}, not "
            f"{value!r}; the file is damaged or comes from another version of edgenets"
        )


def hold_out(
    labels: NDArray[np.int64],
    fraction: float,
    seed: int,
    digests: Sequence[str] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split images in two so that each class gives about the same `fraction`.

    Copies of an image come to the same side as the first of them, and count as one of its class.

    Args:
        labels: [images], the class of each image.
        fraction: of a class of n images, round(fraction * n) are held out, but at least 1 and at
            most n - 1; a class's only image is kept, unless it is a copy of another class's.
        seed: decides which.
        digests: what copies have in common; None: there are none.

    Returns:
        kept: ascending indices into `labels`.
        held: the other indices, ascending.

    Raises:
        EdgenetsError: `fraction` is not between 0 and 1.

    >>> kept, held = hold_out(np.array([0, 0, 0, 0, 0, 1]), 0.2, seed=0)
    >>> len(kept), len(held)
    (5, 1)
    """
    if not 0 < fraction < 1:
        raise EdgenetsError(f"a split needs a fraction between 0 and 1, not {fraction}")
    copy_of = np.arange(len(labels))
    if digests is not None:
        _, first, inverse = np.unique(digests, return_index=True, return_inverse=True)
        copy_of = first[inverse]
    firsts = np.unique(copy_of)
    random = np.random.default_rng(seed)
    is_held = np.zeros(len(labels), bool)
    for label in np.unique(labels[firsts]):
        members = firsts[labels[firsts] == label]
        share = min(max(1, round(fraction * len(members))), len(members) - 1)
        is_held[random.permutation(members)[:share]] = True
    is_held = is_held[copy_of]
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


def balanced_sample(labels: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Choose `count` images, as evenly over the classes as the classes' sizes allow.

    Args:
        labels: [images], the class of each image.
        count: how many; all images if there are fewer.
        seed: decides which.

    Returns:
        Ascending indices into `labels`.

    >>> labels = np.array([0, 0, 0, 0, 1])
    >>> labels[balanced_sample(labels, 2, seed=0)]
    array([0, 1])
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    rank_in_class = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        members = labels[order] == label
        rank_in_class[members] = np.arange(members.sum())
    # Every class's first image, then every class's second, and so on.
    return np.sort(order[np.argsort(rank_in_class, kind="stable")][:count])
