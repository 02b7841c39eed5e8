"""A MobileNet V1 or V2 from a `.tflite` file of 8-bit integers, by dequantizing its weights.

BatchNorm is folded into its convolutions already, so the net gets BatchNorms that only add the
bias. What range the file takes is decided as wherever one is run (`edgenets.data.input_range`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets import flatbuffer
from edgenets.data.input_range import BYTES, Range, input_range_of
from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras
from edgenets.models.registry import NETS
from edgenets.models.weights.convolutions import (
    Convolution,
    InputMap,
    build_net,
    file_arguments,
    set_convolutions,
)

READ = ("mobilenet_v1", "mobilenet_v2")
RELU6_TOP = 6.01  # 6, as an 8-bit range that was rounded may show it


def read_tflite(
    path: Path, name: str, arguments: Mapping[str, Any], input_range: Range | None = None
) -> tuple[keras.Model, dict[str, Any]]:
    """Build the net `name` with the weights of the int8 or uint8 `.tflite` file `path`.

    A softmax at the file's end is left out, as every net returns logits. `input_range` is what the
    file takes for black and white, where it does not say.

    Returns:
        The net and all arguments it was built with. Those that are not given are the file's;
        `classes` is always the file's.

    Raises:
        EdgenetsError: the file is damaged, or not of that net in 8 bits, no such files are read for
            that net, or nothing says what its input takes.
    """
    file = flatbuffer.read(path)
    if name not in READ:
        raise EdgenetsError(
            f"weights of {name} cannot be read from a .tflite, only those of {' and '.join(READ)}; "
            "pass an .h5"
        )
    convolutions = _convolutions(file, path)
    input_map = _input_map(file, path, input_range)
    activation = _activation(file)
    settings = {"resolution": file.inputs[0].shape[1], "activation": activation}
    told = file_arguments(name, [x.kernel.shape for x in convolutions], settings)
    model, complete = build_net(name, {**told, **arguments, "classes": told["classes"]}, input_map)
    set_convolutions(model, convolutions, input_map, path)
    _require_computation(file, model, activation, path)
    return model, complete


def _convolutions(file: flatbuffer.Model, path: Path) -> list[Convolution]:
    """Return the convolutions and the dense layer in the order in which they run."""
    convolutions: list[Convolution] = []
    for operator in file.operators:
        if operator.name not in flatbuffer.WEIGHTED:
            continue
        name = f"{operator.name} {len(convolutions)}"
        tensors = [_dequantize(file.tensors[i], name, path) for i in operator.inputs[1:] if i >= 0]
        if not tensors or tensors[0].ndim not in (2, 4):
            raise _unfit(path, f"{name} has no kernel")
        kernel, *bias = tensors
        # [out, height, width, in], [1, height, width, channels] or [out, in].
        kernel = kernel.T[None, None] if kernel.ndim == 2 else np.moveaxis(kernel, 0, -1)
        convolutions.append(Convolution(name, kernel, bias[0] if bias else None))
    if len(convolutions) < 2:
        raise _unfit(path, f"it has {len(convolutions)} convolutions")
    return convolutions


def _dequantize(tensor: flatbuffer.Tensor, name: str, path: Path) -> NDArray[np.float32]:
    """Return the values of a constant: scale * (code - zero point), per tensor or channel."""
    scale, zero_point, shape = tensor.scale, tensor.zero_point, tensor.shape
    if tensor.data is None or tensor.data.shape != shape or not 0 <= tensor.axis < len(shape):
        raise _unfit(path, f"{name} has no plain weights")
    if scale.size not in (1, shape[tensor.axis]) or scale.size != zero_point.size:
        raise _unfit(path, f"{name} has {scale.size} scales for {shape[tensor.axis]} channels")
    along = [1] * len(shape)
    along[tensor.axis] = -1
    codes = tensor.data.astype(np.int64) - zero_point.reshape(along)
    with np.errstate(over="ignore", invalid="ignore"):  # a damaged scale; refused when it is set
        return (codes * scale.astype(np.float64).reshape(along)).astype(np.float32)


def _input_map(file: flatbuffer.Model, path: Path, given: Range | None) -> InputMap:
    """Return which values the file's net takes for black and for white, made of ours."""
    if len(file.inputs) != 1:
        raise _unfit(path, f"it has {len(file.inputs)} inputs")
    image = file.inputs[0]
    is_quantized = image.scale.size == image.zero_point.size == 1
    if len(image.shape) != 4 or image.dtype not in BYTES or not is_quantized:
        raise _unfit(path, f"its input is {image.dtype} {list(image.shape)}")
    black, white = (np.broadcast_to(end, 3) for end in input_range_of(file, str(path), given))
    maps = [InputMap.of_range(*map(float, ends)) for ends in zip(black, white, strict=True)]
    if not np.allclose([each.scale for each in maps], maps[0].scale):
        raise _unfit(path, "it scales red, green and blue by different numbers")
    red, green, blue = (each.offset[0] for each in maps)
    return maps[0]._replace(offset=(red, green, blue))


def _activation(file: flatbuffer.Model) -> str:
    """Return which ReLU bounds the maps: no code of a map behind a ReLU6 stands for more than 6."""
    convolutions = [o for o in file.operators if o.name in flatbuffer.WEIGHTED]
    maps = [file.tensors[i] for o in convolutions[:-1] for i in o.outputs]
    # The lowest code of a map behind a ReLU stands for 0; that of a linear one for less.
    bounded = [x for x in maps if x.zero_point.tolist() == [BYTES.get(x.dtype)]]
    highest = max((255 * float(x.scale.max(initial=0)) for x in bounded), default=0)
    return "relu6" if highest < RELU6_TOP else "relu"


def _require_computation(
    file: flatbuffer.Model, model: keras.Model, activation: str, path: Path
) -> None:
    """Refuse a file with the kernels of `model` that does something else between them."""
    sums = sum(operator.name == "ADD" for operator in file.operators)
    own_sums = sum(isinstance(layer, keras.layers.Add) for layer in model.layers)
    if sums != own_sums:
        raise _unfit(path, f"it has {sums} additions, {model.name} has {own_sums}")
    if "activation" not in NETS[model.name].arguments and activation != "relu6":
        raise _unfit(path, f"its maps go beyond 6, where {model.name} has ReLU6")


def _unfit(path: Path, reason: str) -> EdgenetsError:
    return EdgenetsError(
        f"{path} is not an int8 or uint8 {' or '.join(READ)} ({reason}); pass one, or the .h5 it "
        "was made of"
    )
