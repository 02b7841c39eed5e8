"""Channels that go: what they carry, what they cost, and what is left."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from edgenets.data.images import Preparation
from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras
from edgenets.models.codes import Codes
from edgenets.models.coupling import Group, channel_groups
from edgenets.models.folder import Model, Spec
from edgenets.models.operator_costs import COSTS, TARGET_CORES, Cost, instructions
from edgenets.quantize.settings import SlimSettings
from edgenets.quantize.slim.choice import choose, kept_filters
from edgenets.quantize.slim.cost import estimate, estimate_net, operators_of
from edgenets.quantize.slim.importance import measure_importance
from edgenets.quantize.stages.slim import slim

L = keras.layers
CORE = "cortex-a72"
SHORT = {"epochs": 1, "batch_size": 16}


def group(size: int, spread: bool = False) -> Group:
    return Group({"layer": np.arange(size)[:, None]}, spread)


@pytest.fixture(scope="module")
def net() -> keras.Model:
    return build(24)


def build(channels: int) -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    x = L.Conv2D(channels, 3, use_bias=False, name="first")(image)
    x = L.BatchNormalization(name="first_bn")(x)
    x = L.ReLU(name="first_relu")(x)
    x = L.Conv2D(16, 1, name="second")(x)
    x = L.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, L.Dense(2, name="logits")(x), name="net")


def test_the_least_important_channels_go_in_eights():
    importance = [np.arange(24.0)[::-1].copy(), np.full(16, 100.0)]
    kept = choose(
        [group(24), group(16)], importance, lambda parts: float(100 * parts.sum()), most=170
    )
    assert [channels.tolist() for channels in kept] == [list(range(16)), list(range(16))]


def test_what_saves_more_instructions_for_as_much_goes_first():
    importance = [np.ones(16), np.ones(16)]
    kept = choose(
        [group(16), group(16)], importance, lambda parts: float(parts @ [10, 30]), most=26
    )
    assert [len(channels) for channels in kept] == [16, 8]


def test_channels_that_save_nothing_stay():
    kept = choose([group(16)], [np.zeros(16)], lambda parts: 5.0, most=1)
    assert len(kept[0]) == 16


def test_dealt_channels_go_evenly():
    importance = np.ones(24)
    importance[[0, 1, 2]] = 0
    (kept,) = choose([group(24, spread=True)], [importance], lambda parts: parts.sum(), most=0.7)
    gone = np.setdiff1d(np.arange(24), kept)
    assert len(kept) == 16 and gone[0] == 0 and (gone // 3 == np.arange(8)).all()


def test_filters_of_no_group_stay(net: keras.Model):
    groups = [Group({"second": np.arange(4)[:, None]})]
    assert kept_filters(net, groups, [np.array([1])])["second"].tolist() == [1, *range(4, 16)]


def test_estimate_of_some_channels_is_that_of_the_net_that_has_them():
    whole, part = build(48), build(20)
    groups = channel_groups(whole)
    kept = np.array([20 / 48, 1])
    assert round(estimate(operators_of(whole, groups), CORE, kept)) == estimate_net(part, CORE)


def test_every_kind_of_operator_has_a_cost_on_every_core():
    for of_kind in COSTS.values():
        for row in of_kind.values():
            assert min(row) >= 0 and instructions(Cost(*row), 64, 9, 16, 16) > 0


def test_importance_is_fisher_information_of_the_channels_that_a_layer_reads(net: keras.Model):
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
    groups = channel_groups(net)
    first, second = measure_importance(net, groups, images, seed=3)
    assert first.shape == (24,) and first.min() >= 0 and second.max() > 0
    # What the logits hardly read carries hardly anything.
    weights = [w.numpy() for w in net.get_layer("logits").weights]
    weights[0][:] = 1e-3 * np.float32([[1, -1]])
    weights[0][5] = [3, -3]
    net.get_layer("logits").set_weights(weights)
    _, second = measure_importance(net, groups, images, seed=3)
    assert second.argmax() == 5 and second[5] > 1e4 * np.delete(second, 5).max()


def test_a_speed_that_cannot_be_reached_is_refused_with_the_one_that_can(
    net: keras.Model, training_data, tmp_path: Path
):
    model = Model(net, Spec("net", {"classes": 2}, ("one", "two"), Preparation(8, 8), seed=0))
    for goal, sentence in (
        ({"speedup": 50}, r"net cannot be slimmed .* speedup of at most 2\.\d"),
        ({"max_instructions": 10**9}, r"net takes an estimated [\d,]+ instructions as it is"),
    ):
        settings = SlimSettings(**goal, **SHORT)
        with pytest.raises(EdgenetsError, match=sentence):
            slim(model, training_data, settings, seed=0, checkpoint=tmp_path / "c", key="")


def test_targets_are_those_whose_instructions_are_estimated():
    assert get_args(SlimSettings.model_fields["target"].annotation) == tuple(TARGET_CORES)


def test_shared_weights_are_not_slimmed(net: keras.Model, training_data, tmp_path: Path):
    spec = Spec("net", {"classes": 2}, ("one", "two"), Preparation(8, 8), seed=0)
    model = Model(net, spec, Codes({}, {}))
    with pytest.raises(EdgenetsError, match="shared weights"):
        slim(model, training_data, SlimSettings(), seed=0, checkpoint=tmp_path / "c", key="")
