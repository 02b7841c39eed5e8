"""What TFLM takes, held against TFLM: an operator at a time, in each type."""

from __future__ import annotations

import pickle
import subprocess
import sys
from itertools import product
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgenets import flatbuffer
from edgenets.export.board.protocol import TFLM_PACKAGE
from edgenets.export.devices.tflm import least_arena
from edgenets.export.inspect.arena import arena_bytes
from edgenets.export.inspect.tflm import (
    KERNEL_TYPES,
    OPERATORS,
    TYPES,
    estimated_arena_bytes,
    lacking,
    limits,
    method_of,
)
from edgenets.flatbuffer.edit import pack
from edgenets.flatbuffer.names import OPERATORS as SCHEMA
from edgenets.flatbuffer.names import WEIGHTED
from edgenets.packages import installed_version

Key = tuple[str, ...]  # an operator, its type, its kernel's
TRY_ALL = """
import pickle, sys
from importlib import import_module
from pathlib import Path
from edgenets.export.devices.tflm_child import PACKAGE, refusal

import_module(PACKAGE)  # once, before the forks
asked, told = map(Path, sys.argv[1:])
files = pickle.loads(asked.read_bytes())
said = {key: refusal(content, 2**20, invoke=True) for key, content in files.items()}
told.write_bytes(pickle.dumps(said))
"""
DTYPES = ("int8", "float32", "int16", "int32", "uint8")
MAP = (1, 4, 4, 4)
ITEM_BYTES = {"float32": 4, "int8": 1, "int16": 2, "uint8": 1, "int32": 4, "float16": 2}
# Scale and zero point that an operator asks of its output, by type.
OUTPUTS = {
    "L2_NORMALIZATION": {"int8": (1 / 128, 0)},
    "LOGISTIC": {"int8": (1 / 256, -128), "int16": (1 / 32768, 0)},
    "LOG_SOFTMAX": {"int8": (16 / 256, 127)},
    "SOFTMAX": {"int8": (1 / 256, -128), "int16": (1 / 32768, 0)},
    "TANH": {"int8": (1 / 128, 0), "int16": (1 / 32768, 0)},
}
KERNELS = {
    "CONV_2D": ((4, 1, 1, 4), 0),
    "DEPTHWISE_CONV_2D": ((1, 3, 3, 4), 3),
    "FULLY_CONNECTED": ((4, 4), None),
}


def i32(*values: Any) -> Any:
    return np.array(values, np.int32)


def options(name: str, **fields: Any) -> tuple[int, Any]:
    made = getattr(schema, f"{name}OptionsT")()
    for field, value in fields.items():
        setattr(made, field, value)
    return getattr(schema.BuiltinOptions, f"{name}Options"), made


POOL = options("Pool2D", strideH=2, strideW=2, filterHeight=2, filterWidth=2)
BORDER = i32([0, 0], [1, 1], [1, 1], [0, 0])
ONE = "one"  # a constant of a single value
# Operator -> what it takes beside a map (constants, or another map), its output's shape, options.
FORMS: dict[str, tuple[list[Any], tuple[int, ...], Any]] = {
    **dict.fromkeys(TYPES, ([], MAP, None)),
    **dict.fromkeys(
        "MAXIMUM MINIMUM PRELU SQUARED_DIFFERENCE".split(),
        ([MAP], MAP, None),
    ),
    **{name: ([MAP], MAP, options(name.capitalize())) for name in ("ADD", "DIV", "MUL", "SUB")},
    **{name: ([], (1, 2, 2, 4), POOL) for name in TYPES if name.endswith("POOL_2D")},
    **dict.fromkeys(
        "MEAN SUM REDUCE_MAX REDUCE_MIN".split(), ([i32(1, 2)], (1, 4), options("Reducer"))
    ),
    "SOFTMAX": ([], MAP, options("Softmax", beta=1.0)),
    "LEAKY_RELU": ([], MAP, options("LeakyRelu", alpha=0.1)),
    "EXPAND_DIMS": ([np.int32(0)], (1, *MAP), None),
    "TRANSPOSE": ([i32(0, 2, 1, 3)], MAP, None),
    "PAD": ([BORDER], (1, 6, 6, 4), None),
    "PADV2": ([BORDER, ONE], (1, 6, 6, 4), None),
    "MIRROR_PAD": ([BORDER], (1, 6, 6, 4), options("MirrorPad")),
    "STRIDED_SLICE": (
        [i32(0, 0, 0, 0), i32(1, 4, 4, 2), i32(1, 1, 1, 1)],
        (1, 4, 4, 2),
        options("StridedSlice"),
    ),
    "SLICE": ([i32(0, 0, 0, 0), i32(1, 4, 4, 2)], (1, 4, 4, 2), None),
    "CONCATENATION": ([MAP], (1, 4, 4, 8), options("Concatenation", axis=3)),
    "PACK": ([MAP], (2, *MAP), options("Pack", valuesCount=2, axis=0)),
    "GATHER": ([i32(1, 0)], (1, 4, 4, 2), options("Gather", axis=3)),
    "RESIZE_BILINEAR": ([i32(8, 8)], (1, 8, 8, 4), options("ResizeBilinear")),
    "RESIZE_NEAREST_NEIGHBOR": ([i32(8, 8)], (1, 8, 8, 4), options("ResizeNearestNeighbor")),
    "SPACE_TO_DEPTH": ([], (1, 2, 2, 16), options("SpaceToDepth", blockSize=2)),
    "DEPTH_TO_SPACE": ([], (1, 8, 8, 1), options("DepthToSpace", blockSize=2)),
    "SPACE_TO_BATCH_ND": ([i32(2, 2), i32([0, 0], [0, 0])], (4, 2, 2, 4), None),
    "SPLIT_V": ([i32(2, 2), np.int32(3)], (1, 4, 4, 2), options("SplitV", numSplits=2)),
    "SPLIT": ([], (1, 4, 4, 2), options("Split", numSplits=2)),
    "UNPACK": ([], (1, 4, 4), options("Unpack", num=4, axis=3)),
    "CONV_2D": ([], MAP, options("Conv2D", strideH=1, strideW=1)),
    "DEPTHWISE_CONV_2D": (
        [],
        MAP,
        options("DepthwiseConv2D", strideH=1, strideW=1, depthMultiplier=1),
    ),
    "FULLY_CONNECTED": ([], (16, 4), options("FullyConnected")),
}
MADE = {"SPLIT": 2, "SPLIT_V": 2, "UNPACK": 4}
"""Outputs, where there are several."""


class Builder:
    """A file of one operator, whatever that is."""

    def __init__(self) -> None:
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.buffers = 3, [schema.BufferT()]
        self.model.subgraphs, self.graph.tensors = [self.graph], []

    def tensor(
        self,
        shape: tuple[int, ...],
        dtype: str,
        content: bytes | None = None,
        *,
        grid: tuple[float, int] | None = None,
        channels: int = 1,
        axis: int | None = None,
    ) -> int:
        made = schema.TensorT()
        made.shape, made.buffer = list(shape), 0
        made.type = getattr(schema.TensorType, dtype.upper())
        if dtype in ("int8", "int16", "uint8", "int4"):
            scale, zero = grid or (0.1, 128 if dtype == "uint8" else 0)
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale = np.full(channels, scale, np.float32)
            made.quantization.zeroPoint = np.full(channels, zero, np.int64)
            made.quantization.quantizedDimension = axis or 0
        if content is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(content, np.uint8)
            self.model.buffers.append(buffer)
            made.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def finish(self, name: str, inputs: list[int], outputs: list[int], chosen: Any) -> bytes:
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        operator.opcodeIndex, operator.inputs, operator.outputs = 0, inputs, outputs
        if chosen:
            operator.builtinOptionsType, operator.builtinOptions = chosen
        self.model.operatorCodes, self.graph.operators = [code], [operator]
        computed = [index for index in inputs if not self.graph.tensors[index].buffer]
        self.graph.inputs, self.graph.outputs = computed, outputs
        return pack(self.model)


def single(name: str, dtype: str, kernel: str = "int8") -> bytes:
    """Return a file of an operator that FORMS has, of one type."""
    built = Builder()
    beside, shape, chosen = FORMS[name]
    inputs = [built.tensor((16, 4) if name == "FULLY_CONNECTED" else MAP, dtype)]
    for each in beside:
        if isinstance(each, tuple):
            inputs.append(built.tensor(MAP, dtype))
        elif isinstance(each, str):
            inputs.append(built.tensor((), dtype, bytes(ITEM_BYTES[dtype])))
        else:
            inputs.append(built.tensor(each.shape, "int32", each.tobytes()))
    if name == "SPLIT":  # whose axis comes first
        inputs.insert(0, built.tensor((), "int32", np.int32(3).tobytes()))
    if name in KERNELS:
        sizes, axis = KERNELS[name]
        content = bytes(int(np.prod(sizes)) * ITEM_BYTES.get(kernel, 1) // (1 + (kernel == "int4")))
        channels = 1 if axis is None else sizes[axis]
        inputs.append(built.tensor(sizes, kernel, content, channels=channels, axis=axis))
    made = "float32" if name == "DEQUANTIZE" else "int8" if name == "QUANTIZE" else dtype
    grid = OUTPUTS.get(name, {}).get(dtype)
    outputs = [built.tensor(shape, made, grid=grid) for _ in range(MADE.get(name, 1))]
    return built.finish(name, inputs, outputs, chosen)


@pytest.fixture(scope="module")
def refused(tmp_path_factory) -> dict[Key, str | None]:
    """What TFLM says of each operator alone, in each type; None of one that runs."""
    if not installed_version(TFLM_PACKAGE):
        pytest.skip("tflite-micro is not installed")
    files: dict[Key, bytes] = {}
    for name in set(SCHEMA) - {"CUSTOM", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES"}:
        built = Builder()
        tensors = [built.tensor(MAP, "int8") for _ in range(2)]
        files[(name,)] = built.finish(name, tensors[:1], tensors[1:], None)
    for name in TYPES:
        files |= {(name, dtype): single(name, dtype) for dtype in DTYPES}
    files[("DEQUANTIZE", "float16")] = single("DEQUANTIZE", "float16")
    for name, dtype, kernel in product(WEIGHTED, DTYPES, ("int8", "float32", "int4", "uint8")):
        files[name, dtype, kernel] = single(name, dtype, kernel)
    asked, told = (tmp_path_factory.mktemp("operators") / name for name in ("asked", "told"))
    asked.write_bytes(pickle.dumps(files))
    subprocess.run([sys.executable, "-c", TRY_ALL, asked, told], check=True, capture_output=True)
    return pickle.loads(told.read_bytes())


def test_operators_are_those_that_the_interpreter_knows(refused):
    names = [key[0] for key in refused if len(key) == 1]
    unknown = {name for name in names if "Didn't find op" in (refused[(name,)] or "")}
    assert set(names) - unknown == OPERATORS


@pytest.mark.parametrize("name", sorted(TYPES))
def test_types_of_an_operator_are_those_that_run(refused, name: str):
    tried = [key[1] for key in refused if key[0] == name and len(key) == 2]
    runs = {dtype for dtype in tried if refused[name, dtype] is None}
    assert runs == set(TYPES[name])
    for dtype in tried:
        assert bool(lacking(flatbuffer.read(single(name, dtype)))) is (dtype not in runs), dtype


@pytest.mark.parametrize("name", WEIGHTED)
def test_types_of_kernels_are_those_that_run(refused, name: str):
    tried = [key for key in refused if key[0] == name and len(key) == 3]
    assert {key[1:] for key in tried if refused[key] is None} == set(KERNEL_TYPES)
    for key in tried:
        said = lacking(flatbuffer.read(single(*key)))
        assert bool(said) is (key[1:] not in KERNEL_TYPES), key


@pytest.mark.parametrize(
    "name, dtype, sentence",
    [
        ("HARD_SWISH", "int16", "TFLM has HARD_SWISH for int8, float32, not for int16"),
        ("CONV_2D", "float32", "TFLM has no CONV_2D of float32 with kernels of int8"),
    ],
)
def test_sentences_name_operator_and_type(name: str, dtype: str, sentence: str):
    (said,) = lacking(flatbuffer.read(single(name, dtype)))
    assert said == f"{sentence} (operator 0)"


def test_limits_end_with_what_to_do():
    read = flatbuffer.read(single("CONV_2D", "float32"))
    assert limits(read)[:-1] == lacking(read)
    assert limits(read)[-1].startswith("export the net as int8, with --target mcu")
    assert limits(flatbuffer.read(single("CONV_2D", "int8"))) == []


def test_what_arm_s_compiler_makes_needs_its_driver():
    built = Builder()
    tensors = [built.tensor(MAP, "int8") for _ in range(2)]
    built.finish("CUSTOM", tensors[:1], tensors[1:], None)
    built.model.operatorCodes[0].customCode = "ethos-u"
    (said,) = limits(flatbuffer.read(pack(built.model)))
    assert said.startswith("ethos-u runs in a TFLM that is built with the Ethos-U driver")
    assert method_of("ethos-u") == "EthosU"


def test_methods_are_the_schema_s_names_in_other_letters():
    assert set(SCHEMA) >= OPERATORS
    for name in OPERATORS:
        assert method_of(name).lower() == name.replace("_", "").lower()
    examples = "Conv2D AveragePool2D L2Pool2D PadV2 BatchMatMul SpaceToBatchNd FullyConnected"
    assert set(examples.split()) <= set(map(method_of, OPERATORS))


@pytest.mark.skipif(not installed_version(TFLM_PACKAGE), reason="tflite-micro is not installed")
@pytest.mark.slow
def test_estimate_is_near_what_runs(tiny_net):
    model = flatbuffer.read(tiny_net.int8)
    least = least_arena(tiny_net.int8, arena_bytes(model))
    assert abs(estimated_arena_bytes(model) - least) < max(0.1 * least, 1024)
