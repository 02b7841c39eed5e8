"""A tiny classifier as `.tflite` files, converted by TensorFlow itself and not by edgenets."""

from __future__ import annotations

import json
import os
from typing import NamedTuple

import numpy as np
import pytest

from edgenets import flatbuffer
from edgenets.export.associated import TFLITE_METADATA
from edgenets.export.board.protocol import TFLM, TFLM_PACKAGE
from edgenets.export.devices.local import LocalSession
from edgenets.export.measure.runtimes import SessionRuntime
from edgenets.export.metadata import ENTRY, standard_entry, with_labels
from edgenets.packages import installed_version

LABELS = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu")
RESOLUTION = 8
METADATA = {
    "labels": LABELS,
    "preparation": {
        "resolution": RESOLUTION,
        "resize": RESOLUTION,
        "interpolation": "bilinear",
        "crop": "center",
    },
}


class TinyNet(NamedTuple):
    """One network in several files, and what Keras makes of some images."""

    float32: bytes
    int8: bytes
    softmax_float32: bytes
    softmax_int8: bytes
    pixels: np.ndarray  # [16, 8, 8, 3], uint8
    logits: np.ndarray  # [16, 7], of the Keras model


@pytest.fixture(scope="session")
def tiny_net():
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    import tensorflow as tf
    import tf_keras as keras

    keras.utils.set_random_seed(0)
    image = keras.Input((RESOLUTION, RESOLUTION, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(image)
    x = keras.layers.GlobalAveragePooling2D()(x)
    logits = keras.layers.Dense(len(LABELS), kernel_initializer="random_normal")(x)
    net = keras.Model(image, logits)
    net.layers[-1].set_weights([20 * w for w in net.layers[-1].get_weights()])
    softmax_net = keras.Model(image, keras.layers.Softmax()(logits))

    random = np.random.default_rng(0)
    colours = random.integers(0, 240, (16, 1, 1, 3), np.uint8)
    pixels = colours + random.integers(0, 16, (16, RESOLUTION, RESOLUTION, 3), np.uint8)
    pixels[0, 0, 0], pixels[0, 0, 1] = 0, 255  # the input's range is [-1, 1]
    inputs = (pixels / 127.5 - 1).astype(np.float32)

    def convert(model, int8):
        batch_of_one = tf.TensorSpec((1, RESOLUTION, RESOLUTION, 3), tf.float32)
        function = tf.function(model).get_concrete_function(batch_of_one)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], model)
        if int8:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([one[np.newaxis]] for one in inputs)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.int8
        return converter.convert()

    return TinyNet(
        convert(net, int8=False),
        convert(net, int8=True),
        convert(softmax_net, int8=False),
        convert(softmax_net, int8=True),
        pixels,
        net(inputs).numpy(),
    )


@pytest.fixture(scope="session")
def tiny_int8_file(tiny_net, tmp_path_factory):
    """The path of the int8 file with labels and image preparation."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.tflite"
    path.write_bytes(with_edgenets_metadata(tiny_net.int8, METADATA))
    return path


@pytest.fixture
def run_tflm():
    """A function from a file's content and its inputs to its first output in TFLM."""
    if installed_version(TFLM_PACKAGE) is None:
        pytest.skip("tflite-micro is not installed")
    with LocalSession() as session:
        runtime = SessionRuntime(TFLM, session, TFLM)
        yield lambda content, inputs: runtime.run(content, inputs).outputs[0]


@pytest.fixture
def tiny_metadata():
    return METADATA


@pytest.fixture
def with_metadata():
    """A function from a file's content and JSON metadata to the content that holds it."""
    return with_edgenets_metadata


def with_edgenets_metadata(content, metadata):
    """Add what edgenets writes: JSON, and labels behind the model."""
    entry = {key: value for key, value in metadata.items() if key != "labels"}
    content = flatbuffer.with_metadata(content, {ENTRY: json.dumps(entry).encode()})
    if "labels" not in metadata:
        return content
    content = flatbuffer.with_metadata(content, {TFLITE_METADATA: standard_entry("tiny")})
    return with_labels(content, metadata["labels"])
