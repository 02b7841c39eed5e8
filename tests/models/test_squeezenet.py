from __future__ import annotations

import pytest

from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras
from edgenets.models.registry import create

pytestmark = pytest.mark.usefixtures("weights_not_drawn")


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return create("squeezenet")


@pytest.mark.parametrize(
    "fire, squeeze, expand, side",
    [
        *((2, 16, 64, 55), (3, 16, 64, 55), (4, 32, 128, 55), (5, 32, 128, 27)),
        *((6, 48, 192, 27), (7, 48, 192, 27), (8, 64, 256, 27), (9, 64, 256, 13)),
    ],
)
def test_fire_module_has_the_channels_of_table_1(
    model: keras.Model, fire: int, squeeze: int, expand: int, side: int
):
    assert model.get_layer(f"fire{fire}_squeeze_conv").filters == squeeze
    for kernel in (1, 3):
        layer = model.get_layer(f"fire{fire}_expand{kernel}x{kernel}_conv")
        assert (layer.filters, layer.kernel_size) == (expand, (kernel, kernel))
    assert model.get_layer(f"fire{fire}_concat").output_shape == (None, side, side, 2 * expand)


@pytest.mark.parametrize(
    "version, kernel, channels, before_pools", [("1.0", 7, 96, (4, 8)), ("1.1", 3, 64, (3, 5))]
)
def test_versions_differ_in_conv1_and_pools(
    version: str, kernel: int, channels: int, before_pools: tuple[int, int]
):
    model = create("squeezenet", version=version)
    first = model.get_layer("conv1_conv")
    assert (first.filters, first.kernel_size) == (channels, (kernel, kernel))
    for fire in before_pools:
        assert model.get_layer(f"pool{fire}").input.node.layer.name == f"fire{fire}_concat"


@pytest.mark.parametrize(
    "bypass, added, convolved",
    [("none", "", ""), ("simple", "3579", ""), ("complex", "23456789", "2468")],
)
def test_bypasses_stand_where_figure_2_says(bypass: str, added: str, convolved: str):
    names = {layer.name for layer in create("squeezenet", bypass=bypass).layers}
    assert {f"fire{i}_add" for i in added} == {name for name in names if name.endswith("_add")}
    assert {f"fire{i}_bypass_conv" for i in convolved} == {n for n in names if "bypass" in n}


def test_metaparameters_grow_the_fire_modules():
    model = create(
        "squeezenet",
        base_expand=64,
        expand_increment=32,
        frequency=4,
        pct_3x3=0.25,
        squeeze_ratio=0.5,
    )
    for fires, expand in (((2, 5), 64), ((6, 9), 64 + 32)):
        for fire in fires:
            names = ("squeeze", "expand1x1", "expand3x3")
            filters = [model.get_layer(f"fire{fire}_{name}_conv").filters for name in names]
            assert filters == [expand // 2, expand * 3 // 4, expand // 4]


def test_every_convolution_has_a_bias_and_none_a_batch_norm(model: keras.Model):
    convolutions = [m for m in model.layers if isinstance(m, keras.layers.Conv2D)]
    assert len(convolutions) == 1 + 8 * 3 + 1
    assert all(layer.use_bias for layer in convolutions)
    assert not any(isinstance(m, keras.layers.BatchNormalization) for m in model.layers)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"version": "1.2"}, "unknown version of squeezenet '1.2'"),
        ({"bypass": "simpel"}, "did you mean simple?"),
        ({"version": "1.1", "frequency": 1}, "belong to version 1.0, got version 1.1"),
        ({"frequency": 0}, "frequency of squeezenet must be at least 1, got 0"),
        ({"pct_3x3": 0.0}, "leave fire2 of squeezenet with 16 squeeze, 128 1x1 and 0 3x3 channels"),
        ({"squeeze_ratio": 0.001}, "each must be at least 1"),
        ({"resolution": 32}, "pool8 needs a map of at least 3 x 3 positions, got 2 x 2"),
    ],
)
def test_what_does_not_fit_gets_a_sentence(arguments: dict, message: str):
    with pytest.raises(EdgenetsError) as raised:
        create("squeezenet", **arguments)
    assert message in str(raised.value)
