import numpy as np
import pytest

from edgenets.data.census import describe, warnings_of_images
from edgenets.data.dataset import NO_IMAGES, Dataset, Split

PIXELS = np.zeros((1, 1, 3), np.uint8)


def split_of(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    return Split((PIXELS,) * len(labels), labels)


def dataset_of(train, test, unlabelled=0):
    """A set with so many images of each class."""
    more = Split((PIXELS,) * unlabelled, np.full(unlabelled, -1)) if unlabelled else NO_IMAGES
    classes = tuple("abcdefgh"[: len(train)])
    return Dataset("pets", classes, split_of(train), split_of(test), (), "f00d", True, more)


def test_line_says_how_many_images_there_are_of_a_class():
    assert describe(dataset_of([100, 102], [50, 50])) == (
        "pets: 2 classes of 100 to 102 training images; 202 training and 100 test images"
    )
    assert describe(dataset_of([7, 7], [1, 1], unlabelled=3)) == (
        "pets: 2 classes of 7 training images; 3 unlabelled, 14 training and 2 test images"
    )


def test_enough_images_of_each_class_are_no_reason_to_warn():
    assert warnings_of_images(dataset_of([10, 30, 30], [100, 100, 100])) == []


def test_imbalance_over_three_to_one_names_the_classes_with_their_counts():
    (warning,) = warnings_of_images(dataset_of([20, 61, 30], [100, 100, 100]))
    assert warning.startswith("'b' has 61 training images and 'a' 20: ")


def test_three_images_a_class_are_said_to_be_too_few_to_learn_from():
    few, _ = warnings_of_images(dataset_of([3] * 7, [1] * 7))
    assert few.startswith(
        "fewer than 10 training images in 'a' (3), 'b' (3), 'c' (3), 'd' (3), 'e' (3) and 2 more: "
    )


@pytest.mark.parametrize(
    "samples, interval",
    [
        # (0.85 + z2 / 2 -+ sqrt(z2 * 0.85 * 0.15 + z2 * z2 / 4)) / (1 + z2), z2 = 3.8415 / samples
        (100, "76.7 to 90.7 %"),
        (25, "66.5 to 94.2 %"),
    ],
)
def test_small_test_set_says_how_wide_its_interval_would_be(samples, interval):
    (warning,) = warnings_of_images(dataset_of([50, 50], [samples, 0]))
    assert warning.startswith(f"{samples} test images tell little: of 85 % right, ")
    assert f"would be {interval}" in warning


def test_unlabelled_images_belong_to_no_class():
    data = dataset_of([20, 20], [150, 150], unlabelled=500)
    assert warnings_of_images(data) == []
