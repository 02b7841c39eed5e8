from __future__ import annotations

import pytest

from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras
from edgenets.models.registry import create


@pytest.fixture(scope="module")
def model(net_of_zeros) -> keras.Model:
    return net_of_zeros("inception_v3")


@pytest.mark.parametrize(
    "module, side, channels",
    [
        (0, 35, 256),
        *((m, 35, 288) for m in (1, 2)),
        *((m, 17, 768) for m in (3, 4, 5, 6, 7)),
        (8, 8, 1280),
        *((m, 8, 2048) for m in (9, 10)),
    ],
)
def test_module_has_the_released_net_s_map(
    model: keras.Model, module: int, side: int, channels: int
):
    assert model.get_layer(f"mixed{module}").output_shape == (None, side, side, channels)


def test_there_are_94_batch_norms_without_a_factor(model: keras.Model):
    norms = [m for m in model.layers if isinstance(m, keras.layers.BatchNormalization)]
    assert len(norms) == 94
    assert not any(norm.scale for norm in norms)


def test_too_small_an_image_gets_a_sentence():
    with pytest.raises(EdgenetsError, match=r"needs a map of at least 3 x 3 positions, got 1 x 1"):
        create("inception_v3", resolution=32)


def test_width_scales_every_layer_to_a_multiple_of_8(net_of_zeros):
    model = net_of_zeros("inception_v3", width=0.25, resolution=75)
    assert model.get_layer("stem1_conv").filters == 8
    assert model.get_layer("stem4_conv").filters == 24  # 20 is none, and 16 is under 90 % of it
    assert model.get_layer("mixed10").output_shape[-1] == 2048 / 4
