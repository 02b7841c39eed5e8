"""The layer groups that the nets share, in an order that tfmot can prune, cluster and quantize."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras

BATCH_NORM_EPSILON = 1e-3


def remove_strides(strides: Sequence[int], output_stride: int) -> tuple[int, ...]:
    """Set the earliest strides to 1 until they multiply to `output_stride`.

    Small images then keep a useful map: 32 x 32 pixels at output stride 8 end as 4 x 4.

    >>> remove_strides((2, 1, 2, 2, 2, 2), 8)
    (1, 1, 1, 2, 2, 2)
    """
    kept = list(strides)
    for i, stride in enumerate(kept):
        if prod(kept) <= output_stride:
            break
        kept[i] = 1 if stride > 1 else stride
    return tuple(kept)


def scale_channels(channels: int, width: float) -> int:
    """Return `channels` times the width multiplier, rounded down as MobileNet V1 does.

    Raises:
        EdgenetsError: nothing would be left.
    """
    scaled = int(channels * width)
    if scaled < 1:
        raise EdgenetsError(f"width {width} leaves no channel of {channels}; pass a larger width")
    return scaled


def conv_bn_relu6(
    x: keras.KerasTensor, channels: int, *, kernel: int, stride: int = 1, name: str
) -> keras.KerasTensor:
    """Append a convolution without bias, BatchNorm and ReLU6, named `name`_conv, _bn and _relu."""
    conv = keras.layers.Conv2D(
        channels, kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_conv"
    )
    return _bn_relu6(conv(x), name)


def depthwise_bn_relu6(x: keras.KerasTensor, *, stride: int, name: str) -> keras.KerasTensor:
    """Append a 3x3 depthwise convolution without bias, BatchNorm and ReLU6, named as above."""
    conv = keras.layers.DepthwiseConv2D(
        3, strides=stride, padding="same", use_bias=False, name=f"{name}_conv"
    )
    return _bn_relu6(conv(x), name)


def pooled_classifier(x: keras.KerasTensor, classes: int, *, dropout: float) -> keras.KerasTensor:
    """Append global average pooling, dropout and a dense layer: `[batch, classes]` logits.

    The dropout keeps its random state in a variable, so that training can be resumed exactly.
    """
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dropout(dropout, rng_type="stateful", name="dropout")(x)
    return keras.layers.Dense(classes, name="logits")(x)


def _bn_relu6(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    x = keras.layers.BatchNormalization(epsilon=BATCH_NORM_EPSILON, name=f"{name}_bn")(x)
    return keras.layers.ReLU(6.0, name=f"{name}_relu")(x)
