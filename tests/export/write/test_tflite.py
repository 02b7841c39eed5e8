from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgenets import flatbuffer
from edgenets.data.input_range import CENTRED
from edgenets.errors import EdgenetsError
from edgenets.export.formats import FORMATS
from edgenets.export.measure import promises
from edgenets.export.measure.classifier import Classifier
from edgenets.export.write import tflite
from edgenets.models.backend import keras
from edgenets.models.folder import Model, Spec
from edgenets.models.inference import compile_inference, predict_logits
from edgenets.profile import profile

pytestmark = pytest.mark.slow
# Noise with one bright half, neither black nor white anywhere.
IMAGES = np.random.default_rng(0).integers(20, 100, (20, 32, 32, 3), dtype=np.uint8)
IMAGES[:10, :, :16] += 120
IMAGES[10:, :, 16:] += 120


@pytest.fixture(scope="module")
def model_and_spec(tiny_run: Path) -> tuple[keras.Model, Spec]:
    loaded = Model.load(tiny_run / "stages" / "01-train")
    return loaded.net, loaded.spec


@pytest.fixture(scope="module")
def model(model_and_spec) -> keras.Model:
    return model_and_spec[0]


@pytest.fixture(scope="module")
def spec(model_and_spec) -> Spec:
    return model_and_spec[1]


@pytest.fixture(scope="module")
def int8(model: keras.Model, spec: Spec) -> bytes:
    return tflite.to_int8(model, spec, IMAGES)


@pytest.fixture(scope="module")
def float32(model: keras.Model, spec: Spec) -> bytes:
    return tflite.to_float32(model, spec)


def test_float_file_computes_what_the_model_computes(model, float32: bytes):
    expected = predict_logits(compile_inference(model), IMAGES)
    np.testing.assert_allclose(
        Classifier(float32, input_range=CENTRED).logits(IMAGES), expected, atol=1e-4
    )


def test_int8_file_passes_its_checks(int8: bytes):
    promises.check_structure(int8)


def test_int8_weights_of_the_profile_are_those_of_the_file(model: keras.Model, int8: bytes):
    file = flatbuffer.read(int8)
    stored = sum(tensor.size_bytes for tensor in (*file.weights, *file.biases))
    assert profile(model).int8_weight_bytes == stored


def test_int8_file_takes_pixel_minus_128_whatever_the_calibration_images_hold(int8: bytes):
    image = flatbuffer.read(int8).inputs[0]  # IMAGES hold neither black nor white
    assert float(image.scale[0]) == pytest.approx(2 / 255, rel=1e-4)
    assert int(image.zero_point[0]) == -1


def test_int8_logits_follow_the_model(model, int8: bytes):
    reference = predict_logits(compile_inference(model), IMAGES)
    fidelity = promises.measure_fidelity(int8, IMAGES, reference)
    assert fidelity.snr_db >= 10
    assert fidelity.samples == 20


def test_int8_file_is_well_under_half_of_the_float_file(int8: bytes, float32: bytes):
    assert len(float32) / len(int8) >= 2.7


def test_same_model_gives_the_same_file(model, spec: Spec, int8: bytes):
    assert tflite.to_int8(model, spec, IMAGES) == int8


def test_no_calibration_images_is_an_error(model, spec: Spec):
    with pytest.raises(EdgenetsError, match="int8 needs calibration images, got none"):
        tflite.to_int8(model, spec, IMAGES[:0])


def test_float_file_does_not_pass_as_int8(float32: bytes):
    with pytest.raises(EdgenetsError, match="in float32, not int8; it was not kept"):
        promises.check_structure(float32)


@pytest.mark.parametrize(
    "snr_db, agreement, trained, message",
    [
        (9.9, 1.0, True, "gives logits at 9.9 dB"),
        (30.0, 0.89, True, "agrees with the Keras model on 89.0% of 200 images"),
        (30.0, 0.5, False, None),
        (10.0, 0.9, True, None),
    ],
)
def test_bad_fidelity_is_an_error(snr_db: float, agreement: float, trained: bool, message):
    fidelity = promises.Fidelity(snr_db, agreement, 200)
    if message is None:
        promises.check_fidelity(fidelity, trained=trained)
    else:
        with pytest.raises(EdgenetsError, match=message) as told:
            promises.check_fidelity(fidelity, trained=trained)
        assert str(told.value).endswith(
            "are needed; it was not kept; a net that has learned little answers near ties: train "
            "it longer or begin with trained weights, keep layers float (`keep_float`), or export "
            "in another --format"
        )


def test_what_may_help_a_bad_file_is_what_its_format_has():
    fidelity = promises.Fidelity(9.9, 1.0, 200)
    for name, ending in (
        ("int16x8", "trained weights, or export in another --format"),
        ("fp32", "at least 80 dB are needed; it was not kept"),
    ):
        with pytest.raises(EdgenetsError) as told:
            promises.check_fidelity(fidelity, FORMATS[name], trained=True)
        assert str(told.value).endswith(ending)


def test_snr_is_that_of_its_definition(float32: bytes, model):
    reference = predict_logits(compile_inference(model), IMAGES)
    shifted = reference * np.float32(1.1)  # error of 0.1 / 1.1 of the signal, 20.83 dB
    fidelity = promises.measure_fidelity(float32, IMAGES, shifted)
    assert fidelity.snr_db == pytest.approx(20 * np.log10(11), abs=0.01)
    assert fidelity.agreement == 1.0
    shifted[: len(IMAGES) // 4] *= -1  # the first answer becomes the last
    assert promises.measure_fidelity(float32, IMAGES, shifted).agreement == 0.75
