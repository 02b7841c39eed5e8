"""Where an int8 file's error comes from: the signal-to-noise ratio of every layer.

The file is run in LiteRT as it is run elsewhere, XNNPACK included, but with every tensor kept. What
it computes for a layer is compared with two float results: that of the float net (all error from
the input on), and that of the same layer alone, given what the file computed before it (the
layer's own error: the rounding of its kernel and of its output). A layer kept float has only that
of its output, and none where layers kept float alone read it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets import flatbuffer
from edgenets.data.input_range import CENTRED, input_codes, input_range_of
from edgenets.data.pixels import to_network
from edgenets.errors import EdgenetsError
from edgenets.export.devices.interpreter import interpreter_errors, open_interpreter
from edgenets.export.lower.file_layers import activations, in_file_layout, weighted
from edgenets.export.measure.promises import to_snr_db
from edgenets.flatbuffer import File
from edgenets.models.backend import keras, tf
from edgenets.models.graph import call_layer, walk
from edgenets.models.inference import check_images
from edgenets.quantize.layers import kernel_of
from edgenets.quantize.stages.rounding import MOVING

IMAGES_AT_ONCE = 8

Array = NDArray[np.float32]


class LayerError(NamedTuple):
    """How well the file follows the float net in one layer; 200 dB stand for no error."""

    layer: str  # the last one of those that the file computes in one, as an addition and its ReLU
    kind: str  # Keras's name
    snr_db: float  # of its output, all error from the input on included
    own_snr_db: float  # of its output, against float on the file's inputs to it
    weight_snr_db: float | None  # of its kernel; None without one


class _Tensors(NamedTuple):
    """Where a file has the outputs of layers: indices of tensors by layer."""

    outputs: dict[str, int]
    unrounded: dict[str, int]  # of layers kept float whose output is rounded: before that
    kept: frozenset[str]  # layers kept float, which read unrounded outputs where there are any


class _Outputs(NamedTuple):
    """A layer's output for some images, `[images, ...]`."""

    exact: tf.Tensor  # of the float net
    alone: tf.Tensor  # of the layer in float, on the file's inputs to it
    rounded: tf.Tensor  # as the file computes it
    unrounded: tf.Tensor  # as layers kept float read it


class Comparison(NamedTuple):
    """A layer's output for some images, `[images, ...]`."""

    layer: str
    file: Array  # as the file computes it
    model: Array  # as the float net does
    alone: Array  # as the float layer does from what the file computed before


def measure_error(
    source: File | bytes, model: keras.Model, images: NDArray[np.uint8]
) -> list[LayerError]:
    """Compare every layer of an int8 file with the float net that it was made of.

    Layers that only move values, as pooling by the largest or a channel shuffle, have no error of
    their own and are left out.

    Args:
        source: the file, its tensors named after the layers that compute them.
        model: the folded float net.
        images: prepared, `[images, resolution, resolution, 3]`; better others than those that the
            file was calibrated on.

    Returns:
        The layers in the order in which the file computes them.

    Raises:
        EdgenetsError: there are no images or they do not fit the model, or the file is not of it.
    """
    if not len(images):
        raise EdgenetsError("the error of an int8 file needs images to be measured on, got none")
    check_images(model, images)
    file, content = flatbuffer.model_of(source), flatbuffer.content_of(source)
    tensors = _find_tensors(file, model)
    sums: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(4))
    indices = {*tensors.outputs.values(), *tensors.unrounded.values()}
    interpreter = open_interpreter(content, keep_tensors=True)
    for start in range(0, len(images), IMAGES_AT_ONCE):
        batch = images[start : start + IMAGES_AT_ONCE]
        with interpreter_errors(content):
            outputs = _run(interpreter, file, indices, batch)
        for compared in _compare(model, batch, tensors, outputs):
            sums[compared.layer] += _signals_and_errors(compared)
    kernels = _kernel_snr_db(file, model)
    return [
        LayerError(
            layer,
            type(model.get_layer(layer)).__name__,
            round(to_snr_db(*sums[layer][:2]), 2),
            round(to_snr_db(*sums[layer][2:]), 2),
            kernels.get(layer),
        )
        for layer in tensors.outputs
    ]


def worst_layers(errors: Sequence[LayerError], count: int) -> list[LayerError]:
    """Return the `count` layers with the largest error of their own, the worst one first."""
    return sorted(errors, key=lambda error: error.own_snr_db)[:count]


def _find_tensors(file: flatbuffer.Model, model: keras.Model) -> _Tensors:
    outputs = {
        layer: index  # of several tensors of a layer, the last one is its output
        for index, layer in activations(file, model)
        if not isinstance(model.get_layer(layer), MOVING)
    }
    exact = {
        operator.outputs[0]: operator.inputs[0]
        for operator in file.operators
        if operator.name == "QUANTIZE" and not file.tensors[operator.inputs[0]].scale.size
    }
    kept = [
        layer
        for operator, layer in weighted(file, model)
        if not file.tensors[operator.inputs[1]].scale.size
    ]
    unrounded = {layer: exact[index] for layer, index in outputs.items() if index in exact}
    return _Tensors(outputs, unrounded, frozenset(kept))


def _run(
    interpreter: Any,
    file: flatbuffer.Model,
    indices: Collection[int],
    images: NDArray[np.uint8],
) -> dict[int, Array]:
    """Return by tensor what the file computes for the images, `[images, ...]` dequantized."""
    (image,) = file.input_indices
    codes = input_codes(file.inputs[0], input_range_of(file, given=CENTRED))
    outputs: dict[int, list[Array]] = {index: [] for index in indices}
    for pixels in images:
        interpreter.set_tensor(image, codes[pixels][np.newaxis])
        interpreter.invoke()
        for index in indices:
            tensor, value = file.tensors[index], interpreter.get_tensor(index).astype(np.float32)
            if tensor.scale.size:
                value = (value - tensor.zero_point[0]).astype(np.float32) * tensor.scale[0]
            outputs[index].append(value)
    return {index: np.stack(values) for index, values in outputs.items()}


def _compare(
    model: keras.Model,
    images: NDArray[np.uint8],
    tensors: _Tensors,
    outputs: Mapping[int, Array],
) -> Iterator[Comparison]:
    """Yield what the layers of `tensors` give in the file, in the float net, and alone."""

    def visit(layer: keras.layers.Layer, inputs: list[_Outputs]) -> _Outputs:
        name = layer.name
        if not inputs:
            return _Outputs(*[to_network(images)] * 4)
        exact = call_layer(layer, [each.exact for each in inputs])
        is_kept = name in tensors.kept
        read = [each.unrounded if is_kept else each.rounded for each in inputs]
        alone = rounded = call_layer(layer, read)
        if name in tensors.outputs:  # else its reader's tensor is the first one to be rounded
            rounded = _like(outputs[tensors.outputs[name]], alone, name)
        unrounded = rounded
        if name in tensors.unrounded:
            unrounded = _like(outputs[tensors.unrounded[name]], alone, name)
        return _Outputs(exact, alone, rounded, unrounded)

    for layer, found in walk(model, visit):
        if layer.name in tensors.outputs:
            yield Comparison(layer.name, found.rounded, found.exact.numpy(), found.alone.numpy())


def _like(output: Array, alone: tf.Tensor, layer: str) -> Array:
    """Return the file's output in the shape that Keras gives it."""
    if output.size != tf.size(alone):
        raise EdgenetsError(
            f"the file computes {output.shape[1:]} for {layer}, the model {alone.shape[1:]}; "
            "their error cannot be compared"
        )
    return output.reshape(alone.shape)


def _signals_and_errors(compared: Comparison) -> NDArray[np.float64]:
    """Return the sums of squares of signal and error against the net, then against the layer."""
    file = compared.file.astype(np.float64)
    return np.array(
        [
            total
            for wanted in (compared.model, compared.alone)
            for total in (np.sum(np.square(wanted, dtype=np.float64)), np.sum((file - wanted) ** 2))
        ]
    )


def _kernel_snr_db(file: flatbuffer.Model, model: keras.Model) -> dict[str, float]:
    """Return the signal-to-noise ratio of each kernel, by the layer that `measure_error` names."""
    named = dict(activations(file, model))
    ratios = {}
    for operator, layer in weighted(file, model):
        tensor = file.tensors[operator.inputs[1]]
        kernel = in_file_layout(kernel_of(model.get_layer(layer)).numpy(), tensor)
        values = tensor.content
        if tensor.scale.size:
            along = [1] * kernel.ndim
            along[tensor.axis] = tensor.scale.size
            values = values * tensor.scale.reshape(along)
        error = values - kernel.astype(np.float64)
        signal = np.sum(np.square(kernel, dtype=np.float64))
        ratios[named[operator.outputs[0]]] = round(
            to_snr_db(float(signal), float(np.sum(error**2))), 2
        )
    return ratios
