#!/usr/bin/env bash
# ethos-u-vela 5.2.0: float operators are left to the CPU with status 0, but a float HARD_SWISH refuses the whole file.
#
# A float32 file of RELU6, LOGISTIC, TANH or LEAKY_RELU is "compiled" without an error: nothing of it runs on the NPU
# (the summary counts 0 NPU operators) and the exit status is 0. With HARD_SWISH, which LiteRT 2.3.0 runs in float32,
# the reader itself stops ("IFM has to be 8bit") and no file is written. So a net like MobileNet V3 that keeps one
# activation in float cannot be compiled at all, where one with ReLU6 can; and status 0 does not say that the NPU has
# any work.
#
# Seen: RELU6, LOGISTIC, TANH, LEAKY_RELU: status 0, NPU operators = 0 (0.0%)
#       HARD_SWISH: status 1, IFM has to be 8bit; LiteRT answers 0.667 to 1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
. "$folder/venv/bin/activate"
export PIP_DISABLE_PIP_VERSION_CHECK=1
pip install --quiet ethos-u-vela==5.2.0 ai-edge-litert==2.3.0 flatbuffers==25.12.19 numpy==2.4.6
cat >"$folder/write.py" <<'END'
import sys
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as tfl
from ai_edge_litert.interpreter import Interpreter


def activation_file(operator: str) -> bytes:
    """A file of one float32 activation over 8 x 8 x 16 values."""

    def tensor(name):
        return tfl.TensorT(name=name, shape=[1, 8, 8, 16], type=tfl.TensorType.FLOAT32, buffer=0)

    graph = tfl.SubGraphT(
        name="main",
        tensors=[tensor("before"), tensor("after")],
        inputs=[0],
        outputs=[1],
        operators=[tfl.OperatorT(opcodeIndex=0, inputs=[0], outputs=[1])],
    )
    if operator == "LEAKY_RELU":
        graph.operators[0].builtinOptionsType = tfl.BuiltinOptions.LeakyReluOptions
        graph.operators[0].builtinOptions = tfl.LeakyReluOptionsT(alpha=0.1)
    code = getattr(tfl.BuiltinOperator, operator)
    model = tfl.ModelT(
        version=3,
        operatorCodes=[tfl.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, version=1)],
        subgraphs=[graph],
        buffers=[tfl.BufferT(data=[])],
    )
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


for operator in sys.argv[1:]:
    Path(f"{operator}.tflite").write_bytes(activation_file(operator))
interpreter = Interpreter(f"{operator}.tflite")
interpreter.allocate_tensors()
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.ones((1, 8, 8, 16), np.float32))
interpreter.invoke()
answer = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
print(f"LiteRT answers {answer.flat[0]:.3f} to 1 after {operator}")
END
cd "$folder"
activations="RELU6 LOGISTIC TANH LEAKY_RELU HARD_SWISH"
# shellcheck disable=SC2086
seen=$(
  python write.py $activations 2>/dev/null
  for operator in $activations; do
    status=0
    vela "$operator.tflite" --accelerator-config ethos-u55-128 --output-dir compiled >log 2>&1 || status=$?
    written=$(test -e "compiled/${operator}_vela.tflite" && echo written || echo "no file")
    echo "$operator: status $status, $written, $(grep -oE 'NPU operators = .*|IFM has to be 8bit' log)"
  done
)
echo "$seen"
[ "$seen" = "LiteRT answers 0.667 to 1 after HARD_SWISH
RELU6: status 0, written, NPU operators = 0 (0.0%)
LOGISTIC: status 0, written, NPU operators = 0 (0.0%)
TANH: status 0, written, NPU operators = 0 (0.0%)
LEAKY_RELU: status 0, written, NPU operators = 0 (0.0%)
HARD_SWISH: status 1, no file, IFM has to be 8bit" ]
