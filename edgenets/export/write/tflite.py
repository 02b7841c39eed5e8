"""Keras model -> `.tflite` file in one of the formats, its tensors named after the layers.

`edgenets.export.metadata.with_description` makes of it the file that is kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets import flatbuffer
from edgenets.data.pixels import to_network
from edgenets.errors import EdgenetsError
from edgenets.export.formats import FP16, FP32, INT8, INT16X8, Format
from edgenets.export.lower.file_layers import layers_kept_float, operators_of
from edgenets.export.lower.integer_forms import set_exact_shares
from edgenets.export.measure.promises import random_images
from edgenets.export.write.codes import check_codes, set_codes
from edgenets.export.write.converter import converting, in_short, valid_scopes
from edgenets.export.write.inputs_outputs import set_signature
from edgenets.flatbuffer import File
from edgenets.models.backend import keras, tf
from edgenets.models.codes import Codes
from edgenets.models.folder import Spec
from edgenets.models.grouped import with_native_groups
from edgenets.models.inference import check_images
from edgenets.progress import quiet_stderr

PLACEHOLDERS = 2  # images of noise, where codes say what images would have to tell
# Operators by format: names of tf.lite.OpsSet, none of which may compute with floats.
INTEGER_OPS = {
    INT8.name: "TFLITE_BUILTINS_INT8",
    INT16X8.name: "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8",
}
TRACING_ERRORS = (
    *(ValueError, TypeError, AttributeError, RuntimeError, NotImplementedError, tf.errors.OpError),
    *(KeyError, IndexError, AssertionError, ZeroDivisionError),
)
"""What the code of layers raises."""


def to_float32(model: keras.Model, spec: Spec) -> bytes:
    """Return `model` as a float32 `.tflite` for one image: [-1, 1] in, logits out."""
    return to_format(FP32, model, spec).content


def to_int8(
    model: keras.Model,
    spec: Spec,
    calibration: NDArray[np.uint8] | None,
    codes: Codes | None = None,
) -> bytes:
    """Return `model` as an int8 `.tflite` for one image: `pixel - 128` in, int8 logits out.

    Arguments and errors are those of `to_format`.
    """
    return to_format(INT8, model, spec, calibration, codes).content


def to_format(
    number_format: Format,
    model: keras.Model,
    spec: Spec,
    calibration: NDArray[np.uint8] | None = None,
    codes: Codes | None = None,
) -> File:
    """Return `model` as a `.tflite` for one image: the image in, logits out, both in the format.

    8-bit weights are quantized per channel (per tensor in dense layers, for older runtimes),
    integer activations per tensor by the ranges they take on the calibration images. What the file
    holds of `codes` is what the format says. An int8 file computes the layers that `spec` keeps
    float in float32.

    Args:
        number_format: of the file.
        model: of which `spec` is.
        spec: says which layers are kept float.
        calibration: prepared images `[images, resolution, resolution, 3]`, where the format needs
            them; not for int8 if `codes` has the activations' grids.
        codes: of a folded model.

    Raises:
        EdgenetsError: there is no calibration image (the converter would silently write floats), or
            they do not fit the model, or the codes do not, or the converter has no such operator,
            or layers are to be kept float that the model has not or the format cannot.
    """
    if spec.keep_float and number_format.kernel == "int8" and number_format is not INT8:
        raise EdgenetsError(
            f"{number_format.name} cannot keep layers float, and this model keeps "
            f"{', '.join(spec.keep_float)}; export it as int8, fp16 or fp32"
        )
    if codes and number_format is not INT8:
        codes = Codes(codes.kernels, {})  # the grids are of 8 bits
    converter = _converter(model)
    # tflite-runtime has no kernel for dense layers with one scale per channel.
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    if number_format is not FP32:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if number_format is FP16:
        converter.target_spec.supported_types = [tf.float16]
    if number_format.needs_calibration:
        if codes and codes.activations:  # what the converter measures then is replaced
            calibration = random_images(model.input_shape[1], PLACEHOLDERS)
        images = _calibration(model, calibration, number_format)
        converter.representative_dataset = lambda: ([to_network(image)] for image in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet[INTEGER_OPS[number_format.name]]]
        converter.inference_input_type = tf.as_dtype(number_format.activation)
        converter.inference_output_type = tf.as_dtype(number_format.activation)
    kept = layers_kept_float(model, spec) if number_format is INT8 else []
    file = _convert(converter, model, kept, number_format)
    if number_format is INT8:
        set_exact_shares(file, model)
    if codes:
        set_codes(file, model, codes)
        check_codes(file, model, codes)
    return file


def to_sparse(model: keras.Model) -> File:
    """Return `model` as a float32 `.tflite` whose kernels of many zeros are stored without them.

    XNNPACK on ARM computes 1x1 convolutions of such kernels sparsely, under conditions (see
    `edgenets.export.lower.lower.runs_sparsely`); elsewhere they are unpacked when the file is
    opened.
    """
    converter = _converter(model)
    converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    return _convert(converter, model, [], FP32)


def _calibration(
    model: keras.Model, images: NDArray[np.uint8] | None, number_format: Format
) -> NDArray[np.uint8]:
    """Return the images one by one, `[images, 1, resolution, resolution, 3]`."""
    if images is None or not len(images):
        raise EdgenetsError(
            f"{number_format.name} needs calibration images, got none; pass a folder of images"
        )
    check_images(model, images)
    if images.min() == images.max():
        raise EdgenetsError(
            f"{number_format.name} needs calibration images of what the net will see, and every "
            f"pixel of these is {images.min()}; pass a folder of other images"
        )
    images = images.copy()
    # The input's range is [-1, 1] whatever the images hold: one black and one white pixel say so.
    images[0, 0, 0], images[0, -1, -1] = 0, 255
    return images[:, np.newaxis]


def _converter(model: keras.Model) -> Any:
    """Prepare a conversion with the batch fixed to 1; an open one costs shape arithmetic."""
    model = with_native_groups(model)
    image = tf.TensorSpec([1, *model.input_shape[1:]], tf.float32, name="image")
    network = tf.function(lambda image: {"logits": model(image, training=False)})
    with valid_scopes(model):
        try:
            function = network.get_concrete_function(image)
        except TRACING_ERRORS as error:
            raise EdgenetsError(
                f"TensorFlow cannot trace {model.name} ({in_short(error)}); let its layers compute "
                "with TensorFlow's operations alone"
            ) from error
    # The model keeps the variables, of which the function has only weak references.
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], model)
    # From the graph itself: writing a SavedModel, and reading it again, takes twice as long.
    converter.experimental_lower_to_saved_model = False
    return converter


def _convert(converter: Any, model: keras.Model, kept: list[str], number_format: Format) -> File:
    graph = converter._funcs[0].graph
    with quiet_stderr(), converting(model, number_format.name, graph):
        content = _quantize_others(converter, model, kept) if kept else converter.convert()
    file = File(content)
    file.edit(set_signature)
    return file


def _quantize_others(converter: Any, model: keras.Model, kept: list[str]) -> bytes:
    """Convert to int8 but for the layers `kept`, as TensorFlow's QuantizationDebugger does.

    The converter has no setting for it, but its two halves do: the calibrated float file names the
    operators, and the quantizer takes the names of those to leave alone.
    """
    from tensorflow.lite.python.convert import mlir_quantize

    converter._experimental_calibrate_only = True
    calibrated = converter.convert()
    file = flatbuffer.read(calibrated)
    content: bytes = mlir_quantize(
        calibrated,
        input_data_type=converter.inference_input_type,
        output_data_type=converter.inference_output_type,
        disable_per_channel_for_dense_layers=True,
        denylisted_nodes={
            file.tensors[index].name
            for operator in operators_of(file, model, kept)
            for index in operator.outputs
        },
    )
    return content
