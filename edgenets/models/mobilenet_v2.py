"""MobileNet V2: inverted residuals with linear bottlenecks.

Source: arXiv:1801.04381, table 2. As in the released implementation: channels are rounded to
multiples of 8, and the last convolution never has fewer than its 1280. Dropout as in TF-slim.
"""

from __future__ import annotations

from typing import NamedTuple

from edgenets.models.backend import keras
from edgenets.models.layers import (
    conv,
    depthwise,
    pooled_classifier,
    remove_strides,
    round_channels,
)


class Stage(NamedTuple):
    """One row of table 2: inverted residuals of equal width."""

    expansion: int  # t, hidden channels per input channel
    channels: int  # c, output channels at width 1.0
    repeats: int  # n
    stride: int  # s, of the first block; the others have 1


STEM_CHANNELS = 32
STEM_STRIDE = 2
STAGES = (  # t, c, n, s
    Stage(1, 16, 1, 1),
    Stage(6, 24, 2, 2),
    Stage(6, 32, 3, 2),
    Stage(6, 64, 4, 2),
    Stage(6, 96, 3, 1),
    Stage(6, 160, 3, 2),
    Stage(6, 320, 1, 1),
)
LAST_CHANNELS = 1280
DROPOUT = 0.2


def mobilenet_v2(
    resolution: int = 224, classes: int = 1000, *, width: float = 1.0, output_stride: int = 32
) -> keras.Model:
    """Build the net: `[batch, resolution, resolution, 3]` in [-1, 1] -> `[batch, classes]` logits.

    Args:
        resolution: height and width of the image, at least `output_stride`.
        classes: number of logits.
        width: the paper's alpha; a layer has alpha * channels, rounded to a multiple of 8.
        output_stride: 32, 16, 8 or 4; below 32 the earliest strides become 1.
    """
    strides = remove_strides((STEM_STRIDE, *(stage.stride for stage in STAGES)), output_stride)
    image = keras.Input((resolution, resolution, 3), name="image")
    stem = round_channels(STEM_CHANNELS * width)
    x = conv(image, stem, kernel=3, stride=strides[0], activation="relu6", name="stem")
    for s, (stage, stride) in enumerate(zip(STAGES, strides[1:], strict=True), start=1):
        channels = round_channels(stage.channels * width)
        for b in range(1, stage.repeats + 1):
            block_stride = stride if b == 1 else 1
            x = _inverted_residual(
                x, stage.expansion, channels, stride=block_stride, name=f"stage{s}_block{b}"
            )
    last = round_channels(LAST_CHANNELS * max(1.0, width))
    x = conv(x, last, kernel=1, activation="relu6", name="last")
    return keras.Model(image, pooled_classifier(x, classes, drop_rate=DROPOUT), name="mobilenet_v2")


def _inverted_residual(
    x: keras.KerasTensor, expansion: int, channels: int, *, stride: int, name: str
) -> keras.KerasTensor:
    shortcut = x
    if expansion > 1:
        hidden = expansion * x.shape[-1]
        x = conv(x, hidden, kernel=1, activation="relu6", name=f"{name}_expand")
    x = depthwise(x, stride=stride, activation="relu6", name=f"{name}_depthwise")
    x = conv(x, channels, kernel=1, activation=None, name=f"{name}_project")
    if stride == 1 and channels == shortcut.shape[-1]:
        x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
    return x
