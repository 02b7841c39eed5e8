"""What tf_keras.applications computes, the nets compute with the weights of its `.h5` files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from edgenets.data.images import Preparation, load_rgb, prepare
from edgenets.data.pixels import to_network
from edgenets.models.backend import keras
from edgenets.models.weights.reading import read_weights

BUILDS = keras.applications
V3 = {"include_preprocessing": False}  # the layer that makes [-1, 1] of pixels
NETS = [
    ("mobilenet_v1", BUILDS.MobileNet, {"alpha": 0.25}, {}),
    ("mobilenet_v2", BUILDS.MobileNetV2, {"alpha": 0.35}, {"width": 0.35}),
    ("mobilenet_v3_large", BUILDS.MobileNetV3Large, {"alpha": 0.75, **V3}, {"width": 0.75}),
    ("mobilenet_v3_small", BUILDS.MobileNetV3Small, V3, {}),
    (
        "mobilenet_v3_small",
        BUILDS.MobileNetV3Small,
        {"minimalistic": True, **V3},
        {"minimalistic": "true"},
    ),
    ("inception_v3", BUILDS.InceptionV3, {}, {}),
    ("xception", BUILDS.Xception, {}, {}),
]


def advance_keras_counters() -> None:
    """Make the next layers without a name begin at numbers that differ from kind to kind."""
    for _ in range(7):
        keras.layers.Conv2D(1, 1)
    for _ in range(95):
        keras.layers.BatchNormalization()


def trained_by_chance(build: Callable[..., keras.Model], **arguments) -> keras.Model:
    """Build a net of Keras with random weights and the BatchNorm statistics of random images."""
    random = np.random.default_rng(0)
    model = build(weights=None, input_shape=(96, 96, 3), classes=7, **arguments)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
            for weight in layer.trainable_weights:
                weight.assign(random.uniform(0.5, 1.5, weight.shape))
    model(random.uniform(-1, 1, (4, 96, 96, 3)).astype(np.float32), training=True)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("name, build, theirs, ours", NETS)
def test_net_computes_what_the_keras_build_of_the_file_computes(
    name: str, build: Callable[..., keras.Model], theirs: dict, ours: dict, tmp_path: Path
):
    advance_keras_counters()
    original = trained_by_chance(build, classifier_activation=None, **theirs)
    original.save(tmp_path / "whole.h5")
    original.save_weights(tmp_path / "weights.h5")
    images = np.random.default_rng(1).uniform(-1, 1, (4, 96, 96, 3)).astype(np.float32)
    expected = original(images).numpy()
    assert np.ptp(expected, axis=0).all()
    whole = read_weights(tmp_path / "whole.h5", name, ours)
    weights = read_weights(tmp_path / "weights.h5", name, {**ours, "resolution": 96})
    assert whole.spec.arguments == weights.spec.arguments
    assert whole.spec.arguments["classes"] == 7
    for ours, theirs in zip(whole.net.get_weights(), weights.net.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(whole.net(images), expected, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_the_visual_wake_words_net_computes_what_its_tflite_does(shared_data: Path):
    imported = read_weights(shared_data / "mlperf_tiny" / "vww_96.h5", "mobilenet_v1", {})
    assert imported.spec.labels == ("non_person", "person")
    assert imported.spec.arguments == {
        "resolution": 96,
        "classes": 2,
        "width": 0.25,
        "activation": "relu",
        "pad_value": -1.0,
        "output_stride": 32,
    }
    files = sorted(shared_data.glob("imagenet500/test/*/*.jpg"))
    pixels = np.stack([prepare(load_rgb(file), Preparation(96, 96)) for file in files])
    interpreter = Interpreter(
        str(shared_data / "mlperf_tiny" / "vww_96_float.tflite"),
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    (image,) = interpreter.get_input_details()
    softmax = interpreter._get_ops_details()[-1]
    expected = []
    for example in pixels:
        interpreter.set_tensor(image["index"], example[np.newaxis] / np.float32(255))
        interpreter.invoke()
        expected.append(interpreter.get_tensor(softmax["inputs"][0])[0].copy())
    logits = imported.net.predict(to_network(pixels), verbose=0)
    assert (logits.argmax(1) == np.argmax(expected, 1)).mean() >= 0.99
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-3)
