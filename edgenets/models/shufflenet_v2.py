"""ShuffleNet V2: units that convolve one half of the channels and shuffle the halves.

Source: arXiv:1807.11164, table 5 and figure 3. In a unit with stride both branches end with half of
the output channels, as in the widely used released weights; the paper's MACs come from a branch
that keeps its number of input channels.
"""

from __future__ import annotations

from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras
from edgenets.models.grouped import ChannelHalf, ChannelShuffle
from edgenets.models.layers import conv, depthwise, max_pool, pooled_classifier, remove_strides

STEM_CHANNELS = 24
CHANNELS = {  # by scale: of stages 2, 3 and 4 and of conv5
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),
}
REPEATS = (4, 8, 4)  # units of stages 2, 3 and 4
STRIDES = (2, 2, 2, 2, 2)  # of the first convolution, the pool and the stages' first units


def shufflenet_v2(
    resolution: int = 224, classes: int = 1000, *, scale: float = 1.0, output_stride: int = 32
) -> keras.Model:
    """Build the net: `[batch, resolution, resolution, 3]` in [-1, 1] -> `[batch, classes]` logits.

    Args:
        resolution: height and width of the image, at least `output_stride`.
        classes: number of logits.
        scale: 0.5, 1.0, 1.5 or 2.0, the column of table 5.
        output_stride: 32, 16, 8 or 4; below 32 the earliest strides become 1.

    Raises:
        EdgenetsError: table 5 has no such scale.
    """
    if scale not in CHANNELS:
        raise EdgenetsError(
            f"scale of shufflenet_v2 must be {', '.join(map(str, CHANNELS))}, got {scale}"
        )
    *stage_channels, last = CHANNELS[scale]
    strides = remove_strides(STRIDES, output_stride)
    image = keras.Input((resolution, resolution, 3), name="image")
    x = conv(image, STEM_CHANNELS, kernel=3, stride=strides[0], name="stem")
    x = max_pool(x, stride=strides[1], name="stem_pool")
    for s, (channels, repeats) in enumerate(zip(stage_channels, REPEATS, strict=True), start=2):
        x = _down_unit(x, channels, strides[s], name=f"stage{s}_unit1")
        for u in range(2, repeats + 1):
            x = _unit(x, channels, name=f"stage{s}_unit{u}")
    x = conv(x, last, kernel=1, name="conv5")
    return keras.Model(image, pooled_classifier(x, classes), name="shufflenet_v2")


def _unit(x: keras.KerasTensor, channels: int, name: str) -> keras.KerasTensor:
    """Append figure 3 (c): one half passes, the other is convolved."""
    passed = ChannelHalf(0, name=f"{name}_left")(x)
    branch = _branch(ChannelHalf(1, name=f"{name}_right")(x), channels // 2, 1, name)
    return _join(passed, branch, name)


def _down_unit(x: keras.KerasTensor, channels: int, stride: int, name: str) -> keras.KerasTensor:
    """Append figure 3 (d): both branches convolve the whole input."""
    left = depthwise(x, stride=stride, activation=None, name=f"{name}_left_depthwise")
    left = conv(left, channels // 2, kernel=1, name=f"{name}_left_pointwise")
    return _join(left, _branch(x, channels // 2, stride, name), name)


def _branch(x: keras.KerasTensor, channels: int, stride: int, name: str) -> keras.KerasTensor:
    x = conv(x, channels, kernel=1, name=f"{name}_first")
    x = depthwise(x, stride=stride, activation=None, name=f"{name}_depthwise")
    return conv(x, channels, kernel=1, name=f"{name}_second")


def _join(left: keras.KerasTensor, right: keras.KerasTensor, name: str) -> keras.KerasTensor:
    x = keras.layers.Concatenate(name=f"{name}_concat")([left, right])
    return ChannelShuffle(2, name=f"{name}_shuffle")(x)
