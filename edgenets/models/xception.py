"""Xception: depthwise separable convolutions with residual connections.

Source: arXiv:1610.02357, figure 5. BatchNorm stands after each pointwise convolution only, and
nothing between it and the depthwise one. The width multiplier is ours, for boards.
"""

from __future__ import annotations

from edgenets.models.backend import keras
from edgenets.models.layers import (
    activate,
    conv,
    max_pool,
    pooled_classifier,
    remove_strides,
    round_channels,
)

STEM_CHANNELS = (32, 64)
ENTRY_CHANNELS = (128, 256, 728)  # of both separable convolutions of blocks 2 to 4
MIDDLE_CHANNELS = 728  # of the three separable convolutions of blocks 5 to 12
MIDDLE_BLOCKS = 8
EXIT_CHANNELS = (728, 1024)  # of block 13
LAST_CHANNELS = (1536, 2048)  # of block 14
STRIDES = (2, 2, 2, 2, 2)  # of the first convolution and of blocks 2, 3, 4 and 13
DROPOUT = 0.5


def xception(
    resolution: int = 299, classes: int = 1000, *, width: float = 1.0, output_stride: int = 32
) -> keras.Model:
    """Build the net: `[batch, resolution, resolution, 3]` in [-1, 1] -> `[batch, classes]` logits.

    Args:
        resolution: height and width of the image, at least `output_stride`.
        classes: number of logits.
        width: a layer has width * channels, rounded to a multiple of 8.
        output_stride: 32, 16, 8 or 4; below 32 the earliest strides become 1.
    """

    def scaled(*channels: int) -> list[int]:
        return [round_channels(c * width) for c in channels]

    stem_stride, *entry_strides, exit_stride = remove_strides(STRIDES, output_stride)
    image = keras.Input((resolution, resolution, 3), name="image")
    first, second = scaled(*STEM_CHANNELS)
    x = conv(image, first, kernel=3, stride=stem_stride, padding="valid", name="block1_first")
    x = conv(x, second, kernel=3, padding="valid", name="block1_second")
    for b, (channels, stride) in enumerate(zip(ENTRY_CHANNELS, entry_strides, strict=True), 2):
        x = _down_block(x, scaled(channels, channels), stride, name=f"block{b}")
    for b in range(5, 5 + MIDDLE_BLOCKS):
        x = _middle_block(x, *scaled(MIDDLE_CHANNELS), name=f"block{b}")
    x = _down_block(x, scaled(*EXIT_CHANNELS), exit_stride, name="block13")
    for i, channels in enumerate(scaled(*LAST_CHANNELS), start=1):
        x = activate(_separable(x, channels, f"block14_sep{i}"), "relu", f"block14_sep{i}")
    return keras.Model(image, pooled_classifier(x, classes, drop_rate=DROPOUT), name="xception")


def _down_block(
    x: keras.KerasTensor, channels: list[int], stride: int, *, name: str
) -> keras.KerasTensor:
    """Append two separable convolutions and a pool, and a strided 1x1 convolution around them."""
    shortcut = conv(
        x, channels[-1], kernel=1, stride=stride, activation=None, name=f"{name}_shortcut"
    )
    for i, out in enumerate(channels, start=1):
        # The first block follows a ReLU already.
        if (name, i) != ("block2", 1):
            x = activate(x, "relu", f"{name}_sep{i}")
        x = _separable(x, out, f"{name}_sep{i}")
    x = max_pool(x, stride=stride, name=f"{name}_pool")
    return keras.layers.Add(name=f"{name}_add")([x, shortcut])


def _middle_block(x: keras.KerasTensor, channels: int, *, name: str) -> keras.KerasTensor:
    shortcut = x
    for i in (1, 2, 3):
        x = activate(x, "relu", f"{name}_sep{i}")
        x = _separable(x, channels, f"{name}_sep{i}")
    return keras.layers.Add(name=f"{name}_add")([x, shortcut])


def _separable(x: keras.KerasTensor, channels: int, name: str) -> keras.KerasTensor:
    x = keras.layers.DepthwiseConv2D(
        3, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
    )(x)
    return conv(x, channels, kernel=1, activation=None, name=f"{name}_pointwise")
