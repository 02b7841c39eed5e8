from __future__ import annotations

import numpy as np
import pytest

from edgenets.models.backend import keras
from edgenets.models.layers import hard_sigmoid, hard_swish


@pytest.fixture(scope="module", params=["large", "small"])
def model(request: pytest.FixtureRequest, net_of_zeros) -> keras.Model:
    return net_of_zeros(f"mobilenet_v3_{request.param}")


def count(model: keras.Model, ending: str) -> int:
    return sum(layer.name.endswith(ending) for layer in model.layers)


def test_squeeze_and_hard_swish_stand_where_the_tables_say(model: keras.Model):
    large = model.name.endswith("large")
    assert count(model, "_excite") == (8 if large else 9)
    # Two in each block of type HS, and after the stem, the last convolution and the head.
    assert count(model, "_hard_swish") == 2 * (9 if large else 8) + 3


def test_gates_work_on_a_quarter_of_the_hidden_channels(net_of_zeros):
    model = net_of_zeros("mobilenet_v3_large")
    # A quarter of 72 is 18; 16, the nearest multiple of 8, is less than 90 % of it.
    assert model.get_layer("block4_squeeze_conv").filters == 24
    assert model.get_layer("block13_squeeze_conv").filters == 672 // 4


def test_last_channels_are_those_of_the_tables(model: keras.Model):
    last, head = (960, 1280) if model.name.endswith("large") else (576, 1024)
    assert model.get_layer("last_conv").output_shape == (None, 7, 7, last)
    assert model.get_layer("head_dense").output_shape == (None, head)


@pytest.mark.parametrize("size", ["large", "small"])
def test_minimalistic_has_3x3_kernels_and_relu_only(size: str, net_of_zeros):
    model = net_of_zeros(f"mobilenet_v3_{size}", minimalistic=True)
    assert count(model, "_excite") == count(model, "_hard_swish") == 0
    depthwise = [m for m in model.layers if isinstance(m, keras.layers.DepthwiseConv2D)]
    assert {layer.kernel_size for layer in depthwise} == {(3, 3)}


def test_hard_sigmoid_is_a_line_between_minus_3_and_3():
    x = np.float32([-4, -3, 0, 1.5, 3, 4])
    np.testing.assert_allclose(hard_sigmoid(x), [0, 0, 0.5, 0.75, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(hard_swish(x), [0, 0, 0, 1.125, 3, 4], rtol=1e-6)
