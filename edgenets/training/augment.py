"""Random views of training images, by seed: crops; or shift, scale, rotation, flip, contrast."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling, Transpose

from edgenets.data.pixels import MIDDLE
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


def augment(pixels: tf.Tensor, seed: tf.Tensor, *, strength: float, flip: bool) -> tf.Tensor:
    """Return a random view of each image; the same seed gives the same views.

    Args:
        pixels: uint8 `[batch, height, width, 3]`.
        seed: two integers, different for every step.
        strength: factor on all ranges but the flip's; 0 changes nothing else.
        flip: whether half of the images are mirrored left to right.

    Returns:
        float32 `[batch, height, width, 3]` in [-1, 1]; what comes in from outside the image is its
        mirror.
    """
    if strength == 0 and not flip:
        return as_network_input(pixels)
    batch, side = tf.shape(pixels)[0], tf.cast(tf.shape(pixels)[2], tf.float32)
    draws = tf.random.stateless_uniform([6, batch], seed, -1.0, 1.0)
    angle = draws[0] * ROTATION * strength
    zoom = 1.0 + draws[1] * SCALE * strength
    mirror = tf.where(draws[4] < 0, -1.0, 1.0) if flip else tf.ones([batch])
    contrast = 1.0 + draws[5] * CONTRAST * strength
    return _transform(pixels, angle, zoom, draws[2:4] * SHIFT * strength * side, mirror, contrast)


def as_network_input(pixels: tf.Tensor) -> tf.Tensor:
    """Return pixels as `edgenets.data.pixels.to_network` does, in a graph."""
    return tf.cast(pixels, tf.float32) / MIDDLE - 1.0


# Compiled by XLA to one loop over the view's pixels, it takes a quarter of the time that
# ImageProjectiveTransformV3 takes, which finds the same place anew for each colour.
@tf.function(jit_compile=True, autograph=False)
def _transform(
    pixels: tf.Tensor,
    angle: tf.Tensor,
    zoom: tf.Tensor,
    shift: tf.Tensor,
    mirror: tf.Tensor,
    contrast: tf.Tensor,
) -> tf.Tensor:
    """Sample each image at mirror(rotate(zoom(position))) + shift, about its centre."""
    batch, height, width = tf.unstack(tf.shape(pixels)[:3])
    y, x = (
        tf.range(side, dtype=tf.float32) - tf.cast(side - 1, tf.float32) / 2
        for side in (height, width)
    )
    y, x = y[:, None], x[None, :]
    per_image = (tf.cos(angle) / zoom, tf.sin(angle) / zoom, mirror, shift[0], shift[1])
    cos, sin, mirror, right, down = (value[:, None, None] for value in per_image)
    columns = (cos * x * mirror - sin * y) + right + tf.cast(width - 1, tf.float32) / 2
    rows = (sin * x * mirror + cos * y) + down + tf.cast(height - 1, tf.float32) / 2
    left, above = tf.floor(columns), tf.floor(rows)
    to_right, to_below = (columns - left)[..., None], (rows - above)[..., None]
    flat = tf.reshape(pixels, (-1, 3))
    first = (tf.range(batch) * height * width)[:, None, None]

    def at(row: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
        place = first + _mirrored(row, height) * width + _mirrored(column, width)
        return tf.cast(tf.gather(flat, place), tf.float32)

    def between(row: tf.Tensor) -> tf.Tensor:
        return at(row, left) * (1 - to_right) + at(row, left + 1) * to_right

    views = between(above) * (1 - to_below) + between(above + 1) * to_below
    scaled = (views / MIDDLE - 1.0) * contrast[:, None, None, None]
    return tf.clip_by_value(scaled, -1.0, 1.0)


def _mirrored(position: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Return the place in the image that is seen at a whole position, also beyond its edges."""
    place = tf.math.floormod(tf.cast(position, tf.int32), 2 * size)
    return tf.minimum(place, 2 * size - 1 - place)
