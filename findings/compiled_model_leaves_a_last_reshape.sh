#!/usr/bin/env bash
# ai-edge-litert 2.3.0: CompiledModel writes no answer where a RESHAPE to a computed shape is a file's last operator.
#
# A Flatten or Reshape of a net with an open batch becomes SHAPE, STRIDED_SLICE, PACK and RESHAPE. Where nothing comes
# after it (an embedding, a segmentation's map), the first run of CompiledModel returns and raises nothing, yet the
# output buffer holds what it held before; the second run raises RuntimeError. Interpreter answers rightly, and so does
# CompiledModel as soon as one operator stands behind. So such a file is given a fixed batch, or a last operator.
#
# Seen: the buffer filled with -9, input 1 2 3 4 5 6
#   RESHAPE last: Interpreter 1 2 3 4 5 6, CompiledModel -9 -9 -9 -9 -9 -9, then RuntimeError
#   RELU behind: Interpreter 1 2 3 4 5 6, CompiledModel 1 2 3 4 5 6, then 1 2 3 4 5 6
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
. "$folder/venv/bin/activate"
export PIP_DISABLE_PIP_VERSION_CHECK=1
pip install --quiet ai-edge-litert==2.3.0 flatbuffers==25.12.19 numpy==2.4.6
seen=$(cd "$folder" && python - 2>/dev/null <<'END'
import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as tfl
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.interpreter import Interpreter

CODES, KINDS, OPTIONS = tfl.BuiltinOperator, tfl.TensorType, tfl.BuiltinOptions
SLICE = tfl.StridedSliceOptionsT(shrinkAxisMask=1)
PACK = tfl.PackOptionsT(valuesCount=2)
SHAPE = tfl.ShapeOptionsT(outType=KINDS.INT32)
values = np.arange(1, 7, dtype=np.float32)


def flatten_file(with_relu: bool) -> bytes:
    """A file from [batch, 2, 3] to [batch, 6] as converters write it for an open batch, with or without a RELU."""
    buffers = [tfl.BufferT(data=[])]
    tensors = []

    def tensor(shape, kind, signature=None, constant=None):
        if constant is not None:
            buffers.append(tfl.BufferT(data=np.array(constant, np.int32).view(np.uint8).ravel()))
        tensors.append(
            tfl.TensorT(
                name=f"tensor{len(tensors)}",
                shape=shape,
                shapeSignature=signature,
                type=kind,
                buffer=0 if constant is None else len(buffers) - 1,
            )
        )
        return len(tensors) - 1

    image = tensor([1, 2, 3], KINDS.FLOAT32, [-1, 2, 3])
    image_shape, batch = tensor([3], KINDS.INT32), tensor([], KINDS.INT32)
    first, second = tensor([1], KINDS.INT32, constant=[0]), tensor([1], KINDS.INT32, constant=[1])
    width, flat_shape = tensor([], KINDS.INT32, constant=[6]), tensor([2], KINDS.INT32)
    flat = tensor([1, 6], KINDS.FLOAT32, [-1, 6])
    steps = [
        (CODES.SHAPE, [image], image_shape, OPTIONS.ShapeOptions, SHAPE),
        (CODES.STRIDED_SLICE, [image_shape, first, second, second], batch, OPTIONS.StridedSliceOptions, SLICE),
        (CODES.PACK, [batch, width], flat_shape, OPTIONS.PackOptions, PACK),
        (CODES.RESHAPE, [image, flat_shape], flat, OPTIONS.NONE, None),
    ]
    if with_relu:
        steps.append((CODES.RELU, [flat], tensor([1, 6], KINDS.FLOAT32, [-1, 6]), OPTIONS.NONE, None))
    operators = [
        tfl.OperatorT(opcodeIndex=i, inputs=ins, outputs=[out], builtinOptionsType=kind, builtinOptions=options)
        for i, (_, ins, out, kind, options) in enumerate(steps)
    ]
    model = tfl.ModelT(
        version=3,
        operatorCodes=[
            tfl.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, version=1) for code, *_ in steps
        ],
        subgraphs=[
            tfl.SubGraphT(name="main", tensors=tensors, inputs=[image], outputs=[steps[-1][2]], operators=operators)
        ],
        buffers=buffers,
    )
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def written(values: np.ndarray) -> str:
    return " ".join(f"{value:.0f}" for value in values.ravel())


for name, with_relu in (("RESHAPE last", False), ("RELU behind", True)):
    content = flatten_file(with_relu)
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values.reshape(1, 2, 3))
    interpreter.invoke()
    answers = [written(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))]
    model = CompiledModel.from_buffer(content)
    inputs, outputs = model.create_input_buffers(0), model.create_output_buffers(0)
    inputs[0].write(values)
    outputs[0].write(np.full(6, -9, np.float32))
    for _ in range(2):
        try:
            model.run_by_index(0, inputs, outputs)
            answers.append(written(outputs[0].read(6, np.float32)))
        except Exception as error:
            answers.append(type(error).__name__)
    print(f"{name}: Interpreter {answers[0]}, CompiledModel {answers[1]}, then {answers[2]}")
END
)
echo "$seen"
[ "$seen" = "RESHAPE last: Interpreter 1 2 3 4 5 6, CompiledModel -9 -9 -9 -9 -9 -9, then RuntimeError
RELU behind: Interpreter 1 2 3 4 5 6, CompiledModel 1 2 3 4 5 6, then 1 2 3 4 5 6" ]
