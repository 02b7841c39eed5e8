"""Give a `.tflite` exactly the integers of a model folder, and read them from a file.

The converter decides which tensors there are; which numbers they hold is replaced in its file.
Tensors are found by their names, which hold the names of the layers that compute them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.export.lower.file_layers import in_file_layout, quantized_activations, weighted
from edgenets.flatbuffer import File, Quantized, Tensor
from edgenets.models.backend import keras
from edgenets.models.codes import Codes, Grid, KernelCodes
from edgenets.models.graph import find_readers
from edgenets.models.layers import HARD_SIGMOID_SHIFT, hard_sigmoid
from edgenets.quantize.layers import kernel_of

LARGEST_BIAS = {"int32": 2**31 - 1, "int64": 2**62}  # float64 has no 2**63 - 1
FLOAT32_STEPS = 4  # a bias may be off by this many roundings of float32


def read_grids(source: File | bytes, model: keras.Model) -> dict[str, tuple[Grid, ...]]:
    """Return the grids of the file's activations, by the layers of `model` that compute them."""
    grids: dict[str, tuple[Grid, ...]] = {}
    file = flatbuffer.model_of(source)
    for index, layer in quantized_activations(file, model):
        tensor = file.tensors[index]
        grid = Grid(float(tensor.scale[0]), int(tensor.zero_point[0]))
        grids[layer] = (*grids.get(layer, ()), grid)
    return grids


def set_codes(coded: File, model: keras.Model, codes: Codes) -> None:
    """Give the file of the folded `model` the integers of `codes` in its int8 kernels.

    Activations keep the file's grids if `codes` has none. Quantized biases are the model's, in the
    steps that the kernels and inputs ask for. Float kernels and biases stay: they are the model's.

    Raises:
        EdgenetsError: the file's tensors are not those of `codes`.
    """
    file = coded.model
    replaced = _new_grids(file, model, codes) if codes.activations else {}
    readers = find_readers(model)
    for operator, layer in weighted(file, model):
        source, kernel, bias = operator.inputs  # bias is -1 where the model's is all zero
        if file.tensors[kernel].dtype != "int8":
            continue
        if layer not in codes.kernels:
            raise EdgenetsError(
                f"codes.safetensors lacks the integers of {layer}; compress again or keep it float"
            )
        codes_in_file = _file_codes(codes.kernels[layer], file.tensors[kernel], layer)
        grid = replaced[source] if source in replaced else file.tensors[source]
        replaced[kernel] = codes_in_file
        if bias >= 0 and (dtype := file.tensors[bias].dtype) in LARGEST_BIAS:
            values = _bias(model.get_layer(layer), readers[layer])
            replaced[bias] = _file_bias(values, codes_in_file.scale * grid.scale, dtype)
            _check_bias(values, file.tensors[bias], layer)
    coded.edit(flatbuffer.set_quantization, replaced)


def check_codes(source: File | bytes, model: keras.Model, codes: Codes) -> None:
    """Check that the file holds the integers of `codes`, or in float kernels their values.

    A float kernel that `codes` does not have must hold the model's values.

    Raises:
        EdgenetsError: it does not; the message names the first layer that differs.
    """
    file = flatbuffer.model_of(source)
    unpacked = file.unpacked
    for operator, layer in weighted(file, model):
        kernel = file.tensors[unpacked.get(operator.inputs[1], operator.inputs[1])]
        if kernel.dtype == "int8":
            wanted = _file_codes(codes.kernels[layer], kernel, layer)
            same = np.array_equal(kernel.scale, wanted.scale)
            same = same and kernel.content.tobytes() == wanted.content
        else:
            coded = codes.kernels.get(layer)
            values = coded.values if coded else kernel_of(model.get_layer(layer)).numpy()
            values = in_file_layout(values, kernel).astype(kernel.dtype)
            same = np.array_equal(kernel.content, values)
        if not same:
            kind = "integers" if kernel.dtype == "int8" else "values"
            raise EdgenetsError(
                f"the file holds other {kind} for {layer} than codes.safetensors; it was not kept"
            )
    if codes.activations and read_grids(source, model) != dict(codes.activations):
        raise EdgenetsError(
            "the file rounds activations otherwise than codes.safetensors says; it was not kept"
        )


def _new_grids(file: flatbuffer.Model, model: keras.Model, codes: Codes) -> dict[int, Quantized]:
    wanted = {layer: list(grids) for layer, grids in codes.activations.items()}
    replaced = {}
    for index, layer in quantized_activations(file, model):
        if not wanted.get(layer):
            raise EdgenetsError(
                f"codes.safetensors lacks the rounding of {layer}'s output; compress again"
            )
        grid = wanted[layer].pop(0)
        replaced[index] = Quantized(
            np.array([grid.scale], np.float32), np.array([grid.zero_point], np.int64)
        )
    if left := [layer for layer, grids in wanted.items() if grids]:
        raise EdgenetsError(
            f"codes.safetensors rounds {left[0]}'s output, which the file does not; compress again"
        )
    return replaced


def _file_codes(kernel: KernelCodes, tensor: Tensor, layer: str) -> Quantized:
    """Return a kernel as the file has it."""
    codes, scale = kernel
    data = in_file_layout(codes, tensor)
    if data.shape != tensor.shape or tensor.scale.size != scale.size:
        raise EdgenetsError(
            f"the codes of {layer} have the shape {data.shape} with {scale.size} scales, the "
            f"file's kernel {tensor.shape} with {tensor.scale.size}; compress again"
        )
    points = np.zeros(scale.size, np.int64)
    return Quantized(scale.reshape(-1), points, data.tobytes())


def _bias(layer: keras.layers.Layer, readers: list[keras.layers.Layer]) -> NDArray[np.float32]:
    """Return the bias that the converter gives the layer: a hard-sigmoid's +3 goes into it."""
    bias = layer.bias.numpy() if layer.use_bias else np.zeros(1, np.float32)
    match readers:
        case [keras.layers.Activation(activation=function)] if function is hard_sigmoid:
            return bias + np.float32(HARD_SIGMOID_SHIFT)
    return bias


def _file_bias(bias: NDArray[np.float32], scale: NDArray[np.float32], dtype: str) -> Quantized:
    largest = LARGEST_BIAS[dtype]
    codes = np.clip(np.rint(bias / scale.astype(np.float64)), -largest, largest)
    return Quantized(scale, np.zeros(scale.size, np.int64), codes.astype(dtype).tobytes())


def _check_bias(bias: NDArray[np.float32], tensor: Tensor, layer: str) -> None:
    """Refuse to replace a bias into which the converter put more than is known here."""
    # In 16 bits a step may be less than float32 resolves.
    resolution = FLOAT32_STEPS * np.finfo(np.float32).eps * np.abs(bias).max()
    if np.abs(tensor.content * tensor.scale - bias).max() > tensor.scale.max() + resolution:
        raise EdgenetsError(
            f"the converter changed the bias of {layer} in a way that is not known; its integers "
            "cannot be set; export without codes.safetensors"
        )
