"""Inception v3: large kernels factorized into 3x3, and into 1x7 with 7x1.

Source: arXiv:1512.00567, table 1, in the form of the released weights: no auxiliary head, and
BatchNorm learns an offset but no factor. Dropout as in TF-slim. The width multiplier is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from edgenets.models.backend import keras
from edgenets.models.layers import (
    Padding,
    conv,
    max_pool,
    pooled_classifier,
    remove_strides,
    round_channels,
)

Convolve: TypeAlias = "Callable[..., keras.KerasTensor]"  # `_conv` at the net's width

STRIDES = (2, 2, 2, 2, 2)  # of the first convolution, the two stem pools, mixed3 and mixed8
PROJECTIONS = (32, 64, 64)  # pool projection of mixed0 to mixed2
FACTORIZED = (128, 160, 160, 192)  # c, channels within the 7x7 branches of mixed4 to mixed7
DROPOUT = 0.2


def inception_v3(
    resolution: int = 299, classes: int = 1000, *, width: float = 1.0, output_stride: int = 32
) -> keras.Model:
    """Build the net: `[batch, resolution, resolution, 3]` in [-1, 1] -> `[batch, classes]` logits.

    Args:
        resolution: height and width of the image; at least 75 at output stride 32, as most strided
            layers do not pad.
        classes: number of logits.
        width: a layer has width * channels, rounded to a multiple of 8.
        output_stride: 32, 16, 8 or 4; below 32 the earliest strides become 1.
    """
    *stem_strides, stride3, stride8 = remove_strides(STRIDES, output_stride)
    convolve = partial(_conv, width)
    image = keras.Input((resolution, resolution, 3), name="image")
    x = _stem(convolve, image, stem_strides)
    for m, projection in enumerate(PROJECTIONS):
        x = _mixed_5x5(convolve, x, projection, name=f"mixed{m}")
    x = _reduce_to_17(convolve, x, stride3, name="mixed3")
    for m, channels in enumerate(FACTORIZED, start=4):
        x = _mixed_7x7(convolve, x, channels, name=f"mixed{m}")
    x = _reduce_to_8(convolve, x, stride8, name="mixed8")
    for m in (9, 10):
        x = _mixed_split(convolve, x, name=f"mixed{m}")
    return keras.Model(image, pooled_classifier(x, classes, drop_rate=DROPOUT), name="inception_v3")


def _conv(
    width: float,
    x: keras.KerasTensor,
    channels: int,
    kernel: int | tuple[int, int],
    name: str,
    *,
    stride: int = 1,
    padding: Padding = "same",
) -> keras.KerasTensor:
    return conv(
        x,
        round_channels(channels * width),
        kernel=kernel,
        stride=stride,
        padding=padding,
        scale=False,
        name=name,
    )


def _stem(convolve: Convolve, x: keras.KerasTensor, strides: list[int]) -> keras.KerasTensor:
    x = convolve(x, 32, 3, "stem1", stride=strides[0], padding="valid")
    x = convolve(x, 32, 3, "stem2", padding="valid")
    x = convolve(x, 64, 3, "stem3")
    x = max_pool(x, stride=strides[1], padding="valid", name="stem_pool1")
    x = convolve(x, 80, 1, "stem4")
    x = convolve(x, 192, 3, "stem5", padding="valid")
    return max_pool(x, stride=strides[2], padding="valid", name="stem_pool2")


def _mixed_5x5(
    convolve: Convolve, x: keras.KerasTensor, projection: int, name: str
) -> keras.KerasTensor:
    """Append figure 5's module, of which the 5x5 branch is published unfactorized."""
    direct = convolve(x, 64, 1, f"{name}_1x1")
    wide = convolve(x, 48, 1, f"{name}_5x5_reduce")
    wide = convolve(wide, 64, 5, f"{name}_5x5")
    double = convolve(x, 64, 1, f"{name}_double_reduce")
    double = convolve(double, 96, 3, f"{name}_double_first")
    double = convolve(double, 96, 3, f"{name}_double_second")
    return _concat([direct, wide, double, _pooled(convolve, x, projection, name)], name)


def _reduce_to_17(
    convolve: Convolve, x: keras.KerasTensor, stride: int, name: str
) -> keras.KerasTensor:
    single = convolve(x, 384, 3, f"{name}_3x3", stride=stride, padding="valid")
    double = convolve(x, 64, 1, f"{name}_double_reduce")
    double = convolve(double, 96, 3, f"{name}_double_first")
    double = convolve(double, 96, 3, f"{name}_double_second", stride=stride, padding="valid")
    pooled = max_pool(x, stride=stride, padding="valid", name=f"{name}_pool")
    return _concat([single, double, pooled], name)


def _mixed_7x7(
    convolve: Convolve, x: keras.KerasTensor, channels: int, name: str
) -> keras.KerasTensor:
    """Append figure 6's module with n = 7."""
    direct = convolve(x, 192, 1, f"{name}_1x1")
    single = convolve(x, channels, 1, f"{name}_7x7_reduce")
    single = convolve(single, channels, (1, 7), f"{name}_7x7_1x7")
    single = convolve(single, 192, (7, 1), f"{name}_7x7_7x1")
    double = convolve(x, channels, 1, f"{name}_double_reduce")
    for i, (kernel, out) in enumerate(
        (((7, 1), channels), ((1, 7), channels), ((7, 1), channels), ((1, 7), 192)), start=1
    ):
        double = convolve(double, out, kernel, f"{name}_double{i}_{kernel[0]}x{kernel[1]}")
    return _concat([direct, single, double, _pooled(convolve, x, 192, name)], name)


def _reduce_to_8(
    convolve: Convolve, x: keras.KerasTensor, stride: int, name: str
) -> keras.KerasTensor:
    single = convolve(x, 192, 1, f"{name}_3x3_reduce")
    single = convolve(single, 320, 3, f"{name}_3x3", stride=stride, padding="valid")
    long = convolve(x, 192, 1, f"{name}_7x7_reduce")
    long = convolve(long, 192, (1, 7), f"{name}_7x7_1x7")
    long = convolve(long, 192, (7, 1), f"{name}_7x7_7x1")
    long = convolve(long, 192, 3, f"{name}_7x7_3x3", stride=stride, padding="valid")
    pooled = max_pool(x, stride=stride, padding="valid", name=f"{name}_pool")
    return _concat([single, long, pooled], name)


def _mixed_split(convolve: Convolve, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Append figure 7's module: 1x3 and 3x1 side by side."""
    direct = convolve(x, 320, 1, f"{name}_1x1")
    single = convolve(x, 384, 1, f"{name}_3x3_reduce")
    double = convolve(x, 448, 1, f"{name}_double_reduce")
    double = convolve(double, 384, 3, f"{name}_double_3x3")
    split = [
        convolve(branch, 384, kernel, f"{name}_{part}_{kernel[0]}x{kernel[1]}")
        for branch, part in ((single, "3x3"), (double, "double"))
        for kernel in ((1, 3), (3, 1))
    ]
    return _concat([direct, *split, _pooled(convolve, x, 192, name)], name)


def _pooled(
    convolve: Convolve, x: keras.KerasTensor, channels: int, name: str
) -> keras.KerasTensor:
    x = keras.layers.AveragePooling2D(3, strides=1, padding="same", name=f"{name}_pool")(x)
    return convolve(x, channels, 1, f"{name}_pool_projection")


def _concat(branches: list[keras.KerasTensor], name: str) -> keras.KerasTensor:
    return keras.layers.Concatenate(name=name)(branches)
