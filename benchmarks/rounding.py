"""How each runtime rounds exact halves in int8 operators, by files of one operator.

    python benchmarks/rounding.py [--device emulated:cortex-a72]

Every operator halves odd numbers from -9 to 9, so that each result lies between two codes; where no
rule fits, the codes themselves are printed. A second table has what MEAN makes of maps of 7 x 7:
how far its codes are from the exact ones. Both are in docs/evidence/verify.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgenets.errors import EdgenetsError
from edgenets.export.devices.device import parse_device
from edgenets.export.measure.runtimes import RUNTIMES, Runtime, open_runtimes

ODD = np.arange(-9, 10, 2, dtype=np.int8)
SIZE = len(ODD)
RULES: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "half up": lambda halves: np.floor(halves + 0.5),
    "half even": np.rint,
    "half away from zero": lambda halves: np.sign(halves) * np.floor(np.abs(halves) + 0.5),
}
KINDS = schema.TensorType
ONE = np.int8([1])
MAPS, SIDE, CHANNELS = 8, 7, 16
MAP_STEP, MEAN_STEPS, ZERO_POINT = 0.5, (0.5, 0.4, 0.3), -128


class Net:
    """A file of one operator, from an int8 or float32 tensor to an int8 one."""

    def __init__(
        self,
        operator: str,
        version: int,
        shape: tuple[int, ...],
        scale: float = 1.0,
        zero_point: int = 0,
    ) -> None:
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.buffers, self.graph.tensors = [schema.BufferT()], []
        self.zero_point = zero_point  # of input and result
        self.inputs = [self.tensor(shape, KINDS.INT8, scale)]
        self.graph.tensors[0].quantization.zeroPoint = [zero_point]
        self.operator, self.version = operator, version

    def tensor(
        self,
        shape: tuple[int, ...],
        kind: int,
        scale: float | None,
        content: NDArray[Any] | None = None,
    ) -> int:
        """Add a tensor, a constant where it has content; return its index."""
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = "", shape, kind, 0
        if scale is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [0]
        if content is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(content.tobytes(), np.uint8)
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(self, content: NDArray[Any], kind: int, scale: float | None = None) -> Net:
        """Add an input that is a constant."""
        self.inputs.append(self.tensor(content.shape, kind, scale, content))
        return self

    def content(self, shape: tuple[int, ...], options: Any = None, scale: float = 2.0) -> bytes:
        """Return the file, whose result has this shape and scale."""
        result = self.tensor(shape, KINDS.INT8, scale)
        self.graph.tensors[result].quantization.zeroPoint = [self.zero_point]
        operator, code = schema.OperatorT(), schema.OperatorCodeT()
        operator.opcodeIndex, operator.inputs, operator.outputs = 0, self.inputs, [result]
        if options is not None:
            name = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            operator.builtinOptions = options
        code.builtinCode = getattr(schema.BuiltinOperator, self.operator)
        code.deprecatedBuiltinCode, code.version = code.builtinCode, self.version
        self.graph.operators, self.graph.inputs, self.graph.outputs = [operator], [0], [result]
        self.model.version, self.model.operatorCodes = 3, [code]
        self.model.subgraphs = [self.graph]
        builder = flatbuffers.Builder()
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def nets() -> dict[str, tuple[bytes, NDArray[Any]]]:
    """Return for each operator its file and the input, [1, ...], of which it makes halves."""
    bias = np.int32([0])
    strides = schema.Conv2DOptionsT()
    strides.strideH = strides.strideW = strides.dilationHFactor = strides.dilationWFactor = 1
    image = (1, SIZE, 1, 1)
    conv = Net("CONV_2D", 3, image).constant(ONE.reshape(1, 1, 1, 1), KINDS.INT8, 1.0)
    dense = Net("FULLY_CONNECTED", 4, (1, SIZE)).constant(
        np.eye(SIZE, dtype=np.int8), KINDS.INT8, 1.0
    )
    dense.constant(np.zeros(SIZE, np.int32), KINDS.INT32, 1.0)
    mul = Net("MUL", 2, (1, SIZE)).constant(np.ones((1, SIZE), np.int8), KINDS.INT8, 1.0)
    # In steps as the result's: the mean of two halves.
    mean = Net("MEAN", 2, (1, 2, 1, SIZE), 2.0).constant(np.int32([1, 2]), KINDS.INT32)
    halved = np.stack([ODD, np.zeros_like(ODD)]).reshape(2, 1, SIZE)
    quantize = Net("QUANTIZE", 1, (1, SIZE))
    quantize.graph.tensors[0].type, quantize.graph.tensors[0].quantization = KINDS.FLOAT32, None
    return {
        "CONV_2D": (
            conv.constant(bias, KINDS.INT32, 1.0).content(image, strides),
            ODD.reshape(SIZE, 1, 1),
        ),
        "FULLY_CONNECTED": (dense.content((1, SIZE), schema.FullyConnectedOptionsT()), ODD),
        "MUL": (mul.content((1, SIZE), schema.MulOptionsT()), ODD),
        "MEAN": (mean.content((1, SIZE), schema.ReducerOptionsT()), halved),
        "QUANTIZE": (quantize.content((1, SIZE)), ODD.astype(np.float32)),
    }


def rule(codes: NDArray[Any]) -> str:
    """Return the name of the rule by which halves became these codes."""
    for name, apply in RULES.items():
        if np.array_equal(codes, apply(ODD / 2)):
            return name
    return " ".join(map(str, codes))


def print_means(runtimes: Sequence[Runtime]) -> None:
    """Print, in codes, how far MEAN is from the exact result on average, and at least and most."""
    print("| step of the result |" + "".join(f" {runtime.name} |" for runtime in runtimes))
    print("|---|" + "---|" * len(runtimes))
    shape = (SIDE, SIDE, CHANNELS)
    maps = np.random.default_rng(0).integers(-128, 128, (MAPS, *shape), dtype=np.int8)
    for step in MEAN_STEPS:
        net = Net("MEAN", 2, (1, *shape), MAP_STEP, ZERO_POINT)
        net.constant(np.int32([1, 2]), KINDS.INT32)
        # The optimized kernel of its own is for results of four dimensions.
        options = schema.ReducerOptionsT(keepDims=True)
        content = net.content((1, 1, 1, CHANNELS), options, step)
        values = MAP_STEP * (maps.mean(axis=(1, 2)) - ZERO_POINT)
        exact = values / step + ZERO_POINT
        inside = exact < 127  # others are clipped
        cells = []
        for runtime in runtimes:
            codes = runtime.run(content, maps).outputs[0].reshape(exact.shape)
            error = (codes - exact)[inside]
            cells.append(f"{error.mean():.2f} ({error.min():.2f} to {error.max():.2f})")
        print(f"| {step} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", action="append", type=parse_device, default=[])
    arguments = parser.parse_args()
    with ExitStack() as stack:
        runtimes, _ = open_runtimes(stack, RUNTIMES, arguments.device)
        print(f"| operator | {' | '.join(runtime.name for runtime in runtimes)} |")
        print("|---|" + "---|" * len(runtimes))
        for name, (content, value) in nets().items():
            cells = []
            for runtime in runtimes:
                try:
                    answers = runtime.run(content, value[np.newaxis])
                    cells.append(rule(answers.outputs[0].reshape(-1)))
                except EdgenetsError as error:
                    cells.append(str(error)[:60])
            print(f"| `{name}` | {' | '.join(cells)} |", flush=True)
        print()
        print_means(runtimes)


if __name__ == "__main__":
    main()
