"""MobileNet V1: depthwise separable convolutions, a width and a resolution multiplier.

Source: arXiv:1704.04861, table 1. As in the released implementations: ReLU6 for ReLU, dropout 1e-3,
and stride 1 for the last depthwise convolution, which the table prints as s2 although its map stays
7x7.
"""

from __future__ import annotations

from typing import NamedTuple

from edgenets.errors import unknown_name
from edgenets.models.backend import keras
from edgenets.models.layers import (
    Activation,
    conv,
    depthwise,
    pooled_classifier,
    remove_strides,
    scale_channels,
)


class Block(NamedTuple):
    """Two rows of table 1: a 3x3 depthwise convolution and a 1x1 convolution."""

    channels: int  # of the 1x1 convolution at width 1.0
    stride: int  # of the depthwise convolution


STEM_CHANNELS = 32
STEM_STRIDE = 2
BLOCKS = (
    Block(64, 1),
    Block(128, 2),
    Block(128, 1),
    Block(256, 2),
    Block(256, 1),
    Block(512, 2),
    *(Block(512, 1),) * 5,
    Block(1024, 2),
    Block(1024, 1),
)
DROPOUT = 1e-3
ACTIVATIONS = ("relu6", "relu")


def mobilenet_v1(
    resolution: int = 224,
    classes: int = 1000,
    *,
    width: float = 1.0,
    activation: Activation = "relu6",
    pad_value: float = 0.0,
    output_stride: int = 32,
) -> keras.Model:
    """Build the net: `[batch, resolution, resolution, 3]` in [-1, 1] -> `[batch, classes]` logits.

    Args:
        resolution: height and width of the image, at least `output_stride`.
        classes: number of logits.
        width: the paper's alpha; every layer has int(alpha * channels) channels.
        activation: "relu6", or the paper's "relu".
        pad_value: what the first convolution sees beyond the image, where weights from elsewhere
            had their zero: -1 if they took pixels in [0, 1].
        output_stride: 32, 16, 8 or 4: how much smaller the last map is than the image; below 32 the
            earliest strides become 1.

    Raises:
        EdgenetsError: the activation is unknown.
    """
    if activation not in ACTIVATIONS:
        raise unknown_name("activation of mobilenet_v1", activation, ACTIVATIONS)
    strides = remove_strides((STEM_STRIDE, *(block.stride for block in BLOCKS)), output_stride)
    image = keras.Input((resolution, resolution, 3), name="image")
    # Convolutions pad with 0, which the shift makes of `pad_value`.
    x = keras.layers.Rescaling(1.0, -pad_value, name="shift")(image) if pad_value else image
    stem = scale_channels(STEM_CHANNELS, width)
    x = conv(x, stem, kernel=3, stride=strides[0], activation=activation, name="stem")
    for b, (block, stride) in enumerate(zip(BLOCKS, strides[1:], strict=True), start=1):
        name = f"block{b}"
        x = depthwise(x, stride=stride, activation=activation, name=f"{name}_depthwise")
        channels = scale_channels(block.channels, width)
        x = conv(x, channels, kernel=1, activation=activation, name=f"{name}_pointwise")
    logits = pooled_classifier(x, classes, drop_rate=DROPOUT)
    return keras.Model(image, logits, name="mobilenet_v1")
