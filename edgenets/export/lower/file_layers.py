"""Which operator and tensor of a `.tflite` is which layer's of the model that it was made of.

Tensors are found by their names, which hold the names of the layers that compute them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.flatbuffer import Operator, Tensor
from edgenets.models.backend import keras
from edgenets.models.folder import Spec
from edgenets.quantize.layers import check_patterns, kernel_axes

T = TypeVar("T", bound=np.generic)


def weighted(file: flatbuffer.Model, model: keras.Model) -> Iterator[tuple[Operator, str]]:
    """Yield the operators with a kernel and the layer that each computes."""
    unpacked = file.unpacked
    layers = {layer.name: 0 for layer in model.layers if hasattr(layer, "use_bias")}
    for operator in file.operators:
        if operator.name in flatbuffer.WEIGHTED:
            kernel = file.tensors[unpacked.get(operator.inputs[1], operator.inputs[1])]
            # One kernel of several layers, as channels that are selected alike have, is no one's.
            is_named = any(part in layers for part in re.split("[/;]", kernel.name))
            yield (
                operator,
                _layer_of(kernel if is_named else file.tensors[operator.outputs[0]], layers),
            )


def activations(file: flatbuffer.Model, model: keras.Model) -> Iterator[tuple[int, str]]:
    """Yield each activation's index and the layer that computes it, in execution order.

    Around a layer kept float, QUANTIZE's output is the layer's too, and that of DEQUANTIZE is
    nothing new and left out.
    """
    order = {layer.name: position for position, layer in enumerate(model.layers)}
    (image,), (logits,) = file.input_indices, file.output_indices
    quantized = {
        operator.outputs[0]: operator.inputs[0]
        for operator in file.operators
        if operator.name == "QUANTIZE"
    }
    # What the converter names after no layer: the logits, before and after QUANTIZE.
    layers = dict.fromkeys((logits, quantized.get(logits, logits)), model.output.node.layer.name)
    yield image, model.input.node.layer.name
    for operator in file.operators:
        for index in operator.outputs if operator.name != "DEQUANTIZE" else ():
            if index not in layers:
                known = layers.get(quantized.get(index, -1))
                layers[index] = known or _layer_of(file.tensors[index], order)
            yield index, layers[index]


def quantized_activations(file: flatbuffer.Model, model: keras.Model) -> Iterator[tuple[int, str]]:
    """Yield those of `activations` that are rounded to a grid."""
    for index, layer in activations(file, model):
        if file.tensors[index].scale.size:
            yield index, layer


def layers_kept_float(model: keras.Model, spec: Spec) -> list[str]:
    """Return the layers of `model` that an int8 file computes in float32.

    Raises:
        EdgenetsError: a pattern of `spec` matches no layer.
    """
    check_patterns(model, spec.keep_float)
    return [
        layer.name for layer in model.layers if kernel_axes(layer) and spec.keeps_float(layer.name)
    ]


def operators_of(
    file: flatbuffer.Model, model: keras.Model, layers: Collection[str]
) -> tuple[Operator, ...]:
    """Return the operators with a kernel that compute `layers`.

    Raises:
        EdgenetsError: one of them has none.
    """
    found = [(operator, layer) for operator, layer in weighted(file, model) if layer in layers]
    if missing := set(layers) - {layer for _, layer in found}:
        raise EdgenetsError(
            f"the converter wrote no operator for {min(missing)} that could be kept float; "
            "quantize it too"
        )
    return tuple(operator for operator, _ in found)


def in_file_layout(kernel: NDArray[T], tensor: Tensor) -> NDArray[T]:
    """Return a Keras kernel in the layout of the file: output channels first, depthwise last.

    Args:
        kernel: `[..., in, out]`, or depthwise `[height, width, in, multiplier]`.
        tensor: the file's kernel.
    """
    # A convolution with a single output has a shape of either kind, and the same order in both.
    if kernel.ndim == 4 and tensor.shape == (1, *kernel.shape[:2], math.prod(kernel.shape[2:])):
        return kernel.reshape(tensor.shape)
    return np.moveaxis(kernel, -1, 0)


def _layer_of(tensor: Tensor, order: Mapping[str, int]) -> str:
    """Return the layer named in the tensor's name; the last one, if it joins several."""
    named = [part for part in re.split("[/;]", tensor.name) if part in order]
    if not named:
        raise EdgenetsError(
            f"the converter named the tensor {tensor.name} after no layer of the model; "
            "its integers cannot be set"
        )
    return max(named, key=order.__getitem__)
