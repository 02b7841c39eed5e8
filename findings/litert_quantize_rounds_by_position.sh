#!/usr/bin/env bash
# ai-edge-litert 2.3.0, x86-64: QUANTIZE rounds an exact half by where in the tensor it stands.
#
# The optimized kernel from float32 to int8 takes eight values at a time and rounds their halves to even; what is left
# over goes through scalar code, which rounds halves away from zero. XNNPACK rounds all to even, the reference kernel
# all away from zero. So 2.5 becomes 2 or 3 by its place, and a difference of one step at the input of an int8
# net need not come from how the picture was prepared.
#
# Seen: eight values from -3.5 to 3.5, then -2.5 and 2.5, in this order
#   XNNPACK   -4 -2 -2 0 0 2 2 4 | -2 2
#   optimized -4 -2 -2 0 0 2 2 4 | -3 3
#   reference -4 -3 -2 -1 1 2 3 4 | -3 3
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
from ai_edge_litert.interpreter import Interpreter, OpResolverType

KERNELS = {
    "XNNPACK": OpResolverType.BUILTIN,
    "optimized": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "reference": OpResolverType.BUILTIN_REF,
}
values = np.array([[-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5, -2.5, 2.5]], np.float32)


def quantize_file() -> bytes:
    """A file of one QUANTIZE of ten float32 values to int8 of scale 1."""
    steps = tfl.QuantizationParametersT(scale=[1.0], zeroPoint=[0])
    graph = tfl.SubGraphT(
        name="main",
        tensors=[
            tfl.TensorT(name="values", shape=[1, 10], type=tfl.TensorType.FLOAT32, buffer=0),
            tfl.TensorT(name="steps", shape=[1, 10], type=tfl.TensorType.INT8, buffer=0, quantization=steps),
        ],
        inputs=[0],
        outputs=[1],
        operators=[tfl.OperatorT(opcodeIndex=0, inputs=[0], outputs=[1])],
    )
    code = tfl.BuiltinOperator.QUANTIZE
    model = tfl.ModelT(
        version=3,
        operatorCodes=[tfl.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, version=1)],
        subgraphs=[graph],
        buffers=[tfl.BufferT(data=[])],
    )
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


for name, kernels in KERNELS.items():
    interpreter = Interpreter(model_content=quantize_file(), experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
    interpreter.invoke()
    steps = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
    print(name, *steps[:8], "|", *steps[8:])
END
)
echo "$seen"
[ "$seen" = "XNNPACK -4 -2 -2 0 0 2 2 4 | -2 2
optimized -4 -2 -2 0 0 2 2 4 | -3 3
reference -4 -3 -2 -1 1 2 3 4 | -3 3" ]
