"""Training in which each code's way from a base's has its price."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgenets.models.codes import Codes, Grid
from edgenets.models.fold import fold_batch_norm
from edgenets.quantize.layers import assign_kernels
from edgenets.quantize.rate.near_training import BIAS_PARTS, MOST_BITS, NearRounding, train_near
from edgenets.quantize.rate.priced_training import Repricing, with_prices
from edgenets.quantize.settings import NearSettings
from edgenets.quantize.stages.int8 import quantize_kernels
from edgenets.training.data import TrainingData
from edgenets.training.settings import Distillation

GRIDS = {"conv": (Grid(6 / 255, -128),), "pointwise": (Grid(6 / 255, -128),)}
LABELS_ALONE = Distillation(alpha=0)
FREE, DEAR = 0.0, 1e-2


@pytest.fixture(scope="module")
def base(build_net: Callable) -> SimpleNamespace:
    """What of a base model the training asks for."""
    net = fold_batch_norm(build_net())
    kernels = dict(quantize_kernels(net))
    assign_kernels(net, kernels)
    return SimpleNamespace(net=net, codes=Codes(kernels, GRIDS))


def train(base: SimpleNamespace, data: TrainingData, folder: Path, price: float):
    settings = NearSettings(base="-", epochs=3, batch_size=16, learning_rate=0.02, augment=0)
    return train_near(
        base,
        price,
        data=data,
        settings=settings.model_copy(update={"distillation": LABELS_ALONE}),
        seed=0,
        checkpoint=folder / f"{price}.safetensors",
        key=str(price),
        teacher=None,
        log_dir=None,
    )


@pytest.fixture(scope="module")
def moved(base: SimpleNamespace, training_data: TrainingData, tmp_path_factory):
    folder = tmp_path_factory.mktemp("near")
    return [train(base, training_data, folder, price) for price in (FREE, DEAR)]


def changes(base: SimpleNamespace, kernels) -> int:
    return sum(
        int(np.count_nonzero(kernels[name].codes != kernel.codes))
        for name, kernel in base.codes.kernels.items()
    )


def test_first_difference_costs_no_more_than_its_limit_and_none_nothing(base: SimpleNamespace):
    priced = with_prices(base.net, base.codes.kernels, GRIDS.keys(), DEAR, NearRounding, GRIDS)
    repricing = Repricing()
    repricing.set_model(priced)
    repricing.on_epoch_begin(0)
    wrapper = priced.get_layer("quant_pointwise")
    ((kernel, rounding, weights),) = wrapper._weight_vars
    bits = weights["bits"].numpy()
    assert bits[:, 127].max() < 0.1  # difference 0
    assert bits.max() == MOST_BITS
    image = np.zeros((1, 8, 8, 3), np.float32)
    priced(image, training=True)
    before = float(sum(priced.losses))
    moved = kernel.numpy()
    moved[0, 0, 3, 5] += 1 / 32  # one step
    kernel.assign(moved)
    priced(image, training=True)
    cost = DEAR * (bits[5, 128] - bits[5, 127])
    assert float(sum(priced.losses)) - before == pytest.approx(cost, rel=0.01)
    assert np.count_nonzero(rounding.priced(rounding.wanted(kernel)).round()) == 1


def test_dear_changes_are_fewer_and_scales_stay(base: SimpleNamespace, moved: list):
    free, dear = (each.settled(GRIDS, 0)[1] for each in moved)
    assert changes(base, dear) < 0.5 * changes(base, free)
    for name, kernel in base.codes.kernels.items():
        np.testing.assert_array_equal(free[name].scale, kernel.scale)


def test_codes_return_from_the_shortest_ways_on(base: SimpleNamespace, moved: list):
    free, _ = moved
    counts = [changes(base, free.settled(GRIDS, way)[1]) for way in (0, free.ways[9], np.inf)]
    assert counts[0] == len(free.ways) > 9
    assert counts[1:] == [9, 0]
    longest = free.settled(GRIDS, free.ways[1])[1]
    (name,) = (n for n, k in base.codes.kernels.items() if (longest[n].codes != k.codes).any())
    way = np.abs(free.wanted[name] - base.codes.kernels[name].codes).max()
    assert way == free.ways[0]


def test_net_has_the_codes_and_biases_near_the_trained_ones(base: SimpleNamespace, moved: list):
    free, _ = moved
    net, kernels = free.settled(GRIDS, 0)
    coarse, _ = free.settled(GRIDS, 0, BIAS_PARTS[-1])
    for name, kernel in kernels.items():
        layer = net.get_layer(name)
        np.testing.assert_array_equal(layer.kernel, kernel.values)
        if name == "pointwise":  # which has a grid before and behind it
            step = GRIDS[name][0].scale / BIAS_PARTS[0]
            assert np.abs(layer.bias.numpy() - free.biases[name]).max() <= step / 2 + 1e-6
            old, few = (each.get_layer(name).bias.numpy() for each in (base.net, coarse))
            assert np.count_nonzero(few != old) < np.count_nonzero(layer.bias.numpy() != old)


def test_no_training_leaves_everything_as_the_base_has_it(base, training_data, tmp_path: Path):
    settings = NearSettings(base="-", epochs=0, batch_size=16, augment=0)
    still = train_near(
        base,
        DEAR,
        data=training_data,
        settings=settings,
        seed=0,
        checkpoint=tmp_path / "checkpoint.safetensors",
        key="",
        teacher=None,
        log_dir=None,
    )
    net, kernels = still.settled(GRIDS, 0)
    assert changes(base, kernels) == 0 == len(still.ways)
    for ours, theirs in zip(net.get_weights(), base.net.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
