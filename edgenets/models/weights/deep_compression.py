"""SqueezeNet v1.0 as Deep Compression stored it: the `.net` file of its authors.

Little endian: 26 uint32, how many weights each layer keeps; then for each layer its codebook of 256
float32, its bias, a codebook index (uint8) for each kept weight, and in 4 bits, low ones first, how
many weights are left out before it. Longer gaps are bridged by kept weights with the index 0, which
is also that of every weight left out.

Source: arXiv:1510.00149, section 2; github.com/songhan/SqueezeNet-Deep-Compression, decode.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets.errors import EdgenetsError
from edgenets.files import read_bytes
from edgenets.models.backend import keras
from edgenets.models.registry import NETS, complete_arguments
from edgenets.models.weights.convolutions import (
    INDEPENDENT,
    Array,
    Convolution,
    InputMap,
    Shape,
    build_net,
    set_convolutions,
    targets,
)

NET = "squeezenet"
CLASSES = 1000
CODEBOOK = 256
CAFFE_INPUT = InputMap(  # 0 to 255 less the mean of the training images; R, G, B
    scale=127.5, offset=(127.5 - 123, 127.5 - 117, 127.5 - 104), bgr=True
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
    shapes = [target.kernel_shape for target in targets(model)]
    names = [target.layer.name for target in targets(model)]
    layers = _decode(read_bytes(path), shapes, path)
    convolutions = [Convolution(name, *layer) for name, layer in zip(names, layers, strict=True)]
    set_convolutions(model, convolutions, CAFFE_INPUT, path)
    return model, complete


def _decode(content: bytes, shapes: list[Shape], path: Path) -> list[tuple[Array, Array]]:
    """Return kernel `[height, width, in, out]` and bias of each layer."""
    position = 0

    def take(dtype: str, count: int) -> NDArray[Any]:
        nonlocal position
        size = count * np.dtype(dtype).itemsize
        if size > len(content) - position:
            raise EdgenetsError(
                f"{path} is not a whole Deep Compression file of SqueezeNet v1.0: it ends after "
                f"{len(content)} bytes, within the layers; copy or download it again"
            )
        position += size
        return np.frombuffer(content, dtype, count, position - size)

    kept_counts = take("<u4", len(shapes))
    layers: list[tuple[Array, Array]] = []
    for kept, (height, width, channels, out) in zip(kept_counts, shapes, strict=True):
        codebook = take("<f4", CODEBOOK)
        bias = take("<f4", out)
        codes = take("u1", int(kept))
        pairs = take("u1", (int(kept) + 1) // 2)
        gaps = np.stack([pairs & 15, pairs >> 4], axis=1).reshape(-1)[: len(codes)]
        places = np.cumsum(gaps.astype(np.int64) + 1) - 1
        size = height * width * channels * out
        if len(places) and places[-1] >= size:
            raise EdgenetsError(
                f"{path} is not a Deep Compression file of SqueezeNet v1.0: layer {len(layers) + 1}"
                f" has more than its {size} weights; copy or download it again"
            )
        dense = np.zeros(size, np.uint8)
        dense[places] = codes
        caffe = codebook[dense].reshape(out, channels, height, width)
        layers.append((caffe.transpose(2, 3, 1, 0), bias))
    if position != len(content):
        raise EdgenetsError(
            f"{path} is not a Deep Compression file of SqueezeNet v1.0: it has "
            f"{len(content) - position} bytes too many; copy or download it again"
        )
    return layers
