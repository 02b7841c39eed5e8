from __future__ import annotations

import pytest

from edgenets.models.backend import keras


@pytest.fixture(scope="module")
def model(net_of_zeros) -> keras.Model:
    return net_of_zeros("xception")


def test_maps_are_those_of_figure_5(model: keras.Model):
    assert model.get_layer("block4_add").output_shape == (None, 19, 19, 728)
    assert model.get_layer("block12_add").output_shape == (None, 19, 19, 728)
    assert model.get_layer("block13_add").output_shape == (None, 10, 10, 1024)
    assert model.get_layer("block14_sep2_relu").output_shape == (None, 10, 10, 2048)


def test_batch_norm_stands_after_pointwise_and_plain_convolutions_only(model: keras.Model):
    norms = [m for m in model.layers if isinstance(m, keras.layers.BatchNormalization)]
    depthwise = [m for m in model.layers if isinstance(m, keras.layers.DepthwiseConv2D)]
    assert len(depthwise) == 3 * 2 + 8 * 3 + 2 + 2
    assert len(norms) == len(depthwise) + 2 + 4  # the stem and the shortcuts


def test_nothing_stands_between_depthwise_and_pointwise(model: keras.Model):
    pointwise = model.get_layer("block5_sep1_pointwise_conv")
    assert pointwise.input.node.layer.name == "block5_sep1_depthwise_conv"


def test_width_scales_every_layer_to_a_multiple_of_8(net_of_zeros):
    model = net_of_zeros("xception", width=0.25, resolution=96)
    assert model.get_layer("block1_first_conv").filters == 8
    assert model.get_layer("block5_sep1_pointwise_conv").filters == 184  # 182 is none
    assert model.get_layer("block14_sep2_pointwise_conv").filters == 512
