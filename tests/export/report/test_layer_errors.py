"""Which layer an int8 file's error comes from."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest

from edgenets.data.images import Preparation
from edgenets.errors import EdgenetsError
from edgenets.export.measure import promises
from edgenets.export.report.layer_errors import LayerError, measure_error, worst_layers
from edgenets.export.report.layer_errors_plot import draw_errors
from edgenets.export.write import tflite
from edgenets.export.write.codes import read_grids
from edgenets.models.backend import keras
from edgenets.models.codes import Codes, Grid, KernelCodes
from edgenets.models.fold import fold_batch_norm
from edgenets.models.folder import Spec
from edgenets.quantize.stages.codebook import share_codes
from edgenets.quantize.stages.int8 import quantize_kernels

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
LAYERS = ("conv", "pointwise", "pool", "logits")
ERRORS = [
    LayerError("stem_conv", "Conv2D", 40.0, 40.0, 47.5),
    LayerError("block1_conv", "Conv2D", 31.2, 32.0, 44.0),
    LayerError("block1_concat", "Concatenate", 31.0, 200.0, None),
    LayerError("logits", "Dense", 30.5, 38.0, 200.0),
]


@pytest.fixture(scope="module")
def model(build_net: Callable) -> keras.Model:
    return fold_batch_norm(build_net())


@pytest.fixture(scope="module")
def codes(model: keras.Model) -> Codes:
    """The integers of plain int8, of which the tests change some."""
    kernels = quantize_kernels(fold_batch_norm(model))
    content = tflite.to_int8(with_kernels(model, kernels), spec(), PIXELS, Codes(kernels, {}))
    return Codes(kernels, read_grids(content, model))


def spec() -> Spec:
    return Spec("tiny", {"classes": 2}, ("above", "below"), Preparation(8, 8), seed=0)


def with_kernels(model: keras.Model, kernels: dict[str, KernelCodes]) -> keras.Model:
    """Return a copy of the model with the kernels that the codes say."""
    copy = fold_batch_norm(model)
    for name, kernel in kernels.items():
        copy.get_layer(name).kernel.assign(kernel.values)
    return copy


def measure(model: keras.Model, codes: Codes) -> dict[str, LayerError]:
    content = tflite.to_int8(with_kernels(model, codes.kernels), spec(), None, codes)
    return {error.layer: error for error in measure_error(content, model, PIXELS)}


@pytest.fixture(scope="module")
def plain(model: keras.Model, codes: Codes) -> dict[str, LayerError]:
    return measure(model, codes)


@pytest.mark.slow
def test_every_layer_that_computes_is_measured_in_order(plain: dict[str, LayerError]):
    assert tuple(plain) == LAYERS
    kinds = ("Conv2D", "Conv2D", "GlobalAveragePooling2D", "Dense")
    assert tuple(error.kind for error in plain.values()) == kinds
    assert [error.weight_snr_db is None for error in plain.values()] == [0, 0, 1, 0]


@pytest.mark.slow
def test_error_of_the_logits_is_that_of_the_file_run_as_usual(
    model: keras.Model, codes: Codes, plain: dict[str, LayerError]
):
    content = tflite.to_int8(with_kernels(model, codes.kernels), spec(), None, codes)
    logits = model(PIXELS / np.float32(127.5) - 1).numpy()
    fidelity = promises.measure_fidelity(content, PIXELS, logits)
    assert plain["logits"].snr_db == pytest.approx(fidelity.snr_db, abs=0.01)


@pytest.mark.slow
def test_first_layer_has_only_its_own_error(plain: dict[str, LayerError]):
    assert plain["conv"].own_snr_db == pytest.approx(plain["conv"].snr_db, abs=0.01)
    assert all(error.snr_db <= error.own_snr_db for error in plain.values())


@pytest.mark.slow
def test_coarse_kernel_is_named_and_its_neighbours_are_not_blamed(
    model: keras.Model, codes: Codes, plain: dict[str, LayerError]
):
    coarse = share_codes(codes.kernels["pointwise"], 4)
    errors = measure(model, Codes({**codes.kernels, "pointwise": coarse}, codes.activations))
    assert worst_layers(list(errors.values()), 1)[0].layer == "pointwise"
    kernel, rounded = model.get_layer("pointwise").kernel.numpy(), coarse.values
    expected = 10 * np.log10(np.sum(kernel**2) / np.sum((rounded - kernel) ** 2))
    assert errors["pointwise"].weight_snr_db == pytest.approx(expected, abs=0.01)
    assert errors["conv"] == plain["conv"]
    inherited, own = errors["logits"].snr_db, errors["logits"].own_snr_db
    assert inherited < plain["logits"].snr_db - 10 < own


@pytest.mark.slow
def test_range_that_clips_is_named(model: keras.Model, codes: Codes, plain: dict[str, LayerError]):
    (grid,) = codes.activations["conv"]
    narrow = {**codes.activations, "conv": (Grid(grid.scale / 8, grid.zero_point),)}
    errors = measure(model, Codes(codes.kernels, narrow))
    assert worst_layers(list(errors.values()), 1)[0].layer == "conv"
    assert errors["conv"].weight_snr_db == plain["conv"].weight_snr_db


@pytest.mark.slow
def test_kernels_that_were_codes_before_have_no_error(model: keras.Model, codes: Codes):
    rounded = with_kernels(model, codes.kernels)
    errors = measure(rounded, codes).values()
    assert {error.weight_snr_db for error in errors} == {promises.MAXIMUM_SNR_DB, None}


@pytest.mark.slow
def test_images_that_do_not_fit_get_a_sentence(model: keras.Model, codes: Codes):
    content = tflite.to_int8(with_kernels(model, codes.kernels), spec(), None, codes)
    with pytest.raises(EdgenetsError, match="needs images to be measured on, got none"):
        measure_error(content, model, PIXELS[:0])
    with pytest.raises(EdgenetsError, match="tiny takes images of 8 x 8 x 3"):
        measure_error(content, model, PIXELS[:, :4])


def test_worst_layers_are_those_with_the_largest_own_error():
    assert [error.layer for error in worst_layers(ERRORS, 2)] == ["block1_conv", "logits"]


def test_plot_names_every_layer_and_is_the_same_each_time():
    svg = draw_errors(ERRORS)
    assert svg == draw_errors(ERRORS)
    texts = {element.text for element in ElementTree.fromstring(svg).iter()}
    assert {error.layer for error in ERRORS} <= texts
    assert b"block1_conv: 31.2 dB, own 32.0 dB, kernel 44.0 dB" in svg
