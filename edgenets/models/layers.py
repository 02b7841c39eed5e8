"""The layer groups that the nets share, in an order that tfmot can prune, cluster and quantize.

BatchNorm has Keras's momentum: training sets one that fits its length.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal

from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras, tf
from edgenets.models.grouped import GroupedPointwise

BATCH_NORM_EPSILON = 1e-3
HARD_SIGMOID_SHIFT = 3.0

Activation = Literal["relu", "relu6", "hard_swish", "hard_sigmoid"]
Padding = Literal["same", "valid"]


def remove_strides(strides: Sequence[int], output_stride: int) -> tuple[int, ...]:
    """Set the earliest strides to 1 until they multiply to at most `output_stride`.

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


def round_channels(channels: float, divisor: int = 8) -> int:
    """Return the multiple of `divisor` nearest to `channels`, but not 0 and not under 90 % of it.

    Source: MobileNet V2's released implementation, where it is called make_divisible.

    >>> [round_channels(channels) for channels in (3.2, 11.2, 16, 18, 182)]
    [8, 16, 16, 24, 184]
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * channels else rounded + divisor


def conv(
    x: keras.KerasTensor,
    channels: int,
    *,
    kernel: int | tuple[int, int],
    stride: int = 1,
    padding: Padding = "same",
    groups: int = 1,
    batch_norm: bool = True,
    scale: bool = True,
    activation: Activation | None = "relu",
    name: str,
) -> keras.KerasTensor:
    """Append a convolution, BatchNorm and an activation, named `name`_conv, _bn and _relu.

    Args:
        kernel: one side, or height and width.
        batch_norm: without it the convolution has a bias, and weights drawn as He et al. do for
            ReLU (arXiv:1502.01852): nothing else keeps the signal's size through many layers.
        scale: whether BatchNorm learns a factor beside its offset.

    Raises:
        EdgenetsError: the map is smaller than the kernel and is not padded.
    """
    size = (kernel, kernel) if isinstance(kernel, int) else kernel
    _check_map(x, size, padding, name)
    kind = GroupedPointwise if groups > 1 and size == (1, 1) else keras.layers.Conv2D
    x = kind(
        channels,
        size,
        strides=stride,
        padding=padding,
        groups=groups,
        use_bias=not batch_norm,
        kernel_initializer="glorot_uniform" if batch_norm else "he_normal",
        name=f"{name}_conv",
    )(x)
    return activate(_batch_norm(x, name, scale=scale) if batch_norm else x, activation, name)


def depthwise(
    x: keras.KerasTensor,
    *,
    kernel: int = 3,
    stride: int = 1,
    activation: Activation | None = "relu",
    name: str,
) -> keras.KerasTensor:
    """Append a depthwise convolution, BatchNorm and an activation, named as above."""
    x = keras.layers.DepthwiseConv2D(
        kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_conv"
    )(x)
    return activate(_batch_norm(x, name), activation, name)


def activate(x: keras.KerasTensor, activation: Activation | None, name: str) -> keras.KerasTensor:
    """Append an activation, `name`_relu for either ReLU; None appends nothing."""
    if activation is None:
        return x
    if activation in ("relu", "relu6"):
        limit = 6.0 if activation == "relu6" else None
        return keras.layers.ReLU(limit, name=f"{name}_relu")(x)
    function = {"hard_swish": hard_swish, "hard_sigmoid": hard_sigmoid}[activation]
    return keras.layers.Activation(function, name=f"{name}_{activation}")(x)


@keras.utils.register_keras_serializable(package="edgenets")
def hard_sigmoid(x: tf.Tensor) -> tf.Tensor:
    """Return relu6(x + 3) / 6; the Keras function of this name has another slope."""
    return tf.nn.relu6(x + HARD_SIGMOID_SHIFT) * (1 / 6)


@keras.utils.register_keras_serializable(package="edgenets")
def hard_swish(x: tf.Tensor) -> tf.Tensor:
    """Return x * hard_sigmoid(x), in the form that the converter makes HARD_SWISH of."""
    return x * hard_sigmoid(x)


def max_pool(
    x: keras.KerasTensor,
    *,
    window: int = 3,
    stride: int = 2,
    padding: Padding = "same",
    name: str,
) -> keras.KerasTensor:
    """Append max pooling.

    Raises:
        EdgenetsError: the map is smaller than the window and is not padded.
    """
    _check_map(x, (window, window), padding, name)
    return keras.layers.MaxPooling2D(window, strides=stride, padding=padding, name=name)(x)


def dropout(x: keras.KerasTensor, rate: float, *, name: str = "dropout") -> keras.KerasTensor:
    """Append dropout with its random state in a variable: training can be resumed exactly."""
    return keras.layers.Dropout(rate, rng_type="stateful", name=name)(x)


def pooled_classifier(
    x: keras.KerasTensor, classes: int, *, drop_rate: float | None = None
) -> keras.KerasTensor:
    """Append global average pooling, dropout and a dense layer: `[batch, classes]` logits."""
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    if drop_rate is not None:
        x = dropout(x, drop_rate)
    return keras.layers.Dense(classes, name="logits")(x)


def dense_classifier(x: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """Append the three dense layers that AlexNet and VGG-16 end with."""
    x = keras.layers.Flatten(name="flatten")(x)
    for name in ("fc6", "fc7"):
        x = activate(keras.layers.Dense(4096, name=name)(x), "relu", name)
        x = dropout(x, 0.5, name=f"{name}_dropout")
    return keras.layers.Dense(classes, name="logits")(x)


def _batch_norm(x: keras.KerasTensor, name: str, *, scale: bool = True) -> keras.KerasTensor:
    layer = keras.layers.BatchNormalization(
        epsilon=BATCH_NORM_EPSILON, scale=scale, name=f"{name}_bn"
    )
    return layer(x)


def _check_map(x: keras.KerasTensor, window: tuple[int, int], padding: Padding, name: str) -> None:
    height, width = x.shape[1:3]
    if padding == "valid" and (height < window[0] or width < window[1]):
        raise EdgenetsError(
            f"{name} needs a map of at least {window[0]} x {window[1]} positions, got {height} x "
            f"{width}; pass a larger resolution or a smaller output_stride"
        )
