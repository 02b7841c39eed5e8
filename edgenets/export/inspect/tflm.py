"""What the microcontroller runtime, TFLM, takes: its operators and their types, and an estimate.

The tables are those of tflite-micro 0.dev20261023, found by running it; a test runs it again. Needs
NumPy, and not tflite-micro.
"""

from __future__ import annotations

from collections import defaultdict

from edgenets.export.inspect.arena import arena_bytes
from edgenets.flatbuffer import WEIGHTED, Model, Operator
from edgenets.flatbuffer.names import EDGE_TPU_OPERATOR, ETHOS_U_OPERATOR

DECODE = "TFLM_DECODE"
"""A custom operator: makes a tensor of indices and a table."""
OPERATORS = frozenset(
    """
ABS ADD ADD_N ARG_MAX ARG_MIN ASSIGN_VARIABLE AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND
BROADCAST_ARGS BROADCAST_TO CALL_ONCE CAST CEIL CONCATENATION CONV_2D COS CUMSUM DEPTHWISE_CONV_2D
DEPTH_TO_SPACE DEQUANTIZE DIV DYNAMIC_UPDATE_SLICE ELU EMBEDDING_LOOKUP EQUAL EXP EXPAND_DIMS FILL
FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER GATHER_ND GREATER GREATER_EQUAL HARD_SWISH IF
L2_NORMALIZATION L2_POOL_2D LEAKY_RELU LESS LESS_EQUAL LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR
LOGISTIC LOG_SOFTMAX MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL PACK PAD PADV2
PRELU QUANTIZE READ_VARIABLE REDUCE_ALL REDUCE_MAX REDUCE_MIN RELU RELU6 RESHAPE RESIZE_BILINEAR
RESIZE_NEAREST_NEIGHBOR REVERSE_V2 ROUND RSQRT SELECT_V2 SHAPE SIN SLICE SOFTMAX SPACE_TO_BATCH_ND
SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM SVDF TANH
TRANSPOSE TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM UNPACK VAR_HANDLE WHILE ZEROS_LIKE
""".split()
)
"""Names of the schema that TFLM's interpreter knows."""

# Types of what an operator computes with, and the operators that take exactly these.
_BY_TYPES = {
    "float32": "CEIL COS EXP FLOOR L2_POOL_2D LOG NEG ROUND SIN SQRT SQUARE",
    "int8 float32": "DEPTH_TO_SPACE DIV ELU GATHER HARD_SWISH L2_NORMALIZATION LOG_SOFTMAX "
    "MIRROR_PAD PRELU REDUCE_MAX REDUCE_MIN RESIZE_BILINEAR SPACE_TO_BATCH_ND SPACE_TO_DEPTH",
    "int8 float32 int16": "ABS AVERAGE_POOL_2D EXPAND_DIMS LEAKY_RELU LOGISTIC MAX_POOL_2D MEAN "
    "RELU RELU6 RESIZE_NEAREST_NEIGHBOR SOFTMAX SUM TANH TRANSPOSE",
    "int8 float32 int16 int32": "ADD CONCATENATION MAXIMUM MINIMUM MUL PACK PAD PADV2 SLICE SPLIT "
    "SPLIT_V SQUARED_DIFFERENCE STRIDED_SLICE SUB UNPACK",
    "int8 float32 int32": "ZEROS_LIKE",
    "int8 float32 int16 int32 uint8": "QUANTIZE",
    "int8 int16 uint8": "DEQUANTIZE",
}
TYPES = {name: tuple(types.split()) for types, names in _BY_TYPES.items() for name in names.split()}
"""By operator; others are not looked at."""
KERNEL_TYPES = (("int8", "int8"), ("int16", "int8"), ("float32", "float32"), ("int8", "int4"))
"""Of the input and the kernel of convolutions and dense layers."""

# How the resolver of C++ calls an operator, where that is not the schema's name in other letters.
_METHODS = {
    "BATCH_MATMUL": "BatchMatMul",
    "CUMSUM": "CumSum",
    "PADV2": "PadV2",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTM",
    DECODE: "Decode",
    ETHOS_U_OPERATOR: "EthosU",
}

# Bytes that TFLM keeps in the arena on a 64-bit machine beside activations.
EVERY_TENSOR, EVERY_OPERATOR, EVERY_CHANNEL, INTERPRETER = 24, 64, 8, 1500
EVERY_WEIGHTED = 112
"""What a convolution or dense layer keeps of itself beside a multiplier and a shift a channel."""


def lacking(model: Model) -> list[str]:
    """Return what TFLM lacks for a file, in sentences; none is best.

    >>> from types import SimpleNamespace as Made
    >>> tile = Operator("TILE", 1, (0,), (1,))
    >>> lacking(Made(operators=[tile], tensors=[]))
    ['TFLM has no TILE (operator 0)']
    """
    found: dict[str, list[int]] = defaultdict(list)
    for index, operator in enumerate(model.operators):
        if problem := _problem(model, operator):
            found[problem].append(index)
    return [
        f"{problem} (operator{'s' if len(indices) > 1 else ''} {', '.join(map(str, indices))})"
        for problem, indices in found.items()
    ]


def limits(model: Model) -> list[str]:
    """Return what `lacking` does, and at the end what to do about it."""
    found = lacking(model)
    if model.compiled == EDGE_TPU_OPERATOR:
        return ["it was compiled for the Edge TPU; pass the file that it was compiled from"]
    if not found or model.compiled:  # of which the sentence says it
        return found
    return [*found, "export the net as int8, with --target mcu; replace layers that TFLM lacks"]


def resolver_methods(model: Model) -> list[str]:
    """Return the methods of `MicroMutableOpResolver` that a file's operators ask for, each once.

    >>> from types import SimpleNamespace as Made
    >>> operators = [Operator(name, 1, (), ()) for name in ("CONV_2D", "PADV2", "CONV_2D")]
    >>> resolver_methods(Made(operators=operators))
    ['AddConv2D', 'AddPadV2']
    """
    return sorted({f"Add{method_of(operator.name)}" for operator in model.operators})


def method_of(name: str) -> str:
    """Return what the resolver calls an operator, without its "Add".

    >>> method_of("DEPTHWISE_CONV_2D"), method_of("TFLM_DECODE")
    ('DepthwiseConv2D', 'Decode')
    """
    words = name.split("_")
    spelled = "".join(word if word[0].isdigit() else word.capitalize() for word in words)
    return _METHODS.get(name, spelled)


def estimated_arena_bytes(model: Model) -> int:
    """Return about what TFLM takes: activations as planned, and what it keeps beside them.

    For machines without tflite-micro. For the nets measured it is 4 % too low to 20 % too high, on
    a 64-bit machine: the plan keeps the input to the end, TFLM does not. A 32-bit one takes less.
    """
    weighted = [operator for operator in model.operators if operator.name in WEIGHTED]
    channels = sum(model.tensors[operator.outputs[0]].shape[-1] for operator in weighted)
    return (
        arena_bytes(model)
        + EVERY_TENSOR * len(model.tensors)
        + EVERY_OPERATOR * len(model.operators)
        + EVERY_WEIGHTED * len(weighted)
        + EVERY_CHANNEL * channels
        + INTERPRETER
    )


def _problem(model: Model, operator: Operator) -> str | None:
    name = operator.name
    if name == ETHOS_U_OPERATOR:
        return (
            f"{name} runs in a TFLM that is built with the Ethos-U driver, on a chip with that "
            "NPU, and not in the package tflite-micro"
        )
    if name not in OPERATORS and name != DECODE:
        return f"TFLM has no {name}"
    types = [model.tensors[index].dtype for index in operator.inputs if index >= 0]
    if name in WEIGHTED and (types[0], types[1]) not in KERNEL_TYPES:
        return f"TFLM has no {name} of {types[0]} with kernels of {types[1]}"
    for dtype in types[1:2] if name == "SPLIT" else types[:1]:  # whose axis comes first
        if dtype not in TYPES.get(name, (dtype,)):
            return f"TFLM has {name} for {', '.join(TYPES[name])}, not for {dtype}"
    return None
