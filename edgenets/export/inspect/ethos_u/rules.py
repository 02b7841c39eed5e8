"""Vela's rules for Ethos-U55 and -U65, one row per operator: what it must be to run on the NPU.

An operator that fails a check of its row in `RULES`, or is in neither that table nor `UNCHECKED`,
stays on the CPU. Only rules that a test holds against Vela are here; it has more, of operators that
image classifiers rarely have.

Source: `vela --supported-ops-report` of ethos-u-vela 5.2, "Ethos-U55 and Ethos-U65".
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from edgenets.export.inspect.placement import (
    Check,
    Finding,
    first_finding,
    input_of,
    not_an_operator,
)
from edgenets.flatbuffer import EDGE_TPU_OPERATOR, Model, Operator, Tensor
from edgenets.units import format_shape

DTYPES = ("int8", "uint8", "int16")
WEIGHT_DTYPES = ("int8", "uint8")
WITHOUT_SCALE = ("EXPAND_DIMS", "PAD", "QUANTIZE", "TRANSPOSE")
SAME = 0  # number of this padding in the schema
MAX_STRIDE = 3
MAX_PADDED_POOL = 8
MAX_SOFTMAX_AREA = 2**16
RESIZES = (1, 2, 4, 8)
RESIZES_HALF_PIXEL = (1, 2)

REPLACEMENTS = {
    "DIV": "multiply by the reciprocal",
    "GATHER": "fold the order of channels into the weights of the operator after it",
    "DEQUANTIZE": "give out integers and scale them in the program",
    "SHAPE": "export with the batch and all sizes fixed",
    "DENSIFY": "store weights densely",
    EDGE_TPU_OPERATOR: "pass the file that it was compiled from",
}


UNCHECKED = frozenset(
    """
ABS ARG_MAX BATCH_MATMUL ELU EXP GELU LOG MIRROR_PAD NEG PADV2 PRELU REDUCE_MAX REDUCE_MIN
REVERSE_V2 RSQRT SPLIT_V SQUARED_DIFFERENCE SUM TILE TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM
""".split()
)
"""Operators that run on the NPU within limits that are not looked at here."""
ASSUMED = Finding(
    "Vela puts it on the NPU within limits that are not checked here",
    "compile the file to know",
    stated=False,
    maps=True,
)


class Rule(NamedTuple):
    """A row of the table: an operator that runs on the NPU."""

    op: str
    parameters: tuple[int, ...] = ()  # positions of the inputs that are no activations
    constants: tuple[int, ...] = ()  # those of them that must be constant
    checks: tuple[Check, ...] = ()


def find(model: Model, operator: Operator) -> Finding | None:
    """Return the first rule that an operator breaks; None where it runs on the NPU."""
    if operator.name in UNCHECKED:
        return _both_ends(model, operator) or _integers(model, operator) or ASSUMED
    rule = RULES.get(operator.name)
    if rule is None:
        return not_an_operator(operator.name, "Ethos-U", REPLACEMENTS)
    common = (_both_ends, _integers, _static_shapes, _scales, _constant_parameters)
    return first_finding(model, operator, common + rule.checks)


# Checks of all operators.


def _both_ends(_: Model, operator: Operator) -> Finding | None:
    if operator.outputs and max(operator.inputs, default=-1) >= 0:
        return None
    return Finding("it must have an input and an output, and lacks one", "export it again")


def _integers(model: Model, operator: Operator) -> Finding | None:
    wrong = next((t for t in _activations(model, operator) if t.dtype not in DTYPES), None)
    if wrong is None:
        return None
    return Finding(
        f"tensors must be int8, uint8 or int16, and one is {wrong.dtype}",
        "quantize the whole model to int8, inputs and outputs too",
    )


def _static_shapes(model: Model, operator: Operator) -> Finding | None:
    for tensor in _activations(model, operator):
        if any(size < 0 for size in tensor.shape_signature[1:]):
            return Finding(
                f"sizes must be constant, and a tensor is {format_shape(tensor.shape_signature)}",
                "export with all sizes fixed",
            )
    return None


def _scales(model: Model, operator: Operator) -> Finding | None:
    tensors = () if operator.name in WITHOUT_SCALE else _activations(model, operator)
    if all(tensor.scale.size and (tensor.scale > 0).all() for tensor in tensors):
        return None
    return Finding("tensors must have a positive scale, and one has none", "quantize them")


def _constant_parameters(model: Model, operator: Operator) -> Finding | None:
    for position in RULES[operator.name].constants:
        tensor = input_of(model, operator, position)
        if tensor and not tensor.is_constant:
            return Finding(
                f"its parameters must be constant, and its input {position} is computed",
                "make it a constant",
            )
    return None


# Checks of single operators.


def _kernel_of_bytes(model: Model, operator: Operator) -> Finding | None:
    kernel = input_of(model, operator, 1)
    if kernel is None or kernel.dtype in WEIGHT_DTYPES:
        return None
    return Finding(f"weights must have 8 bits, and are {kernel.dtype}", "quantize them to int8")


def _short_strides(_: Model, operator: Operator) -> Finding | None:
    longest = max(_strides(operator))
    if longest <= MAX_STRIDE:
        return None
    return Finding(
        f"strides must be {MAX_STRIDE} at most, and one is {longest}", "stride in two steps"
    )


def _long_strides_unpadded(model: Model, operator: Operator) -> Finding | None:
    longest = max(_strides(operator))
    if longest <= MAX_STRIDE or (
        max(_dilations(operator)) == 1 and not _is_padded(model, operator)
    ):
        return None
    return Finding(
        f"strides over {MAX_STRIDE} need no padding and no dilation, and one is {longest}",
        "pad by none, or stride in two steps",
    )


def _small_padded_pool(model: Model, operator: Operator) -> Finding | None:
    sides = _kernel(model, operator)
    if max(sides) <= MAX_PADDED_POOL or not _is_padded(model, operator):
        return None
    return Finding(
        f"with padding it averages {MAX_PADDED_POOL} x {MAX_PADDED_POOL} at most, and has "
        f"{format_shape(sides)}",
        "pad by none",
    )


def _eight_bits(model: Model, operator: Operator) -> Finding | None:
    wrong = next((t for t in _activations(model, operator) if t.dtype == "int16"), None)
    if wrong is None:
        return None
    return Finding(
        f"Vela refuses a file with {operator.name} of int16", "export it as int8", refuses=True
    )


def _small_softmax(model: Model, operator: Operator) -> Finding | None:
    tensor = input_of(model, operator, 0)
    area = prod(tensor.shape[1:-1]) if tensor else 0
    if area < MAX_SOFTMAX_AREA:
        return None
    return Finding(
        f"height times width must be below {MAX_SOFTMAX_AREA:,}, and is {area:,}",
        "leave the softmax to the caller",
    )


def _one_quantization(model: Model, operator: Operator) -> Finding | None:
    tensors = _activations(model, operator)
    codes = {(float(t.scale[0]), int(t.zero_point[0])) for t in tensors if t.scale.size}
    if len(codes) == 1:
        return None
    return Finding(
        "inputs and output must have one scale and zero point, and have several",
        "quantize them alike",
    )


def _factor_of_two(model: Model, operator: Operator) -> Finding | None:
    before, after = input_of(model, operator, 0), model.tensors[operator.outputs[0]]
    if before is None or before.shape == after.shape or prod(before.shape[1:3]) == 1:
        return None
    corners = 1 if operator.options["align_corners"] else 0
    pairs = zip(before.shape[1:3], after.shape[1:3], strict=False)
    factors = {(large - corners) / max(small - corners, 1) for small, large in pairs}
    half = operator.name == "RESIZE_BILINEAR" and operator.options["half_pixel_centers"]
    allowed = RESIZES_HALF_PIXEL if half else RESIZES
    if len(factors) == 1 and factors <= {*allowed}:
        return None
    sizes = f"{format_shape(before.shape[1:3])} to {format_shape(after.shape[1:3])}"
    return Finding(
        f"it takes one factor of {', '.join(map(str, allowed[1:]))}, and goes from {sizes}",
        "resize by such a factor, or leave it to the caller",
    )


# Helpers, and the table.


SIDES = ("height", "width")


def _strides(operator: Operator) -> list[int]:
    return [operator.options[f"stride_{side}"] for side in SIDES]


def _dilations(operator: Operator) -> list[int]:
    return [operator.options.get(f"dilation_{side}", 1) for side in SIDES]


def _kernel(model: Model, operator: Operator) -> list[int]:
    """Return height and width of a convolution's kernel, or of what a pool takes at once."""
    if "filter_height" in operator.options:
        return [operator.options[f"filter_{side}"] for side in SIDES]
    kernel = input_of(model, operator, 1)
    return list(kernel.shape[1:3]) if kernel else []


def _is_padded(model: Model, operator: Operator) -> bool:
    """Tell whether anything is padded; 'same' pads nothing where the strides end at the border."""
    read, made = input_of(model, operator, 0), model.tensors[operator.outputs[0]]
    if operator.options["padding"] != SAME or read is None:
        return False
    sides = zip(
        *(read.shape[1:3], made.shape[1:3], _kernel(model, operator)),
        *(_strides(operator), _dilations(operator)),
        strict=False,
    )
    return any(
        (after - 1) * stride + (kernel - 1) * dilation + 1 > before
        for before, after, kernel, stride, dilation in sides
    )


def _activations(model: Model, operator: Operator) -> list[Tensor]:
    """Return what is read and made but parameters; of unchecked operators the first input."""
    if operator.name in UNCHECKED:
        return [tensor for tensor in (input_of(model, operator, 0),) if tensor]
    parameters = RULES[operator.name].parameters
    read = (
        input_of(model, operator, i) for i in range(len(operator.inputs)) if i not in parameters
    )
    return [tensor for tensor in read if tensor] + [model.tensors[i] for i in operator.outputs]


RULES: dict[str, Rule] = {
    rule.op: rule
    for rule in (
        *map(Rule, ("ADD", "SUB", "MUL", "CONCATENATION", "QUANTIZE")),
        *map(Rule, ("LOGISTIC", "TANH", "LEAKY_RELU")),
        Rule("HARD_SWISH", (), (), (_eight_bits,)),
        *map(Rule, ("RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1")),
        Rule("CONV_2D", (1, 2), (2,), (_kernel_of_bytes, _long_strides_unpadded)),
        Rule("DEPTHWISE_CONV_2D", (1, 2), (2,), (_kernel_of_bytes, _short_strides)),
        Rule("FULLY_CONNECTED", (1, 2), (2,), (_kernel_of_bytes,)),
        Rule("AVERAGE_POOL_2D", (), (), (_small_padded_pool, _long_strides_unpadded)),
        Rule("MAX_POOL_2D", (), (), (_long_strides_unpadded,)),
        Rule("MEAN", (1,), (1,)),
        Rule("MAXIMUM", (), (), (_one_quantization,)),
        Rule("MINIMUM", (), (), (_one_quantization,)),
        Rule("SOFTMAX", (), (), (_small_softmax,)),
        Rule("PAD", (1,), (1,)),
        Rule("RESHAPE", (1,)),
        Rule("SQUEEZE"),
        Rule("EXPAND_DIMS", (1,)),
        Rule("TRANSPOSE", (1,), (1,)),
        Rule("PACK"),
        Rule("UNPACK"),
        Rule("SPLIT", (0,)),
        Rule("SLICE", (1, 2), (1, 2)),
        Rule("STRIDED_SLICE", (1, 2, 3), (1, 2, 3)),
        Rule("RESIZE_BILINEAR", (1,), (), (_factor_of_two,)),
        Rule("RESIZE_NEAREST_NEIGHBOR", (1,), (), (_factor_of_two,)),
    )
}
