"""SqueezeNet v1.0 as Deep Compression stored it: the `.net` file of its authors.

Little endian: 26 uint32, how many weights each layer keeps; then for each layer its codebook of 256
float32, its bias, a codebook index (uint8) for each kept weight, and in 4 bits, low ones first, how
many weights are left out before it. Longer gaps are bridged by kept weights with the index 0, which
is also that of every weight left out.

Source: arXiv:1510.00149, section 2; github.com/songhan/SqueezeNet-Deep-Compression.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets.data.pixels import MIDDLE
from edgenets.errors import EdgenetsError
from edgenets.files import read_bytes
from edgenets.models.backend import keras
from edgenets.models.registry import NETS, complete_arguments
from edgenets.models.weights.convolutions import (
    INDEPENDENT,
    Convolution,
    InputMap,
    Shape,
    build_net,
    set_convolutions,
    slots,
)

NET = "squeezenet"
CLASSES = 1000
CODEBOOK = 256
CAFFE_INPUT = InputMap(  # 0 to 255 less the mean of the training images; R, G, B
    scale=MIDDLE, offset=(MIDDLE - 123, MIDDLE - 117, MIDDLE - 104), bgr=True
)


def read_deep_compression(
    path: Path, arguments: Mapping[str, Any]
) -> tuple[keras.Model, dict[str, Any]]:
    """Build SqueezeNet v1.0 with the weights of the `.net` file `path`.

    Returns:
        The net, which takes RGB in [-1, 1] like every other, and all arguments it was built with.

    Raises:
        EdgenetsError: the file is no such file or cut short, or the arguments name another net.
    """
    complete = complete_arguments(NET, arguments)
    for argument, value in NETS[NET].arguments.items():
        if argument not in INDEPENDENT and complete[argument] != value:
            raise EdgenetsError(
                f"{path} holds weights of squeezenet with {argument}={value}, got {argument}="
                f"{complete[argument]}; leave {argument} out"
            )
    model, complete = build_net(NET, {**arguments, "classes": CLASSES}, CAFFE_INPUT)
    shapes = {slot.layer.name: slot.kernel_shape for slot in slots(model)}
    convolutions = decode_layers(read_bytes(path), shapes, path)
    set_convolutions(model, convolutions, CAFFE_INPUT, path)
    return model, complete


def decode_layers(content: bytes, shapes: Mapping[str, Shape], path: Path) -> list[Convolution]:
    """Return the layers of a `.net` file in its order, as Caffe computes them: from B, G, R.

    Args:
        content: of the file.
        shapes: the kernels' shapes `[height, width, in, out]` by name, in the same order.
        path: names the file in messages.

    Raises:
        EdgenetsError: it is no such file, or is cut short.
    """
    position = 0

    def unfit(reason: str) -> EdgenetsError:
        return EdgenetsError(
            f"{path} is not a whole Deep Compression file of SqueezeNet v1.0: {reason}; copy or "
            "download it again"
        )

    def take(dtype: str, count: int) -> NDArray[Any]:
        nonlocal position
        size_bytes = count * np.dtype(dtype).itemsize
        if size_bytes > len(content) - position:
            raise unfit(f"it ends after {len(content)} bytes, within the layers")
        position += size_bytes
        return np.frombuffer(content, dtype, count, position - size_bytes)

    layers = []
    for kept, (name, shape) in zip(take("<u4", len(shapes)), shapes.items(), strict=True):
        height, width, channels, out = shape
        codebook, bias = take("<f4", CODEBOOK), take("<f4", out)
        codes, pairs = take("u1", int(kept)), take("u1", (int(kept) + 1) // 2)
        gaps = np.stack([pairs & 15, pairs >> 4], axis=1).reshape(-1)[: len(codes)]
        places = np.cumsum(gaps.astype(np.int64) + 1) - 1
        dense = np.zeros(height * width * channels * out, np.uint8)
        if places.size and places[-1] >= dense.size:
            raise unfit(f"{name} has more than its {dense.size} weights")
        dense[places] = codes
        caffe = codebook[dense].reshape(out, channels, height, width)
        layers.append(Convolution(name, caffe.transpose(2, 3, 1, 0), bias))
    if position != len(content):
        raise unfit(f"it has {len(content) - position} bytes too many")
    return layers
