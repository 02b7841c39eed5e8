"""Which images a training learns from, and which choose its best epoch."""

from __future__ import annotations

import numpy as np

from edgenets.data.dataset import Split
from edgenets.data.images import Preparation
from edgenets.training.data import TrainingData


def test_given_validation_images_choose_the_epoch_and_none_are_held_out():
    pixels = tuple(np.full((8, 8, 3), value, np.uint8) for value in range(10))
    train, given = Split(pixels[:7], np.arange(7) % 2), Split(pixels[7:], np.arange(3) % 2)
    options = {"validation_fraction": 0.3, "flip": False, "seed": 0}

    def parts(validation: Split | None) -> tuple[list[int], list[int]]:
        data = TrainingData.from_split(train, Preparation(8, 8), validation=validation, **options)
        images = (data.images, data.validation_images)
        learned, chosen_by = (
            [int(image[0, 0, 0]) for image in i.take(range(len(i)))] for i in images
        )
        return learned, chosen_by

    assert parts(given) == ([0, 1, 2, 3, 4, 5, 6], [7, 8, 9])
    learned, chosen_by = parts(None)
    assert sorted(learned + chosen_by) == list(range(7)) and len(chosen_by) == 2
    assert parts(Split((), np.array([], np.int64))) == (learned, chosen_by)
