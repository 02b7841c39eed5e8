"""Helpers of post-training int8 that `int8_helpers.py` measures: ranges, bias, equalization.

None of them trains. They give other grids to activations, other biases, or an equal net that bears
rounding better; the int8 file then holds them as it holds plain int8's.

Source: Nagel et al. 2019, arXiv:1906.04721 (equalization, bias correction); Nagel et al. 2021,
arXiv:2106.08295, section 3.1 (ranges).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from edgenets import flatbuffer
from edgenets.export.codes import activations
from edgenets.models.backend import keras, tf
from edgenets.models.codes import Codes, Grid, KernelCodes
from edgenets.models.fold import find_readers, fold_batch_norm, parents_of
from edgenets.quantize.layers import kernel_attribute, kernel_axes, kernel_of
from edgenets.quantize.rounding import MOVING

# Operators that LiteRT computes with one grid for their inputs and outputs.
ONE_GRID = (
    *("CONCATENATION", "RESHAPE", "TRANSPOSE", "SPLIT", "PAD", "MAX_POOL_2D"),
    *("AVERAGE_POOL_2D", "STRIDED_SLICE"),
)
# Of a layer's output that a range is chosen from. Drawn at random: every n-th value could be always
# of the same channels.
MOST_VALUES, MOST_MSE_VALUES = 1_000_000, 100_000
MSE_STEPS = np.linspace(0.2, 1.0, 81)  # of the whole range
SWEEPS = 40  # of equalization through the net

Array = NDArray[np.float32]
Range = tuple[float, float]
ChooseRange = Callable[[Array], Range]


def percentile_range(percent: float) -> ChooseRange:
    """Return the function that leaves out 100 - `percent` % of the values at either end."""

    def choose(values: Array) -> Range:
        low, high = np.percentile(values, (100 - percent, percent))
        return float(low), float(high)

    return choose


def mse_range(values: Array) -> Range:
    """Return the part of the whole range whose 256 steps have the least mean squared error."""
    sample = _sample(values, MOST_MSE_VALUES)

    def error(part: float) -> float:
        grid = to_grid(part * values.min(), part * values.max())
        return float(np.mean((round_to(grid, sample) - sample) ** 2))

    best = min(MSE_STEPS, key=error)
    return float(best * values.min()), float(best * values.max())


def _sample(values: Array, most: int) -> Array:
    """Return `most` of the values, drawn at random, with the least and the largest one."""
    if len(values) <= most:
        return values
    drawn = np.random.default_rng(0).integers(len(values), size=most)
    return np.append(values[drawn], (values.min(), values.max()))


def to_grid(low: float, high: float) -> Grid:
    """Return the grid of 256 steps from `low` to `high`, of which 0.0 is one."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max((high - low) / 255, 1e-8)
    return Grid(float(np.float32(scale)), int(np.clip(round(-128 - low / scale), -128, 127)))


def round_to(grid: Grid, values: Array) -> Array:
    """Return the values that the grid has nearest to `values`."""
    codes = np.clip(np.rint(values / grid.scale) + grid.zero_point, -128, 127)
    return ((codes - grid.zero_point) * grid.scale).astype(np.float32)


def choose_grids(
    content: bytes, model: keras.Model, images: Array, choose: ChooseRange
) -> dict[str, tuple[Grid, ...]]:
    """Return the file's grids by layer, those of hidden layers replaced by chosen ranges.

    Input and logits keep theirs. Tensors that must share a grid get that of all their values.

    Args:
        content: the int8 file of the folded `model`.
        images: for calibration, `[images, resolution, resolution, 3]` in [-1, 1].
    """
    file = flatbuffer.read(content)
    order = list(activations(file, model))
    group = _groups(file)
    layer_group = {layer: group[index] for index, layer in order}  # of a layer's last tensor
    values: dict[int, list[Array]] = {}
    for layer, output in walk(model, images):
        if layer.name in layer_group and not isinstance(layer, MOVING):
            flat = output.numpy().ravel()
            values.setdefault(layer_group[layer.name], []).append(_sample(flat, MOST_VALUES))
    fixed = {group[index] for index in (*file.input_indices, *file.output_indices)}
    chosen = {
        root: to_grid(*choose(np.concatenate(parts)))
        for root, parts in values.items()
        if root not in fixed
    }
    grids: dict[str, tuple[Grid, ...]] = {}
    for index, layer in order:
        tensor = file.tensors[index]
        own = Grid(float(tensor.scale[0]), int(tensor.zero_point[0]))
        grids[layer] = (*grids.get(layer, ()), chosen.get(group[index], own))
    return grids


def _groups(file: flatbuffer.Model) -> dict[int, int]:
    """Return for each tensor the first one of those that share its grid."""
    group = {index: index for index in range(len(file.tensors))}
    for operator in file.operators:
        if operator.name in ONE_GRID:
            tied = [i for i in (*operator.inputs, *operator.outputs) if _is_activation(file, i)]
            roots = {group[index] for index in tied}
            group = {i: min(roots) if root in roots else root for i, root in group.items()}
    return group


def _is_activation(file: flatbuffer.Model, index: int) -> bool:
    return (
        index >= 0 and file.tensors[index].dtype == "int8" and not file.tensors[index].is_constant
    )


def walk(model: keras.Model, images: Array) -> Iterator[tuple[keras.layers.Layer, tf.Tensor]]:
    """Yield each layer with its output, in order; outputs are kept while a layer reads them."""
    readers = {name: len(layers) for name, layers in find_readers(model).items()}
    outputs: dict[str, tf.Tensor] = {}
    for layer in model.layers:
        parents = [parent.name for parent in parents_of(layer)]
        inputs = [outputs[name] for name in parents]
        output = layer(inputs if len(inputs) > 1 else inputs[0]) if inputs else images
        outputs[layer.name] = output
        for name in parents:
            readers[name] -= 1
            if not readers[name]:
                del outputs[name]
        yield layer, tf.convert_to_tensor(output)


def correct_biases(model: keras.Model, codes: Codes, images: Array) -> keras.Model:
    """Return a copy of the folded model whose biases make up for rounding's mean error.

    Layer by layer, the mean that rounding adds to each output channel before its activation, by the
    kernel and by all layers before, is taken off the bias. Layers without a bias are left alone.
    """
    rounded = with_kernels(model, codes.kernels)
    exact, given = {}, {}  # outputs by layer of the float net and of the rounded one
    for layer in model.layers:
        name, parents = layer.name, [parent.name for parent in parents_of(layer)]
        if not parents:
            exact[name] = given[name] = images
            continue
        copy = rounded.get_layer(name)
        before = _linear(layer, [exact[parent] for parent in parents])
        after = _linear(copy, [given[parent] for parent in parents])
        if getattr(copy, "use_bias", False):
            shift = tf.reduce_mean(after - before, axis=range(len(after.shape) - 1))
            copy.bias.assign_sub(shift)
            after = after - shift
        exact[name], given[name] = _activate(layer, before), _activate(copy, after)
        if name in codes.activations and not isinstance(layer, MOVING):
            given[name] = round_to(codes.activations[name][-1], given[name].numpy())
    for layer in model.layers:
        if kernel_axes(layer):
            kernel_of(rounded.get_layer(layer.name)).assign(kernel_of(layer))
    return rounded


def _linear(layer: keras.layers.Layer, inputs: list[tf.Tensor]) -> tf.Tensor:
    """Return a layer's output; of one with a kernel, before its activation."""
    values = inputs if len(inputs) > 1 else inputs[0]
    if not kernel_axes(layer):
        return layer(values)
    activation, layer.activation = layer.activation, keras.activations.linear
    try:
        return layer(values)
    finally:
        layer.activation = activation


def _activate(layer: keras.layers.Layer, output: tf.Tensor) -> tf.Tensor:
    return layer.activation(output) if kernel_axes(layer) else output


def with_kernels(model: keras.Model, kernels: Mapping[str, KernelCodes]) -> keras.Model:
    """Return a copy of the folded model with the kernels that the codes say."""
    copy = fold_batch_norm(model)
    for name, kernel in kernels.items():
        kernel_of(copy.get_layer(name)).assign(kernel.values)
    return copy


def without_relu6(model: keras.Model) -> keras.Model:
    """Return a copy of the folded model with ReLU for ReLU6, through which factors pass."""

    def unlimited(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if config.get("activation") == "relu6":
            config["activation"] = "relu"
        return type(layer).from_config(config)

    copy = keras.models.clone_model(model, clone_function=unlimited)
    copy.set_weights(model.get_weights())
    return copy


def equalize(model: keras.Model) -> keras.Model:
    """Return an equal folded model in which neighbouring kernels use alike ranges per channel.

    A channel between a layer and those that read it may be divided by a factor in the one and
    multiplied in the others, if the activation between them is none or ReLU.
    """
    copy = fold_batch_norm(model)
    pairs = _pairs(copy)
    for _ in range(SWEEPS):
        for layer, readers in pairs:
            kernels = [kernel_of(reader).numpy() for reader in readers]
            gives = _largest(kernel_of(layer).numpy(), _output_axis(layer))
            takes = np.max([_largest(k, _INPUT_AXIS) for k in kernels], axis=0)
            usable = (gives > 0) & (takes > 0)
            factor = np.sqrt(np.divide(gives, takes, out=np.ones_like(gives), where=usable))
            factor[~usable] = 1
            _scale(kernel_of(layer), 1 / factor, _output_axis(layer))
            if layer.use_bias:
                layer.bias.assign(layer.bias / factor)
            for reader in readers:
                _scale(kernel_of(reader), factor, _INPUT_AXIS)
    return copy


_INPUT_AXIS = -2  # of every kernel: [..., in, out], depthwise [height, width, in, 1]


def _pairs(
    model: keras.Model,
) -> list[tuple[keras.layers.Layer, list[keras.layers.Layer]]]:
    """Return the layers whose output channels may be scaled, each with those that read it."""
    readers = find_readers(model)
    linear = (keras.activations.linear, keras.activations.relu)
    return [
        (layer, readers[layer.name])
        for layer in model.layers
        if _is_plain(layer) and layer.activation in linear and readers[layer.name]
        if all(_is_plain(reader) for reader in readers[layer.name])
    ]


def _is_plain(layer: keras.layers.Layer) -> bool:
    """Tell whether a layer has a kernel without groups, depthwise with one output per input."""
    if not kernel_axes(layer):
        return False
    depthwise = kernel_attribute(layer) == "depthwise_kernel"
    return layer.depth_multiplier == 1 if depthwise else getattr(layer, "groups", 1) == 1


def _output_axis(layer: keras.layers.Layer) -> int:
    return -2 if kernel_attribute(layer) == "depthwise_kernel" else -1


def _largest(kernel: Array, axis: int) -> Array:
    others = tuple(i for i in range(kernel.ndim) if i != kernel.ndim + axis)
    return np.abs(kernel).max(axis=others)


def _scale(kernel: tf.Variable, factor: Array, axis: int) -> None:
    shape = [1] * len(kernel.shape)
    shape[axis] = -1
    kernel.assign(kernel * factor.reshape(shape))
