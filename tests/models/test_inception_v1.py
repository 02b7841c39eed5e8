from __future__ import annotations

import pytest

from edgenets.models.backend import keras
from edgenets.models.inception_v1 import with_auxiliary_heads
from edgenets.profile import Profile, profile


@pytest.fixture(scope="module")
def model(net_of_zeros) -> keras.Model:
    return net_of_zeros("inception_v1", batch_norm=False)


@pytest.fixture(scope="module")
def cost(model: keras.Model) -> Profile:
    return profile(model)


@pytest.mark.parametrize(
    "module, channels, params, millions",
    [
        ("3a", 256, 163_696, 128.0),
        ("3b", 480, 388_736, 304.3),
        ("4a", 512, 376_176, 73.6),
        ("4b", 512, 449_160, 87.9),
        ("4c", 512, 510_104, 99.9),
        ("4d", 528, 605_376, 118.5),
        ("4e", 832, 868_352, 170.0),
        ("5a", 832, 1_043_456, 51.1),
        ("5b", 1024, 1_444_080, 70.7),
    ],
)
def test_module_costs_what_table_1_gives_with_biases(
    model: keras.Model, cost: Profile, module: str, channels: int, params: int, millions: float
):
    layers = [layer for layer in cost.layers if layer.name.startswith(f"mixed{module}_")]
    assert sum(layer.params for layer in layers) == params
    assert sum(layer.macs for layer in layers) / 1e6 == pytest.approx(millions, abs=0.05)
    side = {"3": 28, "4": 14, "5": 7}[module[0]]
    assert model.get_layer(f"mixed{module}").output_shape == (None, side, side, channels)


def test_batch_norm_stands_after_every_convolution_and_replaces_the_biases(net_of_zeros):
    model = net_of_zeros("inception_v1")
    kinds = [type(layer) for layer in model.layers]
    assert kinds.count(keras.layers.BatchNormalization) == 3 + 9 * 6
    assert not any(layer.use_bias for layer in model.layers if type(layer) is keras.layers.Conv2D)


def test_factorized_module_has_two_3x3_for_the_5x5(model: keras.Model, net_of_zeros):
    factorized = net_of_zeros("inception_v1", batch_norm=False, factorized=True)
    first, second = (
        factorized.get_layer(f"mixed3a_5x5_{part}3x3_conv").count_params()
        for part in ("first", "second")
    )
    assert model.get_layer("mixed3a_5x5_conv").count_params() == 5 * 5 * 16 * 32 + 32
    assert first == 3 * 3 * 16 * 32 + 32
    assert second == 3 * 3 * 32 * 32 + 32
    assert "mixed3a_5x5_conv" not in {layer.name for layer in factorized.layers}


def test_auxiliary_heads_cost_what_the_table_gives_and_share_the_net(model: keras.Model):
    with_heads = with_auxiliary_heads(model)
    convolutions = 512 * 128 + 128 + 528 * 128 + 128
    dense = 2 * (4 * 4 * 128 * 1024 + 1024 + 1024 * 1000 + 1000)
    assert convolutions + dense == 6_379_728
    assert with_heads.count_params() - model.count_params() == convolutions + dense
    assert with_heads.output_shape == [(None, 1000)] * 3
    assert set(model.layers) < set(with_heads.layers)


def test_auxiliary_heads_fit_small_maps_and_follow_the_net_s_batch_norm(net_of_zeros):
    heads = with_auxiliary_heads(net_of_zeros("inception_v1", resolution=32, classes=3))
    assert heads.output_shape == [(None, 3)] * 3
    assert heads.get_layer("auxiliary4a_bn").input_shape == (None, 1, 1, 128)
