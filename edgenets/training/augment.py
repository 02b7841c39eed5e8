"""Random views of training images, by seed: crops; or shift, scale, rotation, flip, contrast."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling, Transpose

from edgenets.models.backend import tf

# Of crops at strength 1.0: the least part of the image that is shown, and how far from square.
LEAST_AREA = 0.25
MOST_ASPECT = 4 / 3

# How far each goes at strength 1.0.
SHIFT = 0.1  # of the image's side, both directions
SCALE = 0.1  # zoom factor 0.9 to 1.1
ROTATION = 0.14  # radians, 8 degrees
CONTRAST = 0.2  # factor 0.8 to 1.2 around mid-grey


def random_crops(
    pixels: NDArray[np.uint8],
    seed: Sequence[int],
    resolutions: Sequence[int],
    *,
    strength: float,
    flip: bool,
) -> list[NDArray[np.uint8]]:
    """Return a random crop of each image, resized with anti-aliasing, at every resolution.

    Args:
        pixels: `[batch, height, width, 3]`, best of twice the resolution or more.
        seed: the same one gives the same crops.
        resolutions: sides of the square views, such as a net's and its teacher's.
        strength: at 1.0 a crop shows 25 to 100 % of the image, at less more of it.
        flip: whether half of the crops are mirrored left to right.

    Returns:
        for each of `resolutions` the views `[batch, resolution, resolution, 3]`.

    >>> [small, large] = random_crops(np.zeros((2, 64, 64, 3), np.uint8), [0], [16, 32],
    ...                               strength=1.0, flip=True)
    >>> small.shape, large.shape
    ((2, 16, 16, 3), (2, 32, 32, 3))

    Source: Szegedy et al. 2015, arXiv:1409.4842, section 6 (there 8 to 100 %).
    """
    random = np.random.default_rng(seed)
    batch, height, width = pixels.shape[:3]
    area = random.uniform(max(0.0, 1 - strength * (1 - LEAST_AREA)), 1, batch)
    aspect = MOST_ASPECT ** random.uniform(-1, 1, batch)
    sides = np.minimum(np.sqrt([area * aspect, area / aspect]), 1) * [[width], [height]]
    starts = random.uniform(0, 1, (2, batch)) * ([[width], [height]] - sides)
    boxes = np.concatenate([starts, starts + sides]).T
    mirrored = np.less(random.random(batch), 0.5 if flip else 0.0)
    views = [np.empty((batch, side, side, 3), np.uint8) for side in resolutions]
    for i, box in enumerate(boxes):
        image = Image.fromarray(pixels[i])
        if mirrored[i]:
            image = image.transpose(Transpose.FLIP_LEFT_RIGHT)
        for view, side in zip(views, resolutions, strict=True):
            resized = image.resize((side, side), Resampling.BILINEAR, tuple(box))
            view[i] = np.asarray(resized)
    return views


def augment(images: tf.Tensor, seed: tf.Tensor, *, strength: float, flip: bool) -> tf.Tensor:
    """Return a random view of each image; the same seed gives the same views.

    Args:
        images: float32 `[batch, height, width, 3]` in [-1, 1].
        seed: two integers, different for every step.
        strength: factor on all ranges but the flip's; 0 changes nothing else.
        flip: whether half of the images are mirrored left to right.

    Returns:
        `[batch, height, width, 3]` in [-1, 1]; what comes in from outside the image is its mirror.
    """
    if strength == 0 and not flip:
        return images
    batch, side = tf.shape(images)[0], tf.cast(tf.shape(images)[2], tf.float32)
    draws = tf.random.stateless_uniform([6, batch], seed, -1.0, 1.0)
    angle = draws[0] * ROTATION * strength
    zoom = 1.0 + draws[1] * SCALE * strength
    mirror = tf.where(draws[4] < 0, -1.0, 1.0) if flip else tf.ones([batch])
    views = _transform(images, angle, zoom, draws[2:4] * SHIFT * strength * side, mirror)
    contrast = 1.0 + draws[5] * CONTRAST * strength
    return tf.clip_by_value(views * contrast[:, None, None, None], -1.0, 1.0)


def _transform(
    images: tf.Tensor, angle: tf.Tensor, zoom: tf.Tensor, shift: tf.Tensor, mirror: tf.Tensor
) -> tf.Tensor:
    """Sample each image at mirror(rotate(zoom(position))) + shift, about its centre."""
    height, width = tf.unstack(tf.cast(tf.shape(images)[1:3], tf.float32))
    cy, cx = (height - 1) / 2, (width - 1) / 2
    cos, sin = tf.cos(angle) / zoom, tf.sin(angle) / zoom
    a0, a1, b0, b1 = cos * mirror, -sin, sin * mirror, cos
    a2 = cx + shift[0] - a0 * cx - a1 * cy
    b2 = cy + shift[1] - b0 * cx - b1 * cy
    zero = tf.zeros_like(angle)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a0, a1, a2, b0, b1, b2, zero, zero], axis=1),
        output_shape=tf.shape(images)[1:3],
        interpolation="BILINEAR",
        fill_mode="REFLECT",
        fill_value=0.0,
    )
