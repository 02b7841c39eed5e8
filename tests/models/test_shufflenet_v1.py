from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras
from edgenets.models.grouped import ChannelShuffle, GroupedPointwise


@pytest.fixture(scope="module")
def build(net_of_zeros) -> Callable[..., keras.Model]:
    return functools.partial(net_of_zeros, "shufflenet_v1")


def count(model: keras.Model, kind: type) -> int:
    return sum(type(layer) is kind for layer in model.layers)


@pytest.mark.parametrize("groups, channels", [(1, 144), (3, 240), (8, 384)])
def test_stages_have_the_channels_of_table_1(build, groups: int, channels: int):
    model = build(groups=groups)
    for stage, unit, factor in ((2, 4, 1), (3, 8, 2), (4, 4, 4)):
        shape = model.get_layer(f"stage{stage}_unit{unit}_relu").output_shape
        assert shape[-1] == channels * factor


def test_all_pointwise_convolutions_are_grouped_but_the_first(build):
    model = build(groups=3)
    assert count(model, GroupedPointwise) == 16 * 2 - 1
    assert count(model, ChannelShuffle) == 16
    first = model.get_layer("stage2_unit1_reduce_conv")
    assert type(first) is keras.layers.Conv2D
    # The bottleneck is a quarter of 240; the branch emits what the 24 pooled channels lack.
    assert first.kernel.shape == (1, 1, 24, 240 // 4)
    assert model.get_layer("stage2_unit1_expand_conv").kernel.shape == (1, 1, 60 // 3, 240 - 24)


def test_one_group_needs_no_shuffle(build):
    model = build(groups=1)
    assert count(model, GroupedPointwise) == count(model, ChannelShuffle) == 0


@pytest.mark.parametrize(
    "scale, groups, stem, channels",
    [(0.25, 8, 8, 96), (2.0, 3, 48, 480), (0.3, 4, 8, 80)],
)
def test_scale_multiplies_channels_so_that_groups_divide_them(
    build, scale: float, groups: int, stem: int, channels: int
):
    model = build(scale=scale, groups=groups)
    assert model.get_layer("stem_conv").filters == stem
    assert model.get_layer("stage2_unit4_relu").output_shape[-1] == channels


def test_other_number_of_groups_gets_a_sentence(build):
    with pytest.raises(EdgenetsError, match="groups of shufflenet_v1 must be 1, 2, 3, 4, 8, got 5"):
        build(groups=5)
