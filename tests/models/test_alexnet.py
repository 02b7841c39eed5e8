from __future__ import annotations

import pytest

from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras
from edgenets.models.registry import create

pytestmark = pytest.mark.usefixtures("weights_not_drawn")


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return create("alexnet")


def test_maps_are_those_of_caffe_s_reference_model(model: keras.Model):
    sides = {"conv1_conv": 55, "conv2_conv": 27, "conv3_conv": 13, "conv4_conv": 13, "pool5": 6}
    assert {name: model.get_layer(name).output_shape[1] for name in sides} == sides


def test_second_fourth_and_fifth_convolution_have_two_groups(model: keras.Model):
    assert [model.get_layer(f"conv{i}_conv").groups for i in range(1, 6)] == [1, 2, 1, 2, 2]
    assert model.get_layer("conv2_conv").count_params() == 5 * 5 * (96 // 2) * 256 + 256


def test_too_small_an_image_gets_a_sentence():
    with pytest.raises(EdgenetsError, match="pool5 needs a map of at least 3 x 3 positions"):
        create("alexnet", resolution=66)
