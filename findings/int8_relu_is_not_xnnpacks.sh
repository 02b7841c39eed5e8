#!/usr/bin/env bash
# ai-edge-litert 2.3.0: XNNPACK takes no int8 RELU that stands alone, but takes the QUANTIZE that computes the same.
#
# A ReLU that no convolution or addition before it takes in (that of Xception, whose map a shortcut reads, too) stays an
# operator. In float32 the XNNPACK delegate takes it; in int8 it does not, and what is before and after it become two
# partitions. But where the zero point of the result is -128, as converters write it after a ReLU, everything below zero
# saturates at it when codes go from the one scale to the other: that is QUANTIZE from int8 to int8, which the delegate
# takes. Both results are at most one step apart.
#
# Seen, for input codes -128 to 127 with scale 0.1 and zero point 5:
#       RELU float32: delegated
#       RELU int8: not delegated
#       QUANTIZE int8, 36 scales: delegated, at most 1 from RELU's codes
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
. "$folder/venv/bin/activate"
export PIP_DISABLE_PIP_VERSION_CHECK=1
pip install --quiet ai-edge-litert==2.3.0 flatbuffers==25.12.19 numpy==2.4.6
cat >"$folder/relus.py" <<'END'
import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as tfl
from ai_edge_litert.interpreter import Interpreter

SHAPE = [1, 4, 4, 16]
CODES = np.arange(-128, 128, dtype=np.int8).reshape(SHAPE)


def one_operator(name, kind, scale=None):
    """A file of one operator; with a scale for its result, in int8."""

    def tensor(place, step, zero):
        grid = tfl.QuantizationParametersT(scale=[step], zeroPoint=[zero]) if scale else None
        return tfl.TensorT(name=place, shape=SHAPE, type=kind, buffer=0, quantization=grid)

    code = getattr(tfl.BuiltinOperator, name)
    operator = tfl.OperatorT(opcodeIndex=0, inputs=[0], outputs=[1])
    graph = tfl.SubGraphT(
        name="main",
        tensors=[tensor("before", 0.1, 5), tensor("after", scale, -128)],
        inputs=[0],
        outputs=[1],
        operators=[operator],
    )
    model = tfl.ModelT(
        version=3,
        operatorCodes=[tfl.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, version=2)],
        subgraphs=[graph],
        buffers=[tfl.BufferT(data=[])],
    )
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def run(content, values):
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(0, values)
    interpreter.invoke()
    delegated = "DELEGATE" in [each["op_name"] for each in interpreter._get_ops_details()]
    return "delegated" if delegated else "not delegated", interpreter.get_tensor(1).astype(int)


print("RELU float32:", run(one_operator("RELU", tfl.TensorType.FLOAT32), CODES.astype(np.float32))[0])
print("RELU int8:", run(one_operator("RELU", tfl.TensorType.INT8, 0.05), CODES)[0])
ways, apart = set(), []
for scale in np.arange(0.02, 0.2, 0.005):
    _, relu = run(one_operator("RELU", tfl.TensorType.INT8, scale), CODES)
    way, quantized = run(one_operator("QUANTIZE", tfl.TensorType.INT8, scale), CODES)
    ways.add(way)
    apart.append(np.abs(relu - quantized))
print(f"QUANTIZE int8, {len(apart)} scales: {', '.join(ways)}, at most {np.max(apart)} from RELU's codes")
END
cd "$folder"
seen=$(python relus.py 2>/dev/null)
echo "$seen"
[ "$seen" = "RELU float32: delegated
RELU int8: not delegated
QUANTIZE int8, 36 scales: delegated, at most 1 from RELU's codes" ]
