"""The Edge TPU compiler's rules, one row per operator: what an operator must be to be mapped.

An operator that has no row in `RULES`, or fails a check, stays on the CPU. A check is a function of
the model and an operator of it, and looks at nothing else.

Source: Coral, "TensorFlow models on the Edge TPU" (op table, compiler 16.0); what compiled files
and compilers' logs add to it is in docs/reference/edge_tpu.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from edgenets.export.inspect.placement import (
    Check,
    Finding,
    first_finding,
    input_of,
    not_an_operator,
)
from edgenets.flatbuffer import ETHOS_U_OPERATOR, Model, Operator, Tensor
from edgenets.units import format_shape

ACTIVATION_DTYPES = ("int8", "uint8")
INNER_DIMENSIONS = 3  # the ones that may exceed 1
MAX_SOFTMAX_ELEMENTS = 16000
MEAN_CHANNEL_MULTIPLE = 4
TRANSPOSE_MAX_RANK = 4
SHOWN_RESHAPE_ELEMENTS = 1001
"""The largest tensor that a compiled file at hand shows reshaped on the Edge TPU
(mobilenet_v1_0.25_128_quant); the size at which reshapes stop to map is not stated."""


class Unknown(NamedTuple):
    """From which version on compiler 16.0 does not know an operator; it refuses the whole file."""

    version: int
    writer: str  # who writes it
    change: str


# CONV_2D, TRANSPOSE_CONV: the compiler's log; QUANTIZE: github.com/google-coral/edgetpu/issues/879.
# FULLY_CONNECTED: TensorFlow 00b1ec2 knows it up to 9 (lite/kernels/register.cc), and is newer than
# the compiler, as it knows CONV_2D 6 and QUANTIZE 3.
UNKNOWN_VERSIONS = {
    "CONV_2D": Unknown(
        6,
        "the converter writes for all convolutions where one has groups",
        "split grouped convolutions, or make each one dense convolution with zeros",
    ),
    "FULLY_CONNECTED": Unknown(10, "newer converters write", "quantize the whole model to int8"),
    "QUANTIZE": Unknown(3, "newer converters write", "do without it"),
    "TRANSPOSE_CONV": Unknown(4, "newer converters write", "do without it"),
}


# What to do about operators that the Edge TPU has not.
REPLACEMENTS = {
    "HARD_SWISH": "train with ReLU in its place, or spell it as ADD, RELU6 and MUL",
    "LEAKY_RELU": "use PRELU, or the MAXIMUM of x and its multiple",
    "GELU": "train with ReLU in its place",
    "ELU": "train with ReLU in its place",
    "DIV": "multiply by the reciprocal",
    "GATHER": "fold the order of channels into the weights of the operator after it",
    "SPLIT_V": "use SLICE or SPLIT",
    "PADV2": "pad with PAD, whose value is zero",
    "MIRROR_PAD": "pad with zeros",
    "SHAPE": "export with the batch and all sizes fixed",
    "DENSIFY": "store weights densely",
    "DEQUANTIZE": "give out integers and scale them in the program, and compute nothing in floats",
    "ARG_MAX": "leave it to the program that reads the output",
    "TOPK_V2": "leave it to the program that reads the output",
    ETHOS_U_OPERATOR: "pass the file that it was compiled from",
}


class Rule(NamedTuple):
    """A row of the table: an operator that the compiler knows."""

    op: str
    constants: Sequence[int] = ()  # positions of the inputs that must be constant
    checks: tuple[Check, ...] = ()


def find(model: Model, operator: Operator) -> Finding | None:
    """Return what the rules say of one operator by itself; None where nothing stands against it."""
    rule = RULES.get(operator.name)
    if rule is None:
        return not_an_operator(operator.name, "Edge TPU", REPLACEMENTS)
    common = (_known_version, _eight_bits, _static_shapes, _constant_parameters, _rank)
    return first_finding(model, operator, common + rule.checks)


# Checks: what the documentation says of all operators.


def _known_version(_: Model, operator: Operator) -> Finding | None:
    unknown = UNKNOWN_VERSIONS.get(operator.name)
    if unknown is None or operator.version < unknown.version:
        return None
    return Finding(
        f"the compiler refuses a file with {operator.name} of version {operator.version}, which "
        f"{unknown.writer}",
        unknown.change,
        refuses=True,
    )


def _eight_bits(model: Model, operator: Operator) -> Finding | None:
    """Tensors are int8 or uint8; the state of an LSTM may be int16, as a compiled file shows."""
    tensors = _data_inputs(model, operator) + _outputs(model, operator)
    if operator.name in WITH_KERNEL:
        kernel = input_of(model, operator, 1)
        if kernel is None:
            return Finding("it has no kernel, so the file is damaged", "export it again")
        tensors.append(kernel)
    wrong = next((t for t in tensors if not _is_eight_bits(t)), None)
    if wrong:
        return Finding(
            f"tensors must be int8 or uint8, and one is {wrong.dtype}",
            "quantize the whole model to int8, inputs and outputs too",
        )
    return None


def _static_shapes(model: Model, operator: Operator) -> Finding | None:
    for tensor in _activations(model, operator):
        if any(size < 0 for size in tensor.shape_signature):
            return Finding(
                f"sizes must be constant, and a tensor is {format_shape(tensor.shape_signature)}",
                "export with the batch and all sizes fixed",
            )
    return None


def _constant_parameters(model: Model, operator: Operator) -> Finding | None:
    for position in RULES[operator.name].constants:
        tensor = input_of(model, operator, position)
        if tensor and not (tensor.is_constant or tensor.is_variable):
            return Finding(
                f"its parameters must be constant, and its input {position} is computed",
                "make it a constant",
            )
    return None


def _rank(model: Model, operator: Operator) -> Finding | None:
    for tensor in _activations(model, operator):
        if prod(tensor.shape[:-INNER_DIMENSIONS]) != 1:
            return Finding(
                "only the three innermost dimensions may exceed 1, and a tensor is "
                f"{format_shape(tensor.shape)}",
                "fix the batch to 1, and keep tensors to 4 dimensions",
            )
    return None


# Checks of single operators.


def _no_fused_activation(_: Model, operator: Operator) -> Finding | None:
    if not operator.options.get("fused_activation"):
        return None
    return Finding(
        "it must not have a fused activation",
        "put the activation into the convolution before it",
    )


def _same_dilation(_: Model, operator: Operator) -> Finding | None:
    x, y = (operator.options.get(f"dilation_{side}", 1) for side in ("width", "height"))
    if x == y:
        return None
    return Finding(f"dilation must be the same in x and y, and is {x} and {y}", "make them equal")


def _no_groups(model: Model, operator: Operator) -> Finding | None:
    image, kernel = (input_of(model, operator, position) for position in (0, 1))
    if not image or not kernel or not image.shape or not kernel.shape:
        return None
    if image.shape[-1] == kernel.shape[-1]:
        return None
    return Finding(
        f"a convolution must have no groups, and its kernels take {kernel.shape[-1]} of "
        f"{image.shape[-1]} channels",
        "split it into one convolution per group, or make it one dense convolution with zeros",
    )


def _default_weights(_: Model, operator: Operator) -> Finding | None:
    if not operator.options.get("weights_format"):
        return None
    return Finding("its weights must be in the default format", "export with plain weights")


def _one_scale(model: Model, operator: Operator) -> Finding | None:
    kernel = input_of(model, operator, 1)
    if not kernel or kernel.scale.size < 2:
        return None
    return Finding(
        "its weights have a scale per channel, which dense layers had not when the compiler was "
        "made; what it does with them is not stated",
        "quantize dense layers per tensor",
        stated=False,
        maps=True,
    )


def _vector_output(model: Model, operator: Operator) -> Finding | None:
    for tensor in _outputs(model, operator):
        if prod(tensor.shape[:-1]) != 1:
            return Finding(
                f"its output must be a vector, and is {format_shape(tensor.shape)}",
                "use a 1x1 convolution",
            )
    return None


def _vector_softmax(model: Model, operator: Operator) -> Finding | None:
    finding = _vector_output(model, operator)
    if finding:
        return finding._replace(change="leave the softmax to the caller")
    for tensor in _outputs(model, operator):
        if prod(tensor.shape) > MAX_SOFTMAX_ELEMENTS:
            return Finding(
                f"it takes at most {MAX_SOFTMAX_ELEMENTS:,} elements, and has "
                f"{prod(tensor.shape):,}",
                "leave the softmax to the caller",
            )
    return None


def _zero_padding_only(model: Model, operator: Operator) -> Finding | None:
    constants = [t for t in _data_inputs(model, operator) if t.is_constant]
    if not constants:
        return None
    are_zero = all(
        t.data is not None and t.zero_point.size and not (t.data != t.zero_point[0]).any()
        for t in constants
    )
    if len(operator.inputs) == 2 and are_zero:
        return None
    return Finding(
        "with a constant it takes two inputs, and the constant must be all zeros",
        "compute the constant's part otherwise, or pad with zeros",
    )


def _not_batch(model: Model, operator: Operator) -> Finding | None:
    if 0 not in _axes(model, operator):
        return None
    return Finding("it must not reduce the batch dimension", "reduce the other dimensions only")


def _channels_by_four(model: Model, operator: Operator) -> Finding | None:
    tensor = input_of(model, operator, 0)
    if not tensor or not tensor.shape or len(tensor.shape) - 1 not in _axes(model, operator):
        return None
    if tensor.shape[-1] % MEAN_CHANNEL_MULTIPLE == 0:
        return None
    return Finding(
        f"over channels it takes multiples of {MEAN_CHANNEL_MULTIPLE}, and has {tensor.shape[-1]}",
        "change the number of channels",
    )


def _no_pack_of_batch(model: Model, operator: Operator) -> Finding | None:
    rank = max((len(t.shape) for t in _outputs(model, operator)), default=0)
    if not rank or operator.options.get("axis", 0) % rank:
        return None
    return Finding("it must not pack in the batch dimension", "pack along another dimension")


def _no_pad_of_batch(model: Model, operator: Operator) -> Finding | None:
    tensor, paddings = input_of(model, operator, 0), _values(model, operator, 1)
    if not tensor or len(paddings) != 2 * len(tensor.shape) or not any(paddings[:2]):
        return None
    return Finding("it must not pad the batch dimension", "pad the other dimensions only")


def _vector_alpha(model: Model, operator: Operator) -> Finding | None:
    alpha = input_of(model, operator, 1)
    if not alpha or prod(alpha.shape[:-1]) == 1:
        return None
    return Finding(
        f"its alpha must be one number per channel, and is {format_shape(alpha.shape)}",
        "share it over height and width (Keras: shared_axes=[1, 2])",
    )


def _plain_slice(model: Model, operator: Operator) -> Finding | None:
    masks = [operator.options.get(f"{name}_mask", 0) for name in ("ellipsis", "new_axis")]
    if not any(masks) and all(stride == 1 for stride in _values(model, operator, 3)):
        return None
    return Finding(
        "its strides must be 1, without ellipsis or new axis", "slice without strides or new axes"
    )


def _small_reshape(model: Model, operator: Operator) -> Finding | None:
    elements = max((prod(t.shape) for t in _outputs(model, operator)), default=0)
    if elements <= SHOWN_RESHAPE_ELEMENTS:
        return None
    return Finding(
        f"large reshapes may not map, and the limit is not stated; it has {elements:,} elements, "
        f"and {SHOWN_RESHAPE_ELEMENTS:,} are known to map",
        "do without the reshape",
        stated=False,
        maps=True,
    )


def _four_dimensions(model: Model, operator: Operator) -> Finding | None:
    ranks = [len(t.shape) for t in _activations(model, operator)]
    if any(rank > TRANSPOSE_MAX_RANK for rank in ranks):
        return Finding(
            f"it maps up to {TRANSPOSE_MAX_RANK} dimensions, and has {max(ranks)}",
            "fold the new order into the weights of the operator after it",
        )
    return Finding(
        "it maps with compiler 16, within limits that are not stated",
        "fold the new order into the weights of the operator after it",
        stated=False,
        maps=True,
    )


def _image(model: Model, operator: Operator) -> Finding | None:
    """Resizing maps for some sizes; one that a compiled file shows left out is from 1 x 1."""
    before, after = input_of(model, operator, 0), next(iter(_outputs(model, operator)), None)
    if not before or not after:
        return None
    sizes = f"from {format_shape(before.shape[1:-1])} to {format_shape(after.shape[1:-1])}"
    if prod(before.shape[1:-1]) == 1 < prod(after.shape[1:-1]):
        return Finding(
            f"some sizes do not map; {sizes} did not in a compiled file",
            "add or multiply the 1 x 1 map, which repeats it, in place of resizing it",
            stated=False,
        )
    return Finding(
        f"some sizes do not map, and which is not stated; it goes {sizes}",
        "keep to small factors, or leave resizing to the caller",
        stated=False,
        maps=True,
    )


def _shown_tile(model: Model, operator: Operator) -> Finding:
    """One of a 1 x 1 map is mapped in a compiled file; of others nothing is known."""
    before, after = input_of(model, operator, 0), next(iter(_outputs(model, operator)), None)
    sizes = [format_shape(tensor.shape[1:-1] if tensor else ()) for tensor in (before, after)]
    shown = before is not None and after is not None and prod(before.shape[:-1]) == 1
    if shown and before and after and before.shape[-1:] == after.shape[-1:]:
        return Finding(
            "one from 1 x 1 to 33 x 33 is mapped in a compiled file, and which others are is not "
            f"stated; it goes from {sizes[0]} to {sizes[1]}",
            "add or multiply the 1 x 1 map, which repeats it",
            stated=False,
            maps=True,
        )
    return Finding(
        "only one of a 1 x 1 map is known to map, which others do is not stated; it goes from "
        f"{sizes[0]} to {sizes[1]}",
        "add or multiply the smaller map, which repeats it, or leave it to the program at the end",
        stated=False,
    )


_POOLING = (_no_fused_activation,)
_RESIZE = (_image,)

RULES: dict[str, Rule] = {
    rule.op: rule
    for rule in (
        *map(Rule, ("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "RSQRT")),
        *map(Rule, ("L2_NORMALIZATION", "LOGISTIC", "TANH", "RELU", "RELU6", "RELU_N1_TO_1")),
        *map(Rule, ("QUANTIZE", "SPACE_TO_DEPTH")),
        Rule("AVERAGE_POOL_2D", (), _POOLING),
        Rule("MAX_POOL_2D", (), _POOLING),
        Rule("CONCATENATION", (), (_no_fused_activation, _zero_padding_only)),
        Rule("CONV_2D", (1, 2), (_no_groups, _same_dilation)),
        Rule("DEPTHWISE_CONV_2D", (1, 2), (_same_dilation,)),
        Rule("TRANSPOSE_CONV", (0, 1, 3)),
        Rule("FULLY_CONNECTED", (1, 2), (_default_weights, _vector_output, _one_scale)),
        Rule("LSTM", range(1, 18)),
        Rule("UNIDIRECTIONAL_SEQUENCE_LSTM", range(1, 18)),
        Rule("MEAN", (1,), (_not_batch, _channels_by_four)),
        Rule("SUM", (1,)),
        Rule("REDUCE_MAX", (1,), (_not_batch,)),
        Rule("REDUCE_MIN", (1,), (_not_batch,)),
        Rule("PACK", (), (_no_pack_of_batch,)),
        Rule("PAD", (1,), (_no_pad_of_batch,)),
        Rule("PRELU", (1,), (_vector_alpha,)),
        Rule("RESHAPE", (1,), (_small_reshape,)),
        Rule("EXPAND_DIMS", (1,)),
        Rule("SQUEEZE"),
        Rule("RESIZE_BILINEAR", (1,), _RESIZE),
        Rule("RESIZE_NEAREST_NEIGHBOR", (1,), _RESIZE),
        Rule("SOFTMAX", (), (_vector_softmax,)),
        Rule("SLICE", (1, 2)),
        Rule("SPLIT", (0,)),
        Rule("STRIDED_SLICE", (1, 2, 3), (_plain_slice,)),
        Rule("TRANSPOSE", (1,), (_four_dimensions,)),
        Rule("TILE", (1,), (_shown_tile,)),
    )
}
WITH_KERNEL = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
PARAMETRIC = (*WITH_KERNEL, "LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM", "PRELU")
"""Operators whose constants are parameters, not shapes or axes."""


def _data_inputs(model: Model, operator: Operator) -> list[Tensor]:
    """Return the inputs that are not parameters: activations, and constants in their place."""
    constants = RULES[operator.name].constants
    positions = (p for p in range(len(operator.inputs)) if p not in constants)
    tensors = (input_of(model, operator, position) for position in positions)
    return [tensor for tensor in tensors if tensor]


def _outputs(model: Model, operator: Operator) -> list[Tensor]:
    return [model.tensors[i] for i in operator.outputs]


def _activations(model: Model, operator: Operator) -> list[Tensor]:
    return _data_inputs(model, operator) + _outputs(model, operator)


def _is_eight_bits(tensor: Tensor) -> bool:
    return tensor.dtype in ACTIVATION_DTYPES or (tensor.is_variable and tensor.dtype == "int16")


def _values(model: Model, operator: Operator, position: int) -> list[int]:
    """Return the numbers of a constant input; none where it is left out or not plain."""
    tensor = input_of(model, operator, position)
    if tensor is None or tensor.data is None or tensor.dtype not in ("int32", "int64"):
        return []
    return [int(value) for value in tensor.data.ravel()]


def _axes(model: Model, operator: Operator) -> set[int]:
    """Return the dimensions that a reduction is over, counted from the first."""
    tensor = input_of(model, operator, 0)
    rank = len(tensor.shape) if tensor else 0
    return {axis % rank for axis in _values(model, operator, 1)} if rank else set()
