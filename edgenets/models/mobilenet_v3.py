"""MobileNet V3, large and small: inverted residuals with squeeze-and-excite and hard-swish.

Source: arXiv:1905.02244, tables 1 and 2. As in the released implementation: a block's expansion is
a ratio to its scaled input, the stem keeps its 16 channels at every width, the last dense layer is
not narrowed, and `minimalistic` leaves out what 8-bit accelerators are slow at.
"""

from __future__ import annotations

from typing import NamedTuple

from edgenets.models.backend import keras
from edgenets.models.layers import (
    Activation,
    activate,
    conv,
    depthwise,
    dropout,
    remove_strides,
    round_channels,
)


class Block(NamedTuple):
    """One row of table 1 or 2, channels at width 1.0."""

    kernel: int
    expansion: int  # exp size, hidden channels
    channels: int  # #out
    squeeze: bool  # SE
    activation: Activation  # NL: RE or HS
    stride: int  # s


RE: Activation = "relu"
HS: Activation = "hard_swish"

STEM_CHANNELS = 16
STEM_STRIDE = 2
LARGE = (  # kernel, exp size, #out, SE, NL, s
    Block(3, 16, 16, False, RE, 1),
    Block(3, 64, 24, False, RE, 2),
    Block(3, 72, 24, False, RE, 1),
    Block(5, 72, 40, True, RE, 2),
    *(Block(5, 120, 40, True, RE, 1),) * 2,
    Block(3, 240, 80, False, HS, 2),
    Block(3, 200, 80, False, HS, 1),
    *(Block(3, 184, 80, False, HS, 1),) * 2,
    Block(3, 480, 112, True, HS, 1),
    Block(3, 672, 112, True, HS, 1),
    Block(5, 672, 160, True, HS, 2),
    *(Block(5, 960, 160, True, HS, 1),) * 2,
)
LARGE_HEAD = 1280
SMALL = (  # kernel, exp size, #out, SE, NL, s
    Block(3, 16, 16, True, RE, 2),
    Block(3, 72, 24, False, RE, 2),
    Block(3, 88, 24, False, RE, 1),
    Block(5, 96, 40, True, HS, 2),
    *(Block(5, 240, 40, True, HS, 1),) * 2,
    Block(5, 120, 48, True, HS, 1),
    Block(5, 144, 48, True, HS, 1),
    Block(5, 288, 96, True, HS, 2),
    *(Block(5, 576, 96, True, HS, 1),) * 2,
)
SMALL_HEAD = 1024
LAST_EXPANSION = 6  # channels of the last convolution per input channel
SQUEEZE_DIVISOR = 4
DROPOUT = 0.2


def mobilenet_v3_large(
    resolution: int = 224,
    classes: int = 1000,
    *,
    width: float = 1.0,
    minimalistic: bool = False,
    output_stride: int = 32,
) -> keras.Model:
    """Build table 1: `[batch, resolution, resolution, 3]` in [-1, 1] -> `[batch, classes]` logits.

    Args:
        resolution: height and width of the image, at least `output_stride`.
        classes: number of logits.
        width: multiplies the channels of every block, rounded to a multiple of 8.
        minimalistic: no squeeze-and-excite, ReLU only, 3x3 kernels only.
        output_stride: 32, 16, 8 or 4; below 32 the earliest strides become 1.
    """
    return _mobilenet_v3(
        LARGE, LARGE_HEAD, resolution, classes, width, minimalistic, output_stride, name="large"
    )


def mobilenet_v3_small(
    resolution: int = 224,
    classes: int = 1000,
    *,
    width: float = 1.0,
    minimalistic: bool = False,
    output_stride: int = 32,
) -> keras.Model:
    """Build table 2; the arguments are those of `mobilenet_v3_large`."""
    return _mobilenet_v3(
        SMALL, SMALL_HEAD, resolution, classes, width, minimalistic, output_stride, name="small"
    )


def _mobilenet_v3(
    blocks: tuple[Block, ...],
    head: int,
    resolution: int,
    classes: int,
    width: float,
    minimalistic: bool,
    output_stride: int,
    *,
    name: str,
) -> keras.Model:
    activation = HS
    if minimalistic:
        blocks = tuple(block._replace(kernel=3, squeeze=False, activation=RE) for block in blocks)
        activation = RE
    strides = remove_strides((STEM_STRIDE, *(block.stride for block in blocks)), output_stride)
    image = keras.Input((resolution, resolution, 3), name="image")
    x = conv(image, STEM_CHANNELS, kernel=3, stride=strides[0], activation=activation, name="stem")
    published_in = STEM_CHANNELS
    for b, (block, stride) in enumerate(zip(blocks, strides[1:], strict=True), start=1):
        hidden = round_channels(x.shape[-1] * block.expansion / published_in)
        channels = round_channels(block.channels * width)
        x = _inverted_residual(x, block, hidden, channels, stride=stride, name=f"block{b}")
        published_in = block.channels
    last = round_channels(x.shape[-1] * LAST_EXPANSION)
    x = conv(x, last, kernel=1, activation=activation, name="last")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dense(round_channels(head * max(1.0, width)), name="head_dense")(x)
    x = dropout(activate(x, activation, "head"), DROPOUT)
    logits = keras.layers.Dense(classes, name="logits")(x)
    return keras.Model(image, logits, name=f"mobilenet_v3_{name}")


def _inverted_residual(
    x: keras.KerasTensor, block: Block, hidden: int, channels: int, *, stride: int, name: str
) -> keras.KerasTensor:
    shortcut = x
    if hidden != x.shape[-1]:
        x = conv(x, hidden, kernel=1, activation=block.activation, name=f"{name}_expand")
    x = depthwise(
        x,
        kernel=block.kernel,
        stride=stride,
        activation=block.activation,
        name=f"{name}_depthwise",
    )
    if block.squeeze:
        x = _squeeze_and_excite(x, name)
    x = conv(x, channels, kernel=1, activation=None, name=f"{name}_project")
    if stride == 1 and channels == shortcut.shape[-1]:
        x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
    return x


def _squeeze_and_excite(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Weigh the channels by a gate computed from their means."""
    channels = x.shape[-1]
    squeezed = round_channels(channels / SQUEEZE_DIVISOR)
    gate = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze_pool")(x)
    gate = conv(gate, squeezed, kernel=1, batch_norm=False, name=f"{name}_squeeze")
    gate = conv(
        gate,
        channels,
        kernel=1,
        batch_norm=False,
        activation="hard_sigmoid",
        name=f"{name}_excite",
    )
    return keras.layers.Multiply(name=f"{name}_excite")([x, gate])
