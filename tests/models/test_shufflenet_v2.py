from __future__ import annotations

import pytest

from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras
from edgenets.models.grouped import ChannelHalf, ChannelShuffle
from edgenets.models.registry import create


@pytest.mark.parametrize(
    "scale, channels, last",
    [
        (0.5, (48, 96, 192), 1024),
        (2.0, (244, 488, 976), 2048),
    ],
)
def test_stages_have_the_channels_of_table_5(
    net_of_zeros, scale: float, channels: tuple[int, ...], last: int
):
    model = net_of_zeros("shufflenet_v2", scale=scale)
    for stage, units, side, out in zip((2, 3, 4), (4, 8, 4), (28, 14, 7), channels, strict=True):
        shape = model.get_layer(f"stage{stage}_unit{units}_shuffle").output_shape
        assert shape == (None, side, side, out)
        assert f"stage{stage}_unit{units + 1}_shuffle" not in {m.name for m in model.layers}
    assert model.get_layer("conv5_conv").filters == last


def test_units_without_stride_pass_one_half_on(net_of_zeros):
    model = net_of_zeros("shufflenet_v2", scale=0.5)
    kinds = [type(layer) for layer in model.layers]
    assert kinds.count(ChannelShuffle) == 4 + 8 + 4
    assert kinds.count(ChannelHalf) == 2 * (3 + 7 + 3)
    passed = model.get_layer("stage2_unit2_left")
    joined = model.get_layer("stage2_unit2_concat").input[0]
    assert joined.node.layer is passed


def test_no_activation_follows_a_depthwise_convolution(net_of_zeros):
    model = net_of_zeros("shufflenet_v2", scale=0.5)
    depthwise = [m.name for m in model.layers if isinstance(m, keras.layers.DepthwiseConv2D)]
    names = {layer.name for layer in model.layers}
    assert len(depthwise) == 16 + 3
    assert not any(name.replace("_conv", "_relu") in names for name in depthwise)


def test_other_scale_gets_a_sentence():
    with pytest.raises(EdgenetsError, match=r"must be 0\.5, 1\.0, 1\.5, 2\.0, got 0\.7"):
        create("shufflenet_v2", scale=0.7)
