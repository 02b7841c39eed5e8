"""A net that is rewritten: its model and the integers of its int8 file, which change together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets.models.backend import keras
from edgenets.models.codes import Codes, Grid, KernelCodes
from edgenets.models.fold import fold_batch_norm
from edgenets.models.graph import call_layer, walk

KerasLayer = Any  # keras.layers.Layer
CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
Array = NDArray[Any]
Change = Callable[[Array], Array]


class CodedModel(NamedTuple):
    """A model, and the integers of its int8 file if they are settled."""

    model: keras.Model
    codes: Codes | None


class Draft:
    """A copy in the making: layers are added in the order of the original's."""

    def __init__(self, net: CodedModel) -> None:
        self.net = net
        kernels, grids = net.codes or Codes({}, {})
        self.kernels, self.grids = dict(kernels), dict(grids)
        self.weights: dict[str, list[Array]] = {}

    def copy(self, layer: KerasLayer) -> KerasLayer:
        """Return a layer like `layer`, of its name and weights."""
        self.weights[layer.name] = layer.get_weights()
        return type(layer).from_config(layer.get_config())

    def changed(
        self,
        layer: KerasLayer,
        kernel: Change,
        channels: Change = lambda vector: vector,
        kind: Any = None,
        **config: Any,
    ) -> KerasLayer:
        """Return a layer like `layer`, of its name if `config` has none, with another kernel.

        Args:
            layer: a convolution or dense layer.
            kernel: applied to the kernel, and to its codes.
            channels: applied to the bias, and to the kernel's scales.
            kind: class of the new layer, by default the same.
            config: what else differs.
        """
        name = config.get("name", layer.name)
        old, *bias = layer.get_weights()
        self.weights[name] = [kernel(old), *map(channels, bias)]
        if self.net.codes and (codes := self.net.codes.kernels.get(layer.name)):
            scale = codes.scale if codes.scale.size == 1 else channels(codes.scale)
            # A channel of zeros has the scale 1.
            self.kernels[name] = KernelCodes(
                kernel(codes.codes), np.where(scale > 0, scale, np.float32(1))
            )
        return (kind or type(layer)).from_config({**layer.get_config(), **config})

    def add(
        self, layer: KerasLayer, source: str, grids: Iterable[Grid] | None = None
    ) -> KerasLayer:
        """Return the new `layer`; its outputs have the grid of `source`'s last, or `grids`."""
        if self.grids:
            self.grids[layer.name] = tuple(self.grids[source][-1:] if grids is None else grids)
        return layer

    def finish(self, image: Any, logits: Any) -> CodedModel:
        """Return the new net, from the tensor `image` to `logits`."""
        model = keras.Model(image, logits, name=self.net.model.name)
        for layer in model.layers:
            layer.set_weights(self.weights.get(layer.name, []))
        if self.net.codes is None:
            return CodedModel(model, None)
        names = {layer.name for layer in model.layers}
        kernels = {name: codes for name, codes in self.kernels.items() if name in names}
        grids = {name: grids for name, grids in self.grids.items() if name in names}
        return CodedModel(model, Codes(kernels, grids))


def rebuild(net: CodedModel, build: Callable[[Draft, KerasLayer, list[Any]], Any]) -> CodedModel:
    """Return the net with layers replaced.

    Args:
        net: to copy.
        build: from a layer and the new input tensors to its new output; None copies the layer.
    """
    draft = Draft(net)

    def visit(layer: KerasLayer, inputs: list[Any]) -> Any:
        if not inputs:
            return keras.Input(layer.output.shape[1:], name=layer.name)
        output = build(draft, layer, inputs)
        return call_layer(draft.copy(layer), inputs) if output is None else output

    model = net.model
    tensors = {layer.name: tensor for layer, tensor in walk(model, visit)}
    return draft.finish(tensors[model.input.node.layer.name], tensors[model.output.node.layer.name])


def folded(net: CodedModel) -> CodedModel:
    """Return the net with BatchNorm in its convolutions, whose channels can then be moved."""
    return net._replace(model=fold_batch_norm(net.model))


def has_layers(net: CodedModel, *kinds: type) -> bool:
    """Tell whether the net has a layer of one of the kinds."""
    return any(isinstance(layer, kinds) for layer in net.model.layers)


def padding_before(inside: int, outside: int, size: int, stride: int) -> int:
    """Return how many places 'same' pads before a line of `inside` places."""
    return max((outside - 1) * stride + size - inside, 0) // 2


def spread_channels(array: Array, axis: int, places: Array, size: int) -> Array:
    """Return zeros of `size` along the axis, with entry i of `array` at places[i].

    >>> spread_channels(np.array([7, 8]), 0, np.array([2, 0]), 3)
    array([8, 0, 7])
    """
    shape = list(array.shape)
    shape[axis] = size
    result = np.zeros(shape, array.dtype)
    moved = np.moveaxis(result, axis, -1)
    moved[..., places] = np.moveaxis(array, axis, -1)
    return result
