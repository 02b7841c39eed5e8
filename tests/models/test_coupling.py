"""Which channels go together, and nets without some of them."""

from __future__ import annotations

import numpy as np
import pytest

from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras
from edgenets.models.channels import count_channels, keep_filters, with_channels
from edgenets.models.coupling import channel_groups, number_filters, trace_channels
from edgenets.models.registry import create

L = keras.layers
pytestmark = pytest.mark.usefixtures("weights_not_drawn")


def silence(model, kept):
    """Let each channel that goes be 0 wherever it is computed, by offsets and factors of 0."""
    numbers, traced = number_filters(model), trace_channels(model)
    gone = {n for name, filters in kept.items() for n in np.delete(numbers[name], filters)}
    for layer in model.layers:
        silent = [int(number) in gone for number in traced[layer.name].output]
        for weight in layer.weights:
            is_kernel = weight.name.endswith("kernel:0")
            if not isinstance(layer, L.Dropout) and not (is_kernel and has_norm(model, layer)):
                value = weight.numpy()
                value[..., silent] = 0
                weight.assign(value)


def has_norm(model, layer):
    return not getattr(layer, "use_bias", False) or isinstance(layer, L.DepthwiseConv2D)


def randomize(model):
    random = np.random.default_rng(0)
    for layer in model.layers:
        if not isinstance(layer, L.Dropout):
            layer.set_weights([random.uniform(0.1, 1, w.shape) / 4 for w in layer.get_weights()])


def shrink(model):
    """Return for each layer of a group which filters stay if every other channel goes."""
    kept = {}
    for group in channel_groups(model):
        if group.size > 1 and not group.spread:
            for name, filters in group.filters.items():
                kept.setdefault(name, []).append(filters[::2].ravel())
    return {name: np.sort(np.concatenate(parts)) for name, parts in kept.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, arguments",
    [
        ("mobilenet_v3_small", {"width": 0.35}),  # additions, gates
        ("squeezenet", {"version": "1.1", "bypass": "complex"}),  # concatenations that are added
        ("shufflenet_v2", {"scale": 0.5}),  # shuffles, without the channels that are dealt out
        ("xception", {"width": 0.1}),  # depthwise convolutions without BatchNorm
    ],
)
def test_a_net_without_silent_channels_answers_as_with_them(name, arguments):
    model = create(name, resolution=32, classes=3, output_stride=8, **arguments)
    randomize(model)
    kept = shrink(model)
    assert len(kept) > 8
    silence(model, kept)
    small = keep_filters(model, kept)
    images = np.random.default_rng(1).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    assert small.count_params() < model.count_params()
    np.testing.assert_allclose(small(images), model(images), rtol=1e-4)


def test_the_table_of_channels_rebuilds_the_net():
    model = create("mobilenet_v1", width=0.25, resolution=32, classes=3)
    small = keep_filters(model, shrink(model))
    again = with_channels(model, count_channels(model, small))
    assert [w.shape for w in again.weights] == [w.shape for w in small.weights]
    assert with_channels(model, {}) is model


def test_additions_tie_channels_one_by_one():
    image = keras.Input((4, 4, 3))
    first = L.Conv2D(4, 1, name="first")(image)
    second = L.Conv2D(2, 1, name="second")(image)
    third = L.Conv2D(2, 1, name="third")(image)
    x = L.Add()([first, L.Concatenate()([second, third])])
    model = keras.Model(image, L.Dense(2, name="logits")(L.GlobalAveragePooling2D()(x)))
    groups = channel_groups(model)
    filters = [{name: f.ravel().tolist() for name, f in group.filters.items()} for group in groups]
    assert filters == [{"first": [0, 1], "second": [0, 1]}, {"first": [2, 3], "third": [0, 1]}]


def test_a_grouped_convolution_ties_the_same_place_of_its_groups():
    image = keras.Input((4, 4, 3))
    x = L.Conv2D(6, 1, name="first")(image)
    x = L.Conv2D(4, 1, groups=2, name="grouped")(x)
    model = keras.Model(image, L.Dense(2, name="logits")(L.GlobalAveragePooling2D()(x)))
    filters = {
        name: f.tolist() for group in channel_groups(model) for name, f in group.filters.items()
    }
    assert filters == {"first": [[0, 3], [1, 4], [2, 5]], "grouped": [[0, 2], [1, 3]]}


def test_shuffled_halves_lose_filters_of_equal_number_in_a_whole_stage():
    model = create("shufflenet_v2", scale=0.5, resolution=32, classes=3)
    spread = [group for group in channel_groups(model) if group.spread]
    assert [(group.size, len(group.filters)) for group in spread] == [(24, 5), (48, 9), (96, 5)]
    kept = {name: np.arange(0, group.size, 3) for group in spread for name in group.filters}
    assert keep_filters(model, kept).get_layer("stage4_unit4_concat").output_shape[-1] == 64


def test_grouped_shuffles_leave_nothing_to_remove():
    model = create("shufflenet_v1", scale=0.25, resolution=32, classes=3)
    assert max(group.size for group in channel_groups(model)) < 8


@pytest.mark.parametrize(
    "channels, message",
    [
        ({"stem_conv": 9}, "channels of stem_conv must be a whole number from 1 to the 8 filters"),
        ({"stem_conv": 0}, "from 1 to the 8 filters"),
        ({"stem_conv": "4"}, "got '4'"),
        ({"stem": 4}, "0 filters"),
    ],
)
def test_channels_that_the_net_cannot_have_are_refused(channels, message):
    model = create("mobilenet_v1", width=0.25, resolution=32, classes=3)
    with pytest.raises(EdgenetsError, match=message):
        with_channels(model, channels)


def test_channels_that_do_not_fit_each_other_are_refused():
    model = create("squeezenet", bypass="simple", resolution=32, classes=3, output_stride=8)
    with pytest.raises(EdgenetsError, match="do not fit each other"):
        with_channels(model, {"fire2_expand1x1_conv": 8})


def test_layers_that_mix_channels_otherwise_are_refused():
    image = keras.Input((4, 4, 3))
    model = keras.Model(image, L.Dense(2, name="logits")(L.Flatten(name="flat")(image)))
    with pytest.raises(EdgenetsError, match="cannot be followed through flat, a Flatten"):
        channel_groups(model)
