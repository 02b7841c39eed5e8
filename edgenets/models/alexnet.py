"""AlexNet with its two groups: a baseline that ratios are stated against, for shapes and counts.

Source: Krizhevsky et al. 2012, as Caffe's reference model. Left out: local response normalisation,
which has no weights.
"""

from __future__ import annotations

from typing import NamedTuple

from edgenets.models.backend import keras
from edgenets.models.layers import conv, dense_classifier, max_pool


class Layer(NamedTuple):
    """A convolution and whether a 3x3 pool of stride 2 follows."""

    channels: int
    kernel: int
    stride: int
    groups: int
    pool: bool


LAYERS = (  # channels, kernel, stride, groups, pool
    Layer(96, 11, 4, 1, True),
    Layer(256, 5, 1, 2, True),
    Layer(384, 3, 1, 1, False),
    Layer(384, 3, 1, 2, False),
    Layer(256, 3, 1, 2, True),
)


def alexnet(resolution: int = 227, classes: int = 1000) -> keras.Model:
    """Build the net: `[batch, resolution, resolution, 3]` in [-1, 1] -> `[batch, classes]` logits.

    Args:
        resolution: height and width of the image, at least 67.
        classes: number of logits.
    """
    image = keras.Input((resolution, resolution, 3), name="image")
    x = image
    for i, layer in enumerate(LAYERS, start=1):
        x = conv(
            x,
            layer.channels,
            kernel=layer.kernel,
            stride=layer.stride,
            padding="valid" if layer.stride > 1 else "same",
            groups=layer.groups,
            batch_norm=False,
            name=f"conv{i}",
        )
        if layer.pool:
            x = max_pool(x, padding="valid", name=f"pool{i}")
    return keras.Model(image, dense_classifier(x, classes), name="alexnet")
