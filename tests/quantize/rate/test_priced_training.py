"""Training in which each code has its price."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgenets.models.backend import keras
from edgenets.models.codes import KernelCodes
from edgenets.models.fold import fold_batch_norm
from edgenets.quantize.layers import assign_kernels, kernel_of
from edgenets.quantize.rate.coders import package_bits
from edgenets.quantize.rate.curvature import groups_of, to_rows
from edgenets.quantize.rate.layerwise import Coded
from edgenets.quantize.rate.priced_training import (
    STEPS_PER_UNIT,
    Goal,
    Repricing,
    Trained,
    train_codes,
    with_prices,
    wrappers_of,
)
from edgenets.quantize.settings import RateSettings
from edgenets.quantize.stages.int8 import quantize_kernels
from edgenets.training.data import TrainingData
from edgenets.training.settings import Distillation

ROUNDED = ("conv", "pointwise")
SETTINGS = RateSettings(epochs=3, batch_size=16, learning_rate=0.02, augment=0)
FREE, DEAR = Goal(0.0), Goal(1e-2)
COARSER = np.float32(16)  # than the finest steps: codes from -8 to 8


@pytest.fixture(scope="module")
def coded(build_net: Callable) -> Coded:
    model = fold_batch_norm(build_net())
    kernels = {
        name: KernelCodes(np.rint(kernel.codes / COARSER).astype(np.int8), COARSER * kernel.scale)
        for name, kernel in quantize_kernels(model).items()
    }
    assign_kernels(model, kernels)
    return Coded(model, kernels, 0.0)


def train(coded: Coded, data: TrainingData, folder: Path, goal: Goal, **other) -> Trained:
    settings = SETTINGS.model_copy(update={"distillation": Distillation(alpha=1.0), **other})
    return train_codes(
        coded,
        ROUNDED,
        goal,
        data=data,
        settings=settings,
        seed=0,
        checkpoint=folder / "checkpoint.safetensors",
        key="",
        teacher=coded.model,
        log_dir=None,
    )


@pytest.fixture(scope="module")
def trained(coded: Coded, training_data: TrainingData, tmp_path_factory) -> list[Trained]:
    folder = tmp_path_factory.mktemp("trained")
    return [train(coded, training_data, folder, goal) for goal in (FREE, DEAR)]


def test_net_begins_with_the_answers_of_its_codes(coded: Coded, training_data: TrainingData):
    images = training_data.images.take(range(20)) / np.float32(127.5) - 1
    priced = with_prices(coded.model, coded.kernels, (), DEAR.price)
    np.testing.assert_allclose(priced(images), coded.model(images), rtol=1e-5, atol=1e-5)


def test_losses_are_price_times_bits_and_between_two_codes_in_proportion(coded: Coded):
    priced = with_prices(coded.model, coded.kernels, (), DEAR.price)
    repricing = Repricing()
    repricing.set_model(priced)
    repricing.on_epoch_begin(0)
    image = np.zeros((1, 8, 8, 3), np.float32)

    def cost() -> float:
        priced(image, training=True)
        return float(sum(priced.losses))

    bits = 0.0
    for name, kernel in coded.kernels.items():
        layer = coded.model.get_layer(name)
        rows = to_rows(kernel.codes, groups_of(layer), layer.output.shape[-1])
        table = package_bits(rows.astype(np.float32))
        bits += np.take_along_axis(table, rows.astype(int) + 127, axis=2).sum(dtype=float)
    whole = cost()
    assert whole == pytest.approx(DEAR.price * bits, rel=1e-5)
    ((trained_numbers, *_),) = priced.get_layer("quant_conv")._weight_vars
    start = trained_numbers.numpy()
    costs = []
    for part in (0.25, 0.5, 1.0):
        moved = start.copy()
        moved[0, 0, 0, 0] -= np.sign(moved[0, 0, 0, 0]) * part / STEPS_PER_UNIT
        trained_numbers.assign(moved)
        costs.append(cost() - whole)
    np.testing.assert_allclose(costs[:2], [costs[2] / 4, costs[2] / 2], atol=1e-4)


def test_dear_codes_take_fewer_bits_and_free_ones_learn(coded: Coded, trained: list[Trained]):
    free, dear = trained
    assert dear.coded.bits < 0.9 * free.coded.bits
    assert free.history["loss"][-1] < free.history["loss"][0]
    assert dear.history["kept"] == [0, 0, 1]
    for found in (free.coded, dear.coded):
        changed = [
            (found.kernels[name].codes != kernel.codes).mean()
            for name, kernel in coded.kernels.items()
        ]
        assert max(changed) > 0.1
        for name, kernel in found.kernels.items():
            layer = found.model.get_layer(name)
            np.testing.assert_array_equal(kernel_of(layer), kernel.values)
            assert np.abs(kernel.codes.astype(int)).max() <= 127
            steps = kernel.scale / coded.kernels[name].scale
            np.testing.assert_allclose(steps, steps.flat[0], rtol=1e-5)


def test_price_rises_over_a_budget_and_falls_below_it(
    coded: Coded, trained: list[Trained], training_data: TrainingData, tmp_path: Path
):
    begun, bits = 1e-3, trained[0].coded.bits
    tight, ample = (
        train(coded, training_data, tmp_path, Goal(begun, part * bits)) for part in (0.5, 2)
    )
    assert ample.price < begun < tight.price
    assert tight.coded.bits < ample.coded.bits


def test_price_answers_to_bits_off_the_way_to_the_budget(coded: Coded):
    priced = with_prices(coded.model, coded.kernels, (), 1e-3)
    parts = [part for wrapper in wrappers_of(priced) for part in wrapper._weight_vars]
    bits = sum(
        rounding.sum_bits(codes, rounding.table(codes))
        for codes, rounding in ((rounding.codes(kernel), rounding) for kernel, rounding, _ in parts)
    )
    repricing = Repricing([1.0, bits / 2])
    repricing.set_model(priced)
    repricing.on_epoch_begin(0)
    assert {float(weights["price"]) for *_, weights in parts} == {np.float32(1e-3)}
    repricing.on_epoch_begin(1)
    for *_, weights in parts:
        assert float(weights["price"]) == pytest.approx(4e-3)


def test_what_training_begins_with_is_left_as_it_is(build_net: Callable, coded: Coded, trained):
    before = fold_batch_norm(build_net())
    assign_kernels(before, coded.kernels)
    for a, b in zip(before.get_weights(), coded.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_stopped_training_goes_on_to_the_same_codes(
    coded: Coded, trained: list[Trained], training_data, tmp_path: Path, monkeypatch
):
    reprice = Repricing.on_epoch_begin

    def stop(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt
        reprice(self, epoch, logs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Repricing, "on_epoch_begin", stop)
        train(coded, training_data, tmp_path, DEAR)
    assert (tmp_path / "checkpoint_0.01.safetensors").exists()
    resumed = train(coded, training_data, tmp_path, DEAR)
    for name, kernel in trained[1].coded.kernels.items():
        np.testing.assert_array_equal(resumed.coded.kernels[name].codes, kernel.codes)
        np.testing.assert_array_equal(resumed.coded.kernels[name].scale, kernel.scale)
    assert resumed.history == trained[1].history


def test_layer_may_have_no_bias(training_data: TrainingData, tmp_path: Path):
    image = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D(name="pool")(image)
    model = keras.Model(image, keras.layers.Dense(2, use_bias=False, name="logits")(x))
    found = train(Coded(model, dict(quantize_kernels(model)), 0.0), training_data, tmp_path, FREE)
    assert found.coded.kernels.keys() == {"logits"}
