"""Inception v1 (GoogLeNet): modules of parallel 1x1, 3x3, 5x5 and pooled branches.

Source: arXiv:1409.4842, table 1; BatchNorm instead of biases: arXiv:1502.03167; two 3x3 for a 5x5:
arXiv:1512.00567, section 3.1; auxiliary heads: section 5 of the first. Left out: local response
normalisation, which BatchNorm replaces and which has no weights.
"""

from __future__ import annotations

from typing import NamedTuple

from edgenets.models.backend import keras
from edgenets.models.layers import (
    activate,
    conv,
    dropout,
    max_pool,
    pooled_classifier,
    remove_strides,
)


class Module(NamedTuple):
    """One row of table 1: the channels of the four branches."""

    name: str
    conv1x1: int  # #1x1
    reduce3x3: int  # #3x3 reduce
    conv3x3: int  # #3x3
    reduce5x5: int  # #5x5 reduce
    conv5x5: int  # #5x5
    projection: int  # pool proj


STEM_CHANNELS = (64, 64, 192)  # of the 7x7, 1x1 and 3x3 convolution
STAGES = (  # #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj
    (
        Module("3a", 64, 96, 128, 16, 32, 32),
        Module("3b", 128, 128, 192, 32, 96, 64),
    ),
    (
        Module("4a", 192, 96, 208, 16, 48, 64),
        Module("4b", 160, 112, 224, 24, 64, 64),
        Module("4c", 128, 128, 256, 24, 64, 64),
        Module("4d", 112, 144, 288, 32, 64, 64),
        Module("4e", 256, 160, 320, 32, 128, 128),
    ),
    (
        Module("5a", 256, 160, 320, 32, 128, 128),
        Module("5b", 384, 192, 384, 48, 128, 128),
    ),
)
STRIDES = (2, 2, 2, 2, 2)  # of the first convolution and of the pools before 2, 3a, 4a and 5a
DROPOUT = 0.4
AUXILIARY_MODULES = ("4a", "4d")  # that a head reads
AUXILIARY_CHANNELS = (128, 1024)  # of a head's 1x1 convolution and of its first dense layer
AUXILIARY_DROPOUT = 0.7


def inception_v1(
    resolution: int = 224,
    classes: int = 1000,
    *,
    factorized: bool = False,
    batch_norm: bool = True,
    output_stride: int = 32,
) -> keras.Model:
    """Build the net: `[batch, resolution, resolution, 3]` in [-1, 1] -> `[batch, classes]` logits.

    Args:
        resolution: height and width of the image, at least `output_stride`.
        classes: number of logits.
        factorized: two 3x3 convolutions of the same output width in place of each 5x5.
        batch_norm: BatchNorm after each convolution; False: biases, as first published.
        output_stride: 32, 16, 8 or 4; below 32 the earliest strides become 1.
    """
    stride, *pool_strides = remove_strides(STRIDES, output_stride)
    image = keras.Input((resolution, resolution, 3), name="image")
    first, reduce, second = STEM_CHANNELS
    x = conv(image, first, kernel=7, stride=stride, batch_norm=batch_norm, name="conv1")
    x = max_pool(x, stride=pool_strides[0], name="pool1")
    x = conv(x, reduce, kernel=1, batch_norm=batch_norm, name="conv2_reduce")
    x = conv(x, second, kernel=3, batch_norm=batch_norm, name="conv2")
    for s, (modules, stride) in enumerate(zip(STAGES, pool_strides[1:], strict=True), start=3):
        x = max_pool(x, stride=stride, name=f"pool{s - 1}")
        for module in modules:
            x = _inception(x, module, factorized, batch_norm)
    return keras.Model(image, pooled_classifier(x, classes, drop_rate=DROPOUT), name="inception_v1")


def with_auxiliary_heads(model: keras.Model) -> keras.Model:
    """Return `model` with two more outputs that serve its training: classifiers inside the net.

    Returns:
        A model that shares its layers with `model`: images -> [logits, logits of the head at 4a,
        logits of the head at 4d].
    """
    classes = model.output_shape[-1]
    batch_norm = model.get_layer("conv1_conv").use_bias is False
    heads = [
        _auxiliary_head(model.get_layer(f"mixed{at}").output, classes, batch_norm, f"auxiliary{at}")
        for at in AUXILIARY_MODULES
    ]
    return keras.Model(model.input, [model.output, *heads], name=f"{model.name}_auxiliary")


def _auxiliary_head(
    x: keras.KerasTensor, classes: int, batch_norm: bool, name: str
) -> keras.KerasTensor:
    """Append a head; a map smaller than the pool's 5x5 window is averaged whole."""
    channels, hidden = AUXILIARY_CHANNELS
    window = min(5, x.shape[1])
    x = keras.layers.AveragePooling2D(window, strides=3, name=f"{name}_pool")(x)
    x = conv(x, channels, kernel=1, batch_norm=batch_norm, name=name)
    x = keras.layers.Flatten(name=f"{name}_flatten")(x)
    x = activate(keras.layers.Dense(hidden, name=f"{name}_hidden")(x), "relu", f"{name}_hidden")
    x = dropout(x, AUXILIARY_DROPOUT, name=f"{name}_dropout")
    return keras.layers.Dense(classes, name=f"{name}_logits")(x)


def _inception(
    x: keras.KerasTensor, module: Module, factorized: bool, batch_norm: bool
) -> keras.KerasTensor:
    name = f"mixed{module.name}"

    def branch(x: keras.KerasTensor, channels: int, kernel: int, part: str) -> keras.KerasTensor:
        return conv(x, channels, kernel=kernel, batch_norm=batch_norm, name=f"{name}_{part}")

    direct = branch(x, module.conv1x1, 1, "1x1")
    middle = branch(x, module.reduce3x3, 1, "3x3_reduce")
    middle = branch(middle, module.conv3x3, 3, "3x3")
    wide = branch(x, module.reduce5x5, 1, "5x5_reduce")
    if factorized:
        wide = branch(wide, module.conv5x5, 3, "5x5_first3x3")
        wide = branch(wide, module.conv5x5, 3, "5x5_second3x3")
    else:
        wide = branch(wide, module.conv5x5, 5, "5x5")
    pooled = max_pool(x, stride=1, name=f"{name}_pool")
    pooled = branch(pooled, module.projection, 1, "pool_projection")
    return keras.layers.Concatenate(name=name)([direct, middle, wide, pooled])
