from __future__ import annotations

import pytest

from edgenets.models.backend import keras


@pytest.fixture(scope="module")
def model(net_of_zeros) -> keras.Model:
    return net_of_zeros("mobilenet_v2")


def layers_of(model: keras.Model, kind: type) -> list[keras.layers.Layer]:
    return [layer for layer in model.layers if type(layer) is kind]


def test_there_are_52_batch_norms(model: keras.Model):
    assert len(layers_of(model, keras.layers.BatchNormalization)) == 52


def test_every_repeated_block_adds_its_input(model: keras.Model):
    # All blocks of a stage but the first: n - 1 of each row of table 2.
    assert len(layers_of(model, keras.layers.Add)) == sum(n - 1 for n in (1, 2, 3, 4, 3, 3, 1))


def test_blocks_expand_six_times_but_the_first(model: keras.Model):
    names = {layer.name for layer in model.layers}
    assert "stage1_block1_expand_conv" not in names
    expand, project = (
        model.get_layer(f"stage4_block1_{part}_conv") for part in ("expand", "project")
    )
    assert (expand.filters, project.filters) == (6 * 32, 64)


def test_projections_are_linear(model: keras.Model):
    assert not any(layer.name.endswith("project_relu") for layer in model.layers)


@pytest.mark.parametrize("width, channels", [(0.35, 1280), (1.0, 1280), (1.4, 1792)])
def test_last_convolution_is_widened_but_never_narrowed(width: float, channels: int, net_of_zeros):
    model = net_of_zeros("mobilenet_v2", width=width)
    assert model.get_layer("last_conv").filters == channels
