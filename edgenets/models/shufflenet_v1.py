"""ShuffleNet V1: grouped pointwise convolutions, and channel shuffles between them.

Source: arXiv:1707.01083, table 1 and figure 2.
"""

from __future__ import annotations

from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras
from edgenets.models.grouped import ChannelShuffle
from edgenets.models.layers import (
    activate,
    conv,
    depthwise,
    max_pool,
    pooled_classifier,
    remove_strides,
    round_channels,
)

STEM_CHANNELS = 24
CHANNELS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}  # of stage 2 by g; each next stage has twice
REPEATS = (4, 8, 4)  # units of stages 2, 3 and 4
STRIDES = (2, 2, 2, 2, 2)  # of the first convolution, the pool and the stages' first units
BOTTLENECK_DIVISOR = 4


def shufflenet_v1(
    resolution: int = 224,
    classes: int = 1000,
    *,
    groups: int = 3,
    scale: float = 1.0,
    output_stride: int = 32,
) -> keras.Model:
    """Build the net: `[batch, resolution, resolution, 3]` in [-1, 1] -> `[batch, classes]` logits.

    Args:
        resolution: height and width of the image, at least `output_stride`.
        classes: number of logits.
        groups: g, 1, 2, 3, 4 or 8 groups of the pointwise convolutions.
        scale: s, multiplies the channels; they are rounded so that `groups` divides them. The first
            convolution widens in whole multiples only: 1.5x has the 24 channels of 1x.
        output_stride: 32, 16, 8 or 4; below 32 the earliest strides become 1.

    Raises:
        EdgenetsError: there is no such number of groups.
    """
    if groups not in CHANNELS:
        raise EdgenetsError(
            f"groups of shufflenet_v1 must be {', '.join(map(str, CHANNELS))}, got {groups}"
        )
    strides = remove_strides(STRIDES, output_stride)
    image = keras.Input((resolution, resolution, 3), name="image")
    stem = round_channels(STEM_CHANNELS * (int(scale) if scale > 1 else scale), groups)
    x = conv(image, stem, kernel=3, stride=strides[0], name="stem")
    x = max_pool(x, stride=strides[1], name="stem_pool")
    for s, (repeats, stride) in enumerate(zip(REPEATS, strides[2:], strict=True)):
        channels = round_channels(CHANNELS[groups] * scale * 2**s, BOTTLENECK_DIVISOR * groups)
        for u in range(1, repeats + 1):
            name = f"stage{s + 2}_unit{u}"
            if u == 1:
                x = _down_unit(x, channels, groups, stride, name, group_first=s > 0)
            else:
                x = _unit(x, channels, groups, name)
    return keras.Model(image, pooled_classifier(x, classes), name="shufflenet_v1")


def _unit(x: keras.KerasTensor, channels: int, groups: int, name: str) -> keras.KerasTensor:
    """Append figure 2 (b): the branch's result is added to its input."""
    branch = _branch(x, channels // BOTTLENECK_DIVISOR, channels, groups, 1, name)
    return activate(keras.layers.Add(name=f"{name}_add")([x, branch]), "relu", name)


def _down_unit(
    x: keras.KerasTensor, channels: int, groups: int, stride: int, name: str, *, group_first: bool
) -> keras.KerasTensor:
    """Append figure 2 (c): the branch adds the channels that the pooled input lacks.

    Its ReLU stands before the concatenation: the pooled input has no negative values to cut off.
    """
    pooled = keras.layers.AveragePooling2D(3, strides=stride, padding="same", name=f"{name}_pool")(
        x
    )
    branch = _branch(
        x,
        channels // BOTTLENECK_DIVISOR,
        channels - x.shape[-1],
        groups,
        stride,
        name,
        group_first=group_first,
    )
    branch = activate(branch, "relu", name)
    return keras.layers.Concatenate(name=f"{name}_concat")([pooled, branch])


def _branch(
    x: keras.KerasTensor,
    bottleneck: int,
    channels: int,
    groups: int,
    stride: int,
    name: str,
    *,
    group_first: bool = True,
) -> keras.KerasTensor:
    """Append grouped 1x1, shuffle, depthwise 3x3, grouped 1x1.

    The first convolution of stage 2 is not grouped: its input has too few channels.
    """
    first_groups = groups if group_first else 1
    x = conv(x, bottleneck, kernel=1, groups=first_groups, name=f"{name}_reduce")
    if groups > 1:
        x = ChannelShuffle(groups, name=f"{name}_shuffle")(x)
    x = depthwise(x, stride=stride, activation=None, name=f"{name}_depthwise")
    return conv(x, channels, kernel=1, groups=groups, activation=None, name=f"{name}_expand")
