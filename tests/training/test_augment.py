from __future__ import annotations

import numpy as np
import pytest

from edgenets.data.pixels import to_network
from edgenets.models.backend import tf
from edgenets.training.augment import (
    CONTRAST,
    ROTATION,
    SCALE,
    SHIFT,
    augment,
    random_crops,
)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (16, 12, 12, 3), np.uint8)


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
    unchanged = views(images, 1, strength=0, flip=False)
    np.testing.assert_array_equal(unchanged, to_network(images))


def test_flip_alone_mirrors_about_half_of_the_images_exactly(images: np.ndarray):
    result = views(images, 1, strength=0, flip=True)
    mirrored = 0
    for view, image in zip(result, to_network(images), strict=True):
        is_mirror = np.allclose(view, image[:, ::-1], atol=1e-4)
        assert is_mirror or np.allclose(view, image, atol=1e-4)
        mirrored += is_mirror
    assert 3 <= mirrored <= 13  # of 16; outside with probability 0.4 %


def test_digits_are_never_mirrored():
    arrow = np.zeros((64, 16, 16, 3), np.uint8)
    arrow[:, :, 10:] = 255  # bright on the right
    result = views(arrow, 3, strength=1.0, flip=False)
    assert (result[:, :, 12:].mean(axis=(1, 2, 3)) > result[:, :, :4].mean(axis=(1, 2, 3))).all()


@pytest.mark.parametrize("strength", [1.0, 6.0])  # with 6, also from beyond the first mirror
def test_views_are_those_of_the_projective_transform(images: np.ndarray, strength: float):
    draws = tf.random.stateless_uniform([6, 16], [1, 0], -1.0, 1.0).numpy() * strength
    sign = np.where(draws[4] < 0, -1, 1)
    zoom, middle = 1 + SCALE * draws[1], (12 - 1) / 2
    cos, sin = (turn(ROTATION * draws[0]) / zoom for turn in (np.cos, np.sin))
    a0, a1, b0, b1 = cos * sign, -sin, sin * sign, cos
    a2 = middle + SHIFT * 12 * draws[2] - (a0 + a1) * middle
    b2 = middle + SHIFT * 12 * draws[3] - (b0 + b1) * middle
    expected = tf.raw_ops.ImageProjectiveTransformV3(
        images=to_network(images),
        transforms=np.stack([a0, a1, a2, b0, b1, b2, 0 * a0, 0 * a0], 1).astype(np.float32),
        output_shape=[12, 12],
        interpolation="BILINEAR",
        fill_mode="REFLECT",
        fill_value=0.0,
    ).numpy()
    contrasted = expected * (1 + CONTRAST * draws[5])[:, None, None, None]
    result = views(images, 1, strength=strength, flip=True)
    # Positions are float32 numbers of up to some tens; between two pixels values change by 2.
    np.testing.assert_allclose(result, contrasted.clip(-1, 1), atol=3e-4)


@pytest.fixture(scope="module")
def places() -> np.ndarray:
    """Images whose red is the column and whose green is the row, from 0 to 255."""
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8), (256, 256))
    return np.stack([np.stack([ramp, ramp.T, ramp], axis=-1)] * 200)


def shown(views: np.ndarray) -> np.ndarray:
    """Return the middle column and row that each view of `places` shows: [images, 2]."""
    return views[..., :2].astype(float).mean(axis=(1, 2))


def area(views: np.ndarray) -> np.ndarray:
    """Return about which part of `places` each view shows, from its own range of values."""
    part = np.abs(views[:, -1, -1].astype(float) - views[:, 0, 0])[:, :2]
    return part.prod(axis=1) / 255**2


def test_crops_show_the_same_part_at_every_resolution(places: np.ndarray):
    small, large = random_crops(places, (3, 0), (32, 128), strength=1.0, flip=True)
    assert small.shape == (200, 32, 32, 3) and large.shape == (200, 128, 128, 3)
    np.testing.assert_allclose(shown(small), shown(large), atol=1)
    again, other = (
        random_crops(places, (seed, 0), (32,), strength=1.0, flip=True)[0] for seed in (3, 4)
    )
    np.testing.assert_array_equal(small, again)
    assert not np.allclose(shown(small), shown(other), atol=1)


def test_crops_show_a_quarter_to_all_of_an_image(places: np.ndarray):
    (views,) = random_crops(places, (0,), (64,), strength=1.0, flip=False)
    # A view's corners are half a pixel of its own from the crop's: at most 3 % of each side.
    assert 0.25 * 0.97**2 <= area(views).min() < 0.3
    assert 0.85 < area(views).max() <= 1
    # Uniform from 1/4 to 1, but that a crop is no longer than the image: at most 5/8 on average.
    assert area(views).mean() == pytest.approx(0.59, abs=0.04)
    assert np.ptp(shown(views), axis=0).min() > 60  # all over the image


def test_half_of_the_crops_are_mirrored_and_none_where_a_mirror_image_means_another_class(
    places: np.ndarray,
):
    for flip, least, most in ((True, 70, 130), (False, 0, 0)):
        (views,) = random_crops(places, (0,), (16,), strength=1.0, flip=flip)
        mirrored = views[:, 0, 0, 0] > views[:, 0, -1, 0]
        assert least <= mirrored.sum() <= most  # outside with probability 2e-5
        assert (views[:, 0, 0, 1] < views[:, -1, 0, 1]).all()
