"""Files of single operators, on both sides of each rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgenets import flatbuffer

SAME, VALID = schema.Padding.SAME, schema.Padding.VALID


class Value(NamedTuple):
    """A tensor: computed where it has no data."""

    shape: tuple[int, ...]
    dtype: str = "int8"
    data: Any = None
    scale: float | None = 0.5
    signature: tuple[int, ...] | None = None


def image(*shape: int, **changes: Any) -> Value:
    return Value((1, *shape), **changes)


def numbers(*values: int) -> Value:
    return Value((len(values),), "int32", np.int32(values), None)


def weights(*shape: int, dtype: str = "int8") -> Value:
    return Value(shape, dtype, np.ones(shape, dtype))


def bias(size: int) -> Value:
    return Value((size,), "int32", np.ones(size, np.int32), 0.25)


def conv(stride: int = 1, padding: int = SAME, dilation: int = 1) -> Any:
    return schema.Conv2DOptionsT(padding, stride, stride, 0, dilation, dilation)


def depthwise(stride: int) -> Any:
    return schema.DepthwiseConv2DOptionsT(SAME, stride, stride, 1, 0, 1, 1)


def pool(size: int, stride: int = 1, padding: int = SAME) -> Any:
    return schema.Pool2DOptionsT(padding, stride, stride, size, size, 0)


def bilinear(half_pixel: bool, corners: bool = False) -> Any:
    return schema.ResizeBilinearOptionsT(alignCorners=corners, halfPixelCenters=half_pixel)


I8, I4, MAP = image(8, 8, 16), image(4, 4, 16), image(1, 1, 16)
K3, B16 = weights(16, 3, 3, 16), bias(16)
D3 = weights(1, 3, 3, 16)
PADS = Value((4, 2), "int32", np.int32([[0, 0], [1, 1], [1, 1], [0, 0]]), None)
SLICED = [numbers(0, 0, 0, 0), numbers(1, 8, 8, 16), numbers(1, 2, 2, 1)]
AXIS = numbers(3)._replace(shape=())
DENSE, NEAREST = schema.FullyConnectedOptionsT(), schema.ResizeNearestNeighborOptionsT()
REDUCE = schema.ReducerOptionsT(keepDims=True)
I16 = image(8, 8, 16, dtype="int16")
FLOAT = image(8, 8, 16, dtype="float32", scale=None)


class Case(NamedTuple):
    """An operator."""

    op: str
    inputs: list[Value]
    outputs: Value | list[Value]
    options: Any
    stopped: str  # a word of the rule that stops it; "" where it maps


# Vela ends at the first, and refuses files with the second.
ARG_MAX = Case("ARG_MAX", [image(4, 4, 127), numbers(3)], image(4, 4, dtype="int32"), None, "")
SWISH_16 = Case("HARD_SWISH", [I16], I16, schema.HardSwishOptionsT(), "int16")
CASES = tuple(
    Case(*row)
    for row in (
        ("ADD", [I8, I8], I8, schema.AddOptionsT(), ""),
        ("ADD", [FLOAT, FLOAT], FLOAT, schema.AddOptionsT(), "float32"),
        ("MUL", [I8, I8], I8, schema.MulOptionsT(), ""),
        ("DIV", [FLOAT, FLOAT], FLOAT, schema.DivOptionsT(), "not an operator"),
        ("CONV_2D", [I8, K3, B16], I8, conv(), ""),
        ("CONV_2D", [image(16, 16, 16), weights(16, 5, 5, 16), B16], I4, conv(4), "strides"),
        ("CONV_2D", [image(16, 16, 16), K3, B16], I4, conv(4), ""),  # which pads nothing
        ("CONV_2D", [image(15, 15, 16), K3, B16], I4, conv(4, VALID), ""),
        ("CONV_2D", [I8, K3, Value((16,), "int32", None, 0.25)], I8, conv(), "constant"),
        ("DEPTHWISE_CONV_2D", [I8, D3, B16], I4, depthwise(2), ""),
        ("DEPTHWISE_CONV_2D", [image(16, 16, 16), D3, B16], I4, depthwise(4), "strides"),
        ("AVERAGE_POOL_2D", [I8], I8, pool(8), ""),
        ("AVERAGE_POOL_2D", [I8], I8, pool(9), "averages 8 x 8"),
        ("AVERAGE_POOL_2D", [image(9, 9, 16)], MAP, pool(9, 1, VALID), ""),
        ("MAX_POOL_2D", [I8], I8, pool(9), ""),
        ("MAX_POOL_2D", [image(16, 16, 16)], I4, pool(5, 4), "strides"),
        ("MAX_POOL_2D", [image(16, 16, 16)], I4, pool(4, 4), ""),
        ("MEAN", [I8, numbers(1, 2)], MAP, REDUCE, ""),
        ("MINIMUM", [I8, I8], I8, schema.MaximumMinimumOptionsT(), ""),
        ("MAXIMUM", [I8, I8], I8, schema.MaximumMinimumOptionsT(), ""),
        (
            "MINIMUM",
            [I8, I8],
            I8._replace(scale=0.25),
            schema.MaximumMinimumOptionsT(),
            "one scale",
        ),
        ("HARD_SWISH", [I8], I8, schema.HardSwishOptionsT(), ""),
        ("RESHAPE", [I8, numbers(1, 1024)], image(1024), schema.ReshapeOptionsT(), ""),
        ("RESIZE_BILINEAR", [I4, numbers(8, 8)], I8, bilinear(True), ""),
        ("RESIZE_BILINEAR", [I4, numbers(16, 16)], image(16, 16, 16), bilinear(True), "one factor"),
        ("RESIZE_BILINEAR", [I4, numbers(16, 16)], image(16, 16, 16), bilinear(False), ""),
        (
            "RESIZE_BILINEAR",
            [I4, numbers(12, 12)],
            image(12, 12, 16),
            bilinear(False),
            "one factor",
        ),
        ("RESIZE_BILINEAR", [MAP, numbers(12, 12)], image(12, 12, 16), bilinear(False), ""),
        ("SOFTMAX", [image(10)], image(10, scale=1 / 256), schema.SoftmaxOptionsT(beta=1.0), ""),
        ("QUANTIZE", [FLOAT], I8, schema.QuantizeOptionsT(), "float32"),
        ("QUANTIZE", [I8], I8._replace(scale=0.25), schema.QuantizeOptionsT(), ""),
        (
            "TRANSPOSE",
            [image(8, 16), numbers(0, 2, 1)],
            image(16, 8),
            schema.TransposeOptionsT(),
            "",
        ),
        ("GATHER", [I8, numbers(*range(4))], image(8, 8, 4), schema.GatherOptionsT(3), "not an op"),
        ("RELU6", [image(8, 8, 16, scale=None)], I8, None, "scale"),
        *((name, [I8], I8, None, "") for name in ("TANH", "LOGISTIC", "RELU", "RELU6")),
        *((name, [I8], I8, None, "") for name in ("RELU_0_TO_1", "RELU_N1_TO_1")),
        ("LEAKY_RELU", [I8], I8, schema.LeakyReluOptionsT(alpha=0.1), ""),
        ("SUB", [I8, I8], I8, schema.SubOptionsT(), ""),
        ("CONCATENATION", [I8, I8], image(8, 8, 32), schema.ConcatenationOptionsT(axis=3), ""),
        ("FULLY_CONNECTED", [image(16), weights(10, 16), bias(10)], image(10), DENSE, ""),
        ("PAD", [I4, PADS], image(6, 6, 16), schema.PadOptionsT(), ""),
        ("SQUEEZE", [MAP], Value((1, 16)), schema.SqueezeOptionsT(squeezeDims=[1, 2]), ""),
        ("EXPAND_DIMS", [I4, AXIS], image(4, 4, 1, 16), None, ""),
        ("PACK", [I4, I4], image(4, 4, 16, 2), schema.PackOptionsT(valuesCount=2, axis=4), ""),
        ("SLICE", [I8, numbers(0, 0, 0, 0), numbers(1, 4, 4, 16)], I4, schema.SliceOptionsT(), ""),
        ("STRIDED_SLICE", [I8, *SLICED], I4, schema.StridedSliceOptionsT(), ""),
        ("RESIZE_NEAREST_NEIGHBOR", [I4, numbers(8, 8)], I8, NEAREST, ""),
        ("RESIZE_NEAREST_NEIGHBOR", [I4, numbers(5, 5)], image(5, 5, 16), NEAREST, "one factor"),
        ("ADD", [I16, I16], I16, schema.AddOptionsT(), ""),
        ("LOGISTIC", [I16], I16, None, ""),
        ("MEAN", [I16, numbers(1, 2)], MAP._replace(dtype="int16"), REDUCE, ""),
        ("CONV_2D", [I16, K3, B16], I16, conv(), ""),
        ("UNPACK", [image(2, 8)], [image(8), image(8)], schema.UnpackOptionsT(num=2, axis=1), ""),
        ("SPLIT", [AXIS, I8], [image(8, 8, 8)] * 2, schema.SplitOptionsT(numSplits=2), ""),
    )
)


def build(cases: Sequence[Case]) -> bytes:
    """Return a file with these operators side by side."""
    graph, model = schema.SubGraphT(), schema.ModelT()
    graph.tensors, graph.operators, graph.inputs, graph.outputs = [], [], [], []
    model.operatorCodes, model.buffers = [], [schema.BufferT()]

    def add(value: Value) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape = f"t{len(graph.tensors)}", list(value.shape)
        tensor.shapeSignature = value.signature
        tensor.type = flatbuffer.DTYPES.index(value.dtype)
        tensor.buffer = 0
        if value.data is not None:
            tensor.buffer = len(model.buffers)
            content = np.frombuffer(value.data.tobytes(), np.uint8)
            model.buffers.append(schema.BufferT(data=content))
        if value.scale:
            tensor.quantization = schema.QuantizationParametersT(scale=[value.scale], zeroPoint=[0])
        graph.tensors.append(tensor)
        return len(graph.tensors) - 1

    for name, inputs, outputs, options, _ in cases:
        number = flatbuffer.OPERATORS.index(name)
        code = schema.OperatorCodeT(builtinCode=number, version=2)
        code.deprecatedBuiltinCode = min(number, 127)
        operator = schema.OperatorT(opcodeIndex=len(model.operatorCodes))
        model.operatorCodes.append(code)
        operator.inputs, operator.outputs = [
            [add(value) for value in values]
            for values in (inputs, outputs if isinstance(outputs, list) else [outputs])
        ]
        if options is not None:
            operator.builtinOptions = options
            kind = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        read = zip(operator.inputs, inputs, strict=True)
        graph.inputs += [index for index, value in read if value.data is None]
        graph.outputs += operator.outputs
        graph.operators.append(operator)
    model.version, model.subgraphs = 3, [graph]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.fixture(scope="session")
def cases() -> tuple[Case, ...]:
    """Operators, and of each a word of the rule that stops it, or "" where it maps."""
    return CASES


@pytest.fixture(scope="session")
def build_file() -> Callable[[Sequence[Case]], bytes]:
    """A function from cases to a file with these operators side by side."""
    return build


@pytest.fixture(scope="session")
def case_file() -> Callable[..., bytes]:
    """A function from names of operators to a file of a case of each."""
    broken = {"ARG_MAX": ARG_MAX, "HARD_SWISH int16": SWISH_16}
    known = broken | {case.op: case for case in reversed(CASES)}
    return lambda *names: build([known[name] for name in names])


@pytest.fixture(scope="session")
def kernel_file() -> Callable[[Any], bytes]:
    """A function from the codes of a kernel, [out, height, width, in], to a convolution's file."""

    def build_convolution(codes: Any) -> bytes:
        outside, _, _, inside = codes.shape
        kernel = Value(codes.shape, "int8", codes)
        output = image(8, 8, outside)
        return build(
            [Case("CONV_2D", [image(8, 8, inside), kernel, bias(outside)], output, conv(), "")]
        )

    return build_convolution
