#!/usr/bin/env bash
# One int8 FULLY_CONNECTED, four kernels, three ways to round a half: LiteRT's own three do not agree.
#
# ai-edge-litert 2.3.0 (x86-64) and tflite-micro 0.dev20261023182759. A sum of 1, 3, 5 ... steps whose output step is
# twice as wide lies exactly between two answers. XNNPACK, which runs unless asked otherwise, rounds it to even; the
# optimized kernels and tflite-micro round up; the reference kernels (BUILTIN_REF) round away from zero. In this
# operator a board with tflite-micro is therefore to be compared with the optimized kernels, not with the reference.
#
# Seen: sums -7 -5 -3 -1 1 3 5 7, output step 2
#   XNNPACK      -4 -2 -2 0 0 2 2 4
#   optimized    -3 -2 -1 0 1 2 3 4
#   reference    -4 -3 -2 -1 1 2 3 4
#   tflite-micro -3 -2 -1 0 1 2 3 4
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
. "$folder/venv/bin/activate"
export PIP_DISABLE_PIP_VERSION_CHECK=1
pip install --quiet ai-edge-litert==2.3.0 tflite-micro==0.dev20261023182759 flatbuffers==25.12.19 numpy==2.4.6
seen=$(cd "$folder" && python - 2>/dev/null <<'END'
import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as tfl
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from tflite_micro.python.tflite_micro import runtime

KERNELS = {
    "XNNPACK": OpResolverType.BUILTIN,
    "optimized": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "reference": OpResolverType.BUILTIN_REF,
}
weights = np.array([[-7], [-5], [-3], [-1], [1], [3], [5], [7]], np.int8)
one = np.ones((1, 1), np.int8)


def dense_file() -> bytes:
    """A file of one int8 FULLY_CONNECTED, from one value to eight: scales 1 * 1 in, 2 out, no bias."""

    def tensor(name, shape, scale, buffer=0):
        steps = tfl.QuantizationParametersT(scale=[scale], zeroPoint=[0])
        return tfl.TensorT(name=name, shape=shape, type=tfl.TensorType.INT8, buffer=buffer, quantization=steps)

    graph = tfl.SubGraphT(
        name="main",
        tensors=[tensor("value", [1, 1], 1.0), tensor("kernel", [8, 1], 1.0, 1), tensor("sums", [1, 8], 2.0)],
        inputs=[0],
        outputs=[2],
        operators=[
            tfl.OperatorT(
                opcodeIndex=0,
                inputs=[0, 1, -1],
                outputs=[2],
                builtinOptionsType=tfl.BuiltinOptions.FullyConnectedOptions,
                builtinOptions=tfl.FullyConnectedOptionsT(),
            )
        ],
    )
    code = tfl.BuiltinOperator.FULLY_CONNECTED
    model = tfl.ModelT(
        version=3,
        operatorCodes=[tfl.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, version=4)],
        subgraphs=[graph],
        buffers=[tfl.BufferT(data=[]), tfl.BufferT(data=weights.view(np.uint8).ravel())],
    )
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


for name, kernels in KERNELS.items():
    interpreter = Interpreter(model_content=dense_file(), experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], one)
    interpreter.invoke()
    print(name, *interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
micro = runtime.Interpreter.from_bytes(dense_file())
micro.set_input(one, 0)
micro.invoke()
print("tflite-micro", *micro.get_output(0)[0])
END
)
echo "$seen"
[ "$seen" = "XNNPACK -4 -2 -2 0 0 2 2 4
optimized -3 -2 -1 0 1 2 3 4
reference -4 -3 -2 -1 1 2 3 4
tflite-micro -3 -2 -1 0 1 2 3 4" ]
