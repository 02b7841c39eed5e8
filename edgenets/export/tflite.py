"""Keras model -> `.tflite` file: float32, or full int8 with labels and image preparation inside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets import flatbuffer
from edgenets.data.images import to_network
from edgenets.errors import EdgenetsError
from edgenets.export.codes import check_codes, with_codes
from edgenets.export.runtime import METADATA_NAME
from edgenets.models.backend import keras, tf
from edgenets.models.codes import Codes
from edgenets.models.folder import Spec
from edgenets.models.grouped import with_native_groups
from edgenets.progress import quiet_stderr
from edgenets.train.fit import check_images

PLACEHOLDERS = 2  # images of noise, where codes say what images would have to tell


def to_float32(model: keras.Model, spec: Spec) -> bytes:
    """Return `model` as a float32 `.tflite` for one image: [-1, 1] in, logits out."""
    return _finish(_converter(model), spec)


def to_int8(
    model: keras.Model,
    spec: Spec,
    calibration: NDArray[np.uint8] | None,
    codes: Codes | None = None,
) -> bytes:
    """Return `model` as an int8 `.tflite` for one image: `pixel - 128` in, int8 logits out.

    Weights are quantized per channel (per tensor in dense layers, for older runtimes), activations
    per tensor by the ranges they take on the calibration images; the integers of `codes` are
    written as they are.

    Args:
        calibration: prepared images `[images, resolution, resolution, 3]`; not needed if `codes`
            has the activations' grids.
        codes: of a folded model.

    Raises:
        EdgenetsError: there is no calibration image (the converter would silently write floats), or
            they do not fit the model, or the codes do not.
    """
    if codes and codes.activations:  # what the converter measures then is replaced
        shape = (PLACEHOLDERS, *model.input_shape[1:])
        calibration = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    if calibration is None or not len(calibration):
        raise EdgenetsError("int8 needs calibration images, got none; pass a folder of images")
    check_images(model, calibration)
    images = calibration.copy()
    # The input's range is [-1, 1] whatever the images hold: one black and one white pixel say so.
    images[0, 0, 0], images[0, -1, -1] = 0, 255

    def representative_dataset() -> Iterator[list[NDArray[np.float32]]]:
        for image in images:
            yield [to_network(image[np.newaxis])]

    converter = _converter(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative_dataset
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    # tflite-runtime has no kernel for dense layers with one scale per channel.
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    content = _finish(converter, spec)
    if codes:
        content = with_codes(content, model, codes)
        check_codes(content, model, codes)
    return content


def _converter(model: keras.Model) -> Any:
    """Prepare a conversion with the batch fixed to 1; an open one costs shape arithmetic."""
    model = with_native_groups(model)
    image = tf.TensorSpec([1, *model.input_shape[1:]], tf.float32, name="image")
    network = tf.function(lambda image: {"logits": model(image, training=False)})
    # The converter saves what it is given to own the weights; a whole Keras model takes five times
    # as long as a list of them.
    owner = tf.Module()
    owner.weights = model.weights
    return tf.lite.TFLiteConverter.from_concrete_functions(
        [network.get_concrete_function(image)], owner
    )


def _finish(converter: Any, spec: Spec) -> bytes:
    with quiet_stderr():
        content = converter.convert()
    described = spec.to_json()
    del described["history"]
    return flatbuffer.with_metadata(content, {METADATA_NAME: json.dumps(described).encode()})
