"""Codes that take few bits, and the curvature by which they are chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest

from edgenets.errors import EdgenetsError
from edgenets.export.targets import ETHOS_U
from edgenets.models.backend import keras, tf
from edgenets.models.codes import quantize_kernel
from edgenets.models.fold import fold_batch_norm
from edgenets.models.logits import mean_divergence
from edgenets.quantize.layers import kernel_axes, kernel_of
from edgenets.quantize.rate import curvature as curvature_module
from edgenets.quantize.rate import layerwise
from edgenets.quantize.rate.coders import vela_bits
from edgenets.quantize.rate.curvature import (
    groups_of,
    measure_curvatures,
    seen_by,
    to_kernel,
    to_rows,
    vary,
)
from edgenets.quantize.rate.equalize import equalize_activations
from edgenets.quantize.rate.kernel_codes import code_rows
from edgenets.quantize.rate.layerwise import code_kernels
from edgenets.quantize.recipe import RECIPES
from edgenets.quantize.settings import RateSettings

GROUPS, ROWS, INPUTS = 2, 12, 20
PRICES = (0.0, 1e-3, 1e-2, 1e-1, 1.0)
IMAGES = np.random.default_rng(0).uniform(-1, 1, (30, 8, 8, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    random = np.random.default_rng(1)
    return random.laplace(size=(GROUPS, ROWS, INPUTS)).astype(np.float32)


@pytest.fixture(scope="module")
def curvature() -> np.ndarray:
    """Of inputs that go together, as those of a layer do."""
    seen = np.random.default_rng(2).normal(size=(GROUPS, 200, INPUTS))
    seen = seen + 2 * seen[:, :, :1]
    return (seen.swapaxes(1, 2) @ seen / 200).astype(np.float32)


@pytest.fixture(scope="module")
def net(build_net: Callable) -> keras.Model:
    return fold_batch_norm(build_net())


def loss(error: np.ndarray, curvature: np.ndarray) -> float:
    return float(((error @ curvature) * error).sum())


def test_free_bits_give_at_most_the_error_of_plain_rounding(rows, curvature):
    plain = quantize_kernel(rows, axes=(2,))
    free = code_rows(rows, curvature, price=0.0)
    assert loss(free.values - rows, curvature) <= loss(plain.values - rows, curvature)
    np.testing.assert_array_equal(free.step, plain.scale)


def test_dearer_bits_are_fewer_and_cost_accuracy(rows, curvature):
    found = [code_rows(rows, curvature, price) for price in PRICES]
    bits = [each.bits for each in found]
    errors = [loss(each.values - rows, curvature) for each in found]
    assert bits == sorted(bits, reverse=True) and errors == sorted(errors)
    assert bits[0] > 4 * bits[-1]


def test_codes_pay_off_against_rounding_to_the_same_steps(rows, curvature):
    price = 1e-2
    found = code_rows(rows, curvature, price)
    rounded = np.rint(rows / found.step)
    _, counts = np.unique(rounded, return_counts=True)
    bits = -(counts * np.log2(counts / counts.sum())).sum()
    before = loss(rounded * found.step - rows, curvature) + price * bits
    assert loss(found.values - rows, curvature) + price * found.bits < 0.9 * before


def test_codes_lie_in_the_range_of_int8_at_every_price(rows, curvature):
    for price in PRICES:
        codes = code_rows(1000 * rows, curvature, price).codes
        assert codes.dtype == np.int8 and codes.min() >= -127


def test_no_price_makes_steps_larger_than_all_weights(rows, curvature):
    assert code_rows(rows, curvature, 1e12).step.max() <= np.abs(rows).max()


def test_no_price_leaves_nothing_but_zeros(rows, curvature):
    assert np.count_nonzero(code_rows(rows, curvature, 1e12).codes) == 1
    assert not code_rows(0 * rows, curvature, 1e12).codes.any()


def test_one_step_is_one_step(rows, curvature):
    assert len(np.unique(code_rows(rows, curvature, 1e-4, same_step=True).step)) == 1


def test_zero_rows_stay_zero(rows, curvature):
    rows = rows.copy()
    rows[:, 3] = 0
    found = code_rows(rows, curvature, 1e-2)
    assert not found.codes[:, 3].any() and np.isfinite(found.step).all()


@pytest.mark.parametrize("price", [-1.0, np.nan])
def test_bad_price_or_rows_get_a_sentence(rows, curvature, price):
    with pytest.raises(EdgenetsError, match="NaN or an infinity"):
        code_rows(rows, curvature, price)
    with pytest.raises(EdgenetsError, match="NaN or an infinity"):
        code_rows(rows * np.float32(np.inf), curvature, 0.1)


def test_curvature_that_is_none_gets_a_sentence(rows, curvature):
    with pytest.raises(EdgenetsError, match="pass more calibration images"):
        code_rows(rows, -curvature, 0.1)


@pytest.mark.parametrize(
    "shape, groups, channels", [((3, 3, 4, 6), 2, 6), ((3, 3, 5, 1), 5, 5), ((7, 4), 1, 4)]
)
def test_rows_of_any_kernel_go_back(shape, groups, channels):
    kernel = np.arange(np.prod(shape)).reshape(shape)
    rows = to_rows(kernel, groups, channels)
    assert rows.shape == (groups, channels // groups, kernel.size // channels)
    np.testing.assert_array_equal(to_kernel(rows, shape), kernel)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Conv2D(6, 3, strides=2, padding="same"),
        keras.layers.Conv2D(6, 2, groups=2),
        keras.layers.DepthwiseConv2D(3, depth_multiplier=2),
        keras.layers.Conv2D(6, 1),
    ],
)
def test_rows_times_what_they_see_is_the_layer_s_output(layer: keras.layers.Layer):
    inputs = np.random.default_rng(0).normal(size=(2, 7, 7, 4)).astype(np.float32)
    output = layer(keras.Input((7, 7, 4)))
    model_output = layer(inputs).numpy()
    channels = output.shape[-1]
    seen = seen_by(layer, tf.constant(inputs)).numpy()
    rows = to_rows(kernel_of(layer).numpy(), groups_of(layer), channels)
    product = np.einsum("npgk,grk->npgr", seen, rows).reshape(model_output.shape)
    np.testing.assert_allclose(product, model_output, rtol=1e-4, atol=1e-5)


def test_curvature_tells_what_an_error_costs(net: keras.Model):
    curvatures = measure_curvatures(net, IMAGES[:25], 5, seed=0)  # batches of 10, 10 and 5
    reference = net(IMAGES).numpy()
    for layer in net.layers:
        if not kernel_axes(layer):
            continue
        curvature = curvatures[layer.name]
        groups, channels = curvature.matrix.shape[0], layer.output.shape[-1]
        assert len(curvature.importance) == 5
        changed = fold_batch_norm(net)
        kernel = kernel_of(layer).numpy()
        error = np.random.default_rng(0).normal(scale=1e-2, size=kernel.shape).astype(np.float32)
        kernel_of(changed.get_layer(layer.name)).assign(kernel + error)
        measured = mean_divergence(reference, changed(IMAGES).numpy())
        told = loss(to_rows(error, groups, channels), curvature.matrix)
        assert measured / 4 < told < 4 * measured  # of one random error


def test_curvature_is_the_same_measured_layer_by_layer(net: keras.Model, monkeypatch):
    together = measure_curvatures(net, IMAGES[:25], 5, seed=0)
    monkeypatch.setattr(curvature_module, "MOST_BYTES", 1)
    apart = measure_curvatures(net, IMAGES[:25], 5, seed=0)
    assert list(apart) == list(together)
    for name, curvature in together.items():
        np.testing.assert_allclose(apart[name].matrix, curvature.matrix, rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(apart[name].importance, curvature.importance, rtol=1e-4)


def test_coded_net_is_another_one_and_near(net: keras.Model):
    before = net.get_weights()
    curvatures = measure_curvatures(net, IMAGES, len(IMAGES), seed=0)
    cheap, dear = (code_kernels(net, IMAGES, curvatures, {}, price) for price in (1e-9, 1e-3))
    for weight, now in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, now)
    assert cheap.bits > dear.bits
    reference = net(IMAGES).numpy()
    diverged = [mean_divergence(reference, each.model(IMAGES).numpy()) for each in (cheap, dear)]
    assert diverged[0] < 1e-4 and diverged[0] < diverged[1]
    for name, kernel in dear.kernels.items():
        np.testing.assert_array_equal(kernel_of(dear.model.get_layer(name)), kernel.values)


def test_last_layer_gets_more_bits_and_no_other_one(net: keras.Model, monkeypatch):
    curvatures = measure_curvatures(net, IMAGES, len(IMAGES), seed=0)
    found = []
    for part in (1.0, 16.0):
        monkeypatch.setattr(layerwise, "LAST_PART", part)
        found.append(code_kernels(net, IMAGES, curvatures, {}, 1e-4))
    (*others, last) = curvatures
    for name in others:
        np.testing.assert_array_equal(*(each.kernels[name].codes for each in found))
    assert found[0].bits < found[1].bits
    coarse, fine = (each.kernels[last].scale.max() for each in found)
    assert fine < coarse


def test_free_bits_are_used_and_not_exceeded(net: keras.Model):
    curvatures = measure_curvatures(net, IMAGES, len(IMAGES), seed=0)
    plain = code_kernels(net, IMAGES, curvatures, {}, 1e-3, code_bits=vela_bits)
    first, *_ = curvatures
    size = plain.kernels[first].codes.size
    free = {first: 5.0 * size}
    found = code_kernels(net, IMAGES, curvatures, {}, 1e-3, code_bits=vela_bits, free_bits=free)

    def bits(coded) -> float:
        codes = coded.kernels[first].codes.reshape(1, 1, -1).astype(np.float32)
        places = (codes + 127).astype(int)
        return float(np.take_along_axis(vela_bits(codes), places, axis=2).sum())

    assert bits(plain) < 4 * size < bits(found) <= 5 * size
    assert found.kernels[first].scale.max() < plain.kernels[first].scale.max()


def test_equal_channels_compute_the_same(net: keras.Model):
    equal = equalize_activations(net, IMAGES)
    np.testing.assert_allclose(equal(IMAGES), net(IMAGES), rtol=1e-3, atol=1e-5)


def test_variants_are_crops_of_each_image():
    varied = vary(IMAGES, flip=True, seed=0)
    assert len(varied) == 4 * len(IMAGES)
    np.testing.assert_array_equal(varied[: len(IMAGES)], IMAGES)
    assert varied.min() >= -1 and varied.max() <= 1


def test_only_one_goal_can_be_asked_for():
    with pytest.raises(ValueError, match="pass one of price, budget_bytes, max_kl, budget_cycles"):
        RateSettings(price=1e-6, max_kl=0.1)
    assert [stage.stage for stage in RECIPES["rate"]] == ["rate"]


def test_budget_of_an_npu_has_its_target_and_no_training():
    assert RateSettings(budget_flash="100KB", target="ethos-u55-128").budget_flash == 100_000
    with pytest.raises(ValueError, match="pass its target, too"):
        RateSettings(budget_cycles=300_000)
    with pytest.raises(ValueError, match="trained for packages only"):
        RateSettings(target="ethos-u55-128", epochs=3)
    known = get_args(get_args(RateSettings.model_fields["target"].annotation)[0])
    assert known == tuple(target.name for target in ETHOS_U)


def test_budget_may_be_a_size():
    assert RateSettings(budget_bytes="300KB").budget_bytes == 300_000
    with pytest.raises(ValueError, match="budget_bytes"):
        RateSettings(budget_bytes="little")
