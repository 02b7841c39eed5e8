"""SqueezeNet: fire modules, which squeeze by 1x1 and expand by 1x1 and 3x3 convolutions.

Source: arXiv:1602.07360, table 1, figure 2 and section 5 (the metaparameters); version 1.1: the
authors' release at github.com/forresti/SqueezeNet. Pools do not pad ("valid"); Caffe's round up.
"""

from __future__ import annotations

from typing import NamedTuple

from edgenets.errors import EdgenetsError, unknown_name
from edgenets.models.backend import keras
from edgenets.models.layers import Padding, conv, dropout, max_pool, remove_strides


class Version(NamedTuple):
    """Where the two versions differ."""

    channels: int  # of conv1
    kernel: int  # of conv1
    pools: tuple[int, int]  # the fire modules that a pool follows


class Fire(NamedTuple):
    """One fire module, channels."""

    squeeze: int  # s1x1
    expand1x1: int  # e1x1
    expand3x3: int  # e3x3


VERSIONS = {"1.0": Version(96, 7, (4, 8)), "1.1": Version(64, 3, (3, 5))}
BYPASSES = ("none", "simple", "complex")
FIRST_FIRE, LAST_FIRE = 2, 9
STRIDES = (2, 2, 2, 2)  # of conv1 and of the pools
DROPOUT = 0.5
METAPARAMETERS = (128, 128, 2, 0.5, 0.125)  # those of version 1.0


def squeezenet(
    resolution: int = 227,
    classes: int = 1000,
    *,
    version: str = "1.0",
    bypass: str = "none",
    base_expand: int = 128,
    expand_increment: int = 128,
    frequency: int = 2,
    pct_3x3: float = 0.5,
    squeeze_ratio: float = 0.125,
    output_stride: int = 32,
) -> keras.Model:
    """Build the net: `[batch, resolution, resolution, 3]` in [-1, 1] -> `[batch, classes]` logits.

    Args:
        resolution: height and width of the image, at least 31 at output stride 16 and up.
        classes: number of logits.
        version: "1.0" or "1.1", which has a smaller first convolution and earlier pools.
        bypass: "none"; "simple": fire modules that keep the number of channels add their input;
            "complex": the others add it too, through a 1x1 convolution.
        base_expand: base_e, expand channels of the first fire module.
        expand_increment: incr_e, how many more there are after every `frequency` modules.
        frequency: freq.
        pct_3x3: share of the expand channels that are 3x3, between 0 and 1.
        squeeze_ratio: SR, squeeze channels per expand channel.
        output_stride: 32, 16, 8 or 4; below 16, which the net has, the earliest strides become 1.

    Raises:
        EdgenetsError: the version or the bypass is unknown, the metaparameters leave a convolution
            no channels, or they are given for version 1.1.
    """
    if version not in VERSIONS:
        raise unknown_name("version of squeezenet", version, VERSIONS)
    if bypass not in BYPASSES:
        raise unknown_name("bypass of squeezenet", bypass, BYPASSES)
    metaparameters = (base_expand, expand_increment, frequency, pct_3x3, squeeze_ratio)
    if version != "1.0" and metaparameters != METAPARAMETERS:
        raise EdgenetsError(
            f"the metaparameters of squeezenet belong to version 1.0, got version {version}; leave "
            "base_expand, expand_increment, frequency, pct_3x3 and squeeze_ratio out"
        )
    fires = _fires(*metaparameters)
    channels, kernel, pools = VERSIONS[version]
    stride, *pool_strides = remove_strides(STRIDES, output_stride)
    pool_stride = dict(zip((1, *pools), pool_strides, strict=True))
    image = keras.Input((resolution, resolution, 3), name="image")
    x = _conv(image, channels, kernel, "conv1", stride=stride, padding="valid")
    x = max_pool(x, stride=pool_stride[1], padding="valid", name="pool1")
    for f, fire in enumerate(fires, start=FIRST_FIRE):
        x = _fire(x, fire, bypass, name=f"fire{f}")
        if f in pools:
            x = max_pool(x, stride=pool_stride[f], padding="valid", name=f"pool{f}")
    x = dropout(x, DROPOUT)
    x = _conv(x, classes, 1, "conv10")
    return keras.Model(
        image, keras.layers.GlobalAveragePooling2D(name="logits")(x), name="squeezenet"
    )


def _fires(
    base_expand: int, expand_increment: int, frequency: int, pct_3x3: float, squeeze_ratio: float
) -> tuple[Fire, ...]:
    """Return the channels of every fire module by the metaparameters of section 5.1."""
    if frequency < 1:
        raise EdgenetsError(f"frequency of squeezenet must be at least 1, got {frequency}")
    fires = []
    for i in range(LAST_FIRE - FIRST_FIRE + 1):
        expand = base_expand + expand_increment * (i // frequency)
        expand3x3 = round(pct_3x3 * expand)
        fire = Fire(round(squeeze_ratio * expand), expand - expand3x3, expand3x3)
        if min(fire) < 1:
            raise EdgenetsError(
                f"the metaparameters leave fire{i + FIRST_FIRE} of squeezenet with {fire.squeeze} "
                f"squeeze, {fire.expand1x1} 1x1 and {fire.expand3x3} 3x3 channels; each must be at "
                "least 1"
            )
        fires.append(fire)
    return tuple(fires)


def _fire(x: keras.KerasTensor, fire: Fire, bypass: str, *, name: str) -> keras.KerasTensor:
    squeezed = _conv(x, fire.squeeze, 1, f"{name}_squeeze")
    expanded = keras.layers.Concatenate(name=f"{name}_concat")(
        [
            _conv(squeezed, fire.expand1x1, 1, f"{name}_expand1x1"),
            _conv(squeezed, fire.expand3x3, 3, f"{name}_expand3x3"),
        ]
    )
    channels = expanded.shape[-1]
    if bypass == "none" or (bypass == "simple" and x.shape[-1] != channels):
        return expanded
    if x.shape[-1] != channels:
        x = conv(x, channels, kernel=1, batch_norm=False, activation=None, name=f"{name}_bypass")
    return keras.layers.Add(name=f"{name}_add")([x, expanded])


def _conv(
    x: keras.KerasTensor,
    channels: int,
    kernel: int,
    name: str,
    *,
    stride: int = 1,
    padding: Padding = "same",
) -> keras.KerasTensor:
    return conv(
        x,
        channels,
        kernel=kernel,
        stride=stride,
        padding=padding,
        batch_norm=False,
        name=name,
    )
