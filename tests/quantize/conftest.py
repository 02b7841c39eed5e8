"""A file with one dense layer, whatever its kernel."""

from __future__ import annotations

from collections.abc import Callable

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema


@pytest.fixture(scope="session")
def dense_file() -> Callable[..., bytes]:
    """A function from a kernel to a file with products as scales.

    A uint8 kernel has one scale, a float one none; with `extremes` the largest values of each row
    are in the file, which the scales follow from.
    """
    return build


def build(
    kernel: np.ndarray, zero_point: int = 0, axis: int = 0, *, extremes: bool = False
) -> bytes:
    scales = np.linspace(0.001, 0.002, kernel.shape[axis], dtype=np.float32)
    largest = scales * np.float32(127) if extremes else scales[:0]
    if extremes:
        scales = largest / np.float32(127)
    biases = np.random.default_rng(0).normal(0, 1000, len(kernel)).astype(np.int32)
    if kernel.dtype != np.int8:
        scales = scales[: int(kernel.dtype == np.uint8)]
    kernel_type = {
        np.dtype(t.lower()): getattr(schema.TensorType, t)
        for t in ("INT8", "UINT8", "FLOAT16", "FLOAT32")
    }

    def tensor(shape, kind, buffer, scale, zero=0, axis=0, largest=()):
        quantization = schema.QuantizationParametersT(
            min=np.float32(largest) / -2,
            max=np.float32(largest),
            scale=np.float32(scale),
            zeroPoint=np.full(len(scale), zero, np.int64),
            quantizedDimension=axis,
        )
        return schema.TensorT(
            shape=np.int32(shape), type=kind, buffer=buffer, quantization=quantization
        )

    model = schema.ModelT(
        version=3,
        operatorCodes=[schema.OperatorCodeT(deprecatedBuiltinCode=9, builtinCode=9, version=4)],
        subgraphs=[
            schema.SubGraphT(
                tensors=[
                    tensor([1, 4], schema.TensorType.INT8, 0, [0.3]),
                    tensor(
                        kernel.shape,
                        kernel_type[kernel.dtype],
                        *(1, scales, zero_point, axis, largest),
                    ),
                    tensor([len(kernel)], schema.TensorType.INT32, 2, scales * np.float32(0.3)),
                    tensor([1, len(kernel)], schema.TensorType.INT8, 0, [0.5]),
                ],
                inputs=np.int32([0]),
                outputs=np.int32([3]),
                operators=[schema.OperatorT(0, np.int32([0, 1, 2]), np.int32([3]))],
            )
        ],
        buffers=[
            schema.BufferT(),
            schema.BufferT(data=kernel.ravel().view(np.uint8)),
            schema.BufferT(data=biases.view(np.uint8)),
        ],
    )
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
