"""What every weight file comes down to: a sequence of convolutions, set in a net of ours.

A net's convolutions have one order here: depth first from its output, branches in the order in
which a layer joins them. A dense layer counts as a 1x1 convolution of one position.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets.errors import EdgenetsError
from edgenets.models import mobilenet_v1, mobilenet_v2
from edgenets.models.backend import keras
from edgenets.models.fold import WEIGHTED
from edgenets.models.graph import parents_of
from edgenets.models.layers import BATCH_NORM_EPSILON
from edgenets.models.registry import NETS, complete_arguments, create

Array = NDArray[np.float32]
Shape = tuple[int, ...]

INDEPENDENT = ("resolution", "classes", "output_stride", "activation", "pad_value")
"""Arguments that change no kernel's shape but the classifier's."""

PIXEL = 2 / 255  # from one value of a pixel to the next, where black is -1 and white is 1


class Channels(NamedTuple):
    """Channels of a kernel that tell the width of its net."""

    kernel: int  # its place among those of the file
    axis: int  # of the kernel, whose last axes are [in, out]
    at_full_width: int


TELLS_WIDTH = {
    "mobilenet_v1": Channels(0, -1, mobilenet_v1.STEM_CHANNELS),
    # What the last convolution takes: published widths make a multiple of 8 of it.
    "mobilenet_v2": Channels(-2, -2, mobilenet_v2.STAGES[-1].channels),
}


class BatchNorm(NamedTuple):
    """A BatchNorm's vectors, each `[out]`."""

    gamma: Array | None  # None: it has no factor
    beta: Array
    mean: Array
    variance: Array


class Convolution(NamedTuple):
    """A convolution or dense layer of a file, and the BatchNorm that follows it."""

    name: str  # in the file
    kernel: Array  # [height, width, in, out]; [height, width, in, 1] if depthwise
    bias: Array | None = None  # [out]
    batch_norm: BatchNorm | None = None


class InputMap(NamedTuple):
    """The input that a file's weights expect, made of ours: scale * x + offset, x in [-1, 1]."""

    scale: float = 1.0
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)  # of R, G and B
    bgr: bool = False  # whether the file's first kernel takes B, G, R

    @property
    def zero(self) -> float:
        """The x whose red becomes 0."""
        return 0.0 - self.offset[0] / self.scale  # 0.0, where a sign would give -0.0

    @classmethod
    def of_range(cls, low: float, high: float) -> InputMap:
        """Return the map to inputs in which black is `low` and white is `high`.

        >>> InputMap.of_range(0, 255)
        InputMap(scale=127.5, offset=(127.5, 127.5, 127.5), bgr=False)

        Raises:
            EdgenetsError: they are not two finite numbers, the lower one first.
        """
        if not (np.isfinite((low, high)).all() and low < high):
            raise EdgenetsError(
                f"an input range is black's value and white's, the lower one first, got {low} and "
                f"{high}; pass for example 0 and 1"
            )
        return cls((high - low) / 2, ((high + low) / 2,) * 3)


class Slot(NamedTuple):
    """A convolution or dense layer of a net, and the BatchNorm that follows it."""

    layer: keras.layers.Layer
    batch_norm: keras.layers.Layer | None

    @property
    def kernel_shape(self) -> Shape:
        """The shape that a file's kernel must have: `[height, width, in, out]`."""
        shape = tuple(self.layer.weights[0].shape)
        return (1, 1, *shape) if len(shape) == 2 else shape

    @property
    def channels(self) -> int:
        """The number of output channels."""
        return int(self.layer.output_shape[-1])


def file_arguments(
    name: str, shapes: Sequence[Shape], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments of the net `name` that a file tells.

    Args:
        shapes: of its kernels, `[..., in, out]`, the outermost two in their places.
        settings: arguments that it tells in other ways; those that the net does not have are left
            out.
    """
    told = {"classes": shapes[-1][-1], **settings}
    if name in TELLS_WIDTH and len(shapes) > 1:
        kernel, axis, at_full_width = TELLS_WIDTH[name]
        told["width"] = shapes[kernel][axis] / at_full_width
    return {argument: told[argument] for argument in told if argument in NETS[name].arguments}


def build_net(
    name: str, arguments: Mapping[str, Any], input_map: InputMap
) -> tuple[keras.Model, dict[str, Any]]:
    """Build the net into which weights that expect `input_map` can be set.

    Returns:
        The net, and all arguments it was built with: `pad_value` is the original's zero.

    Raises:
        EdgenetsError: an argument does not fit.
    """
    if "pad_value" in NETS[name].arguments:
        arguments = {**arguments, "pad_value": input_map.zero}
    complete = complete_arguments(name, arguments)
    return create(name, **complete), complete


def slots(model: keras.Model) -> list[Slot]:
    """Return the convolutions and dense layers of `model` in the order of this module."""
    return list(_depth_first(model.layers[-1], set()))


def set_convolutions(
    model: keras.Model, convolutions: Sequence[Convolution], input_map: InputMap, path: Path
) -> None:
    """Set the weights of `model`, from `build_net`, to those read from the file `path`.

    `input_map` goes into the first convolution. A BatchNorm of the net that the file has folded
    already becomes the identity plus the bias.

    Args:
        convolutions: one for each of `slots(model)`.

    Raises:
        EdgenetsError: the number, a shape or a layer's kind differs, the net's first convolution
            pads with a zero that is a pixel value or more from the original's, or a value is not
            finite.
    """
    wanted = slots(model)
    if len(convolutions) != len(wanted):
        raise EdgenetsError(
            f"{path} has {len(convolutions)} convolutions and dense layers, {model.name} has "
            f"{len(wanted)}; pass the net and the arguments that it was made with"
        )
    for slot, source in zip(wanted, convolutions, strict=True):
        if source.kernel.shape != slot.kernel_shape:
            raise shape_error(slot, source, model, path)
    pads = wanted[0].layer.padding != "valid"
    shifts = pads and "pad_value" in NETS[model.name].arguments
    # 8 bits have no code for the middle of 0 to 255: half a pixel off is as good as it gets.
    if pads and not shifts and abs(input_map.zero) >= PIXEL:
        raise EdgenetsError(
            f"the first convolution of {model.name} pads with 0, the middle of its input range, "
            f"where these weights need {input_map.zero:.4g}; import weights that take [-1, 1]"
        )
    first = _fold_input(convolutions[0], input_map, shifts=shifts)
    for slot, source in zip(wanted, (first, *convolutions[1:]), strict=True):
        _set(slot, source, path)


def shape_error(slot: Slot, source: Convolution, model: keras.Model, path: Path) -> EdgenetsError:
    """Return the error for a kernel of another shape than the net has in its place."""
    own = [argument for argument in NETS[model.name].arguments if argument not in INDEPENDENT]
    arguments = f", or with other arguments ({', '.join(own)})" if own else ""
    return EdgenetsError(
        f"{source.name} of {path} has the kernel {list(source.kernel.shape)}, where "
        f"{slot.layer.name} of {model.name} has {list(slot.kernel_shape)}; "
        f"was the file made for another net{arguments}?"
    )


def _depth_first(layer: keras.layers.Layer, seen: set[str]) -> Iterator[Slot]:
    if layer.name in seen:
        return
    seen.add(layer.name)
    for parent in parents_of(layer):
        yield from _depth_first(parent, seen)
    if isinstance(layer, WEIGHTED):
        following = [node.layer for node in layer.outbound_nodes]
        norms = [x for x in following if isinstance(x, keras.layers.BatchNormalization)]
        yield Slot(layer, norms[0] if norms else None)


def _fold_input(source: Convolution, input_map: InputMap, *, shifts: bool) -> Convolution:
    """Make the first convolution take our input, less `pad_value` where the net shifts it."""
    kernel = source.kernel[:, :, ::-1] if input_map.bgr else source.kernel
    bias = np.zeros(kernel.shape[-1]) if source.bias is None else source.bias.astype(np.float64)
    if not shifts:
        bias = bias + np.einsum("hwio,i->o", kernel.astype(np.float64), input_map.offset)
    scaled = kernel * np.float32(input_map.scale)
    return source._replace(kernel=scaled, bias=bias.astype(np.float32))


def _set(slot: Slot, source: Convolution, path: Path) -> None:
    """Make the layers of `slot` compute what `source` does."""
    layer, norm = slot.layer, source.batch_norm
    _refuse_surplus(slot, source, path)
    bias = np.zeros(slot.channels, np.float32) if source.bias is None else source.bias
    if slot.batch_norm is None:
        _assign(layer, [source.kernel, bias][: len(layer.weights)], source, path)
        return
    gamma, beta, mean, variance = norm or _identity(slot.channels)
    factor = [np.ones_like(beta) if gamma is None else gamma] if slot.batch_norm.scale else []
    _assign(layer, [source.kernel], source, path)
    # A bias in front of a BatchNorm is a shift of its mean.
    _assign(slot.batch_norm, [*factor, beta, mean - bias, variance], source, path)


def _identity(channels: int) -> BatchNorm:
    zeros, ones = np.zeros(channels, np.float32), np.ones(channels, np.float32)
    return BatchNorm(None, zeros, zeros, ones - np.float32(BATCH_NORM_EPSILON))


def _refuse_surplus(slot: Slot, source: Convolution, path: Path) -> None:
    """Refuse what the file computes and the net cannot."""
    norm, own_norm = source.batch_norm, slot.batch_norm
    surplus = None
    if own_norm is not None:
        if norm is not None and norm.gamma is not None and not own_norm.scale:
            surplus = "a factor in its BatchNorm"
    elif norm is not None:
        surplus = "a BatchNorm"
    elif source.bias is not None and not slot.layer.use_bias:
        surplus = "a bias"
    if surplus:
        raise EdgenetsError(
            f"{source.name} of {path} has {surplus}, {slot.layer.name} has none; was the file "
            "made for another net?"
        )


def _assign(
    layer: keras.layers.Layer, tensors: list[Array], source: Convolution, path: Path
) -> None:
    for weight, tensor in zip(layer.weights, tensors, strict=True):
        if tensor.size != weight.shape.num_elements():
            raise EdgenetsError(
                f"{source.name} of {path} has a vector of {tensor.size} values, where "
                f"{weight.name} has {weight.shape.num_elements()}; copy or download it again"
            )
        if not np.isfinite(tensor).all():
            raise EdgenetsError(
                f"{source.name} of {path} holds a NaN or an infinity; copy or download it again"
            )
        weight.assign(tensor.reshape(weight.shape))
