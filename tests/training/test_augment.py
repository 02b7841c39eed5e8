from __future__ import annotations

import numpy as np
import pytest

from edgenets.models.backend import tf
from edgenets.training.augment import augment


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (16, 12, 12, 3)).astype(np.float32)


def views(images: np.ndarray, seed: int, **options: object) -> np.ndarray:
    return augment(tf.constant(images), tf.constant([seed, 0]), **options).numpy()


def test_same_seed_gives_the_same_views(images: np.ndarray):
    first, again = (views(images, 1, strength=1.0, flip=True) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, views(images, 2, strength=1.0, flip=True))


def test_views_stay_in_range_and_shape(images: np.ndarray):
    result = views(images, 1, strength=1.0, flip=True)
    assert result.shape == images.shape
    assert np.abs(result).max() <= 1


def test_no_strength_and_no_flip_change_nothing(images: np.ndarray):
    np.testing.assert_array_equal(views(images, 1, strength=0, flip=False), images)


def test_flip_alone_mirrors_about_half_of_the_images_exactly(images: np.ndarray):
    result = views(images, 1, strength=0, flip=True)
    mirrored = 0
    for view, image in zip(result, images, strict=True):
        is_mirror = np.allclose(view, image[:, ::-1], atol=1e-4)
        assert is_mirror or np.allclose(view, image, atol=1e-4)
        mirrored += is_mirror
    assert 3 <= mirrored <= 13  # of 16; outside with probability 0.4 %


def test_digits_are_never_mirrored():
    arrow = np.full((64, 16, 16, 3), -1, np.float32)
    arrow[:, :, 10:] = 1  # bright on the right
    result = views(arrow, 3, strength=1.0, flip=False)
    assert (result[:, :, 12:].mean(axis=(1, 2, 3)) > result[:, :, :4].mean(axis=(1, 2, 3))).all()
