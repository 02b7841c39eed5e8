from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema


@pytest.fixture(scope="module")
def content() -> bytes:
    """A model built by hand: one dense layer, 4 inputs to 2 outputs, int8 weights 1..8."""
    return build_dense_model()


def build_dense_model() -> bytes:
    import flatbuffers

    def tensor(name: str, shape: list[int], kind: int, buffer: int) -> schema.TensorT:
        return schema.TensorT(
            name=name,
            shape=np.int32(shape),
            type=kind,
            buffer=buffer,
            quantization=schema.QuantizationParametersT(
                scale=np.float32([0.5]), zeroPoint=np.int64([3 if buffer == 0 else 0])
            ),
        )

    int8, int32 = schema.TensorType.INT8, schema.TensorType.INT32
    tensors = [
        tensor("in", [1, 4], int8, 0),
        tensor("kernel", [2, 4], int8, 1),
        tensor("bias", [2], int32, 2),
        tensor("out", [1, 2], int8, 0),
    ]
    tensors[2].quantization.scale = np.float32([0.25])
    dense = schema.OperatorT(
        opcodeIndex=0,
        inputs=np.int32([0, 1, 2]),
        outputs=np.int32([3]),
        builtinOptionsType=schema.BuiltinOptions.FullyConnectedOptions,
        builtinOptions=schema.FullyConnectedOptionsT(),
    )
    model = schema.ModelT(
        version=3,
        operatorCodes=[schema.OperatorCodeT(deprecatedBuiltinCode=9, builtinCode=9, version=4)],
        subgraphs=[
            schema.SubGraphT(
                tensors=tensors,
                inputs=np.int32([0]),
                outputs=np.int32([3]),
                operators=[dense],
                name="main",
            )
        ],
        buffers=[
            schema.BufferT(),
            schema.BufferT(data=np.arange(1, 9, dtype=np.uint8)),
            schema.BufferT(data=np.int32([10, -10]).view(np.uint8)),
        ],
    )
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
