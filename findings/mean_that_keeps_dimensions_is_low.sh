#!/usr/bin/env bash
# ai-edge-litert 2.3.0: int8 MEAN over height and width answers lower where the two dimensions are kept.
#
# The same maps, the same scales, the same kernels (BUILTIN_WITHOUT_DEFAULT_DELEGATES): with keep_dims MEAN takes another
# path of the optimized kernels, made for 4 dimensions, and its result is up to 0.8 of a step below the exact mean, 0.3 on
# average, where the steps of input and output differ by some factors; without keep_dims, and in the reference kernels
# either way, it is the exact mean rounded. At equal steps all agree. Keras' GlobalAveragePooling2D(keepdims=True), which
# nets with 1x1 convolutions for classifiers have, is such a MEAN, at the place where every channel goes through it.
#
# Seen, codes above the exact mean on average:
#       step 0.5 to 0.5 kept: optimized 0.01 reference 0.03
#       step 0.5 to 0.3 kept: optimized -0.30 reference 0.02
#       step 0.5 to 0.3 not kept: optimized 0.02 reference 0.02
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
. "$folder/venv/bin/activate"
export PIP_DISABLE_PIP_VERSION_CHECK=1
pip install --quiet ai-edge-litert==2.3.0 flatbuffers==25.12.19 numpy==2.4.6
cat >"$folder/means.py" <<'END'
import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as tfl
from ai_edge_litert.interpreter import Interpreter, OpResolverType

KERNELS = {
    "optimized": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "reference": OpResolverType.BUILTIN_REF,
}
CHANNELS, SIDE, STEP, ZERO = 2048, 7, 0.5, -128
MAPS = np.random.default_rng(0).integers(-128, 128, (1, SIDE, SIDE, CHANNELS), np.int8)


def mean_file(step, kept):
    """A file of one MEAN over the two middle dimensions."""

    def tensor(name, shape, scale):
        grid = tfl.QuantizationParametersT(scale=[scale], zeroPoint=[ZERO])
        return tfl.TensorT(name=name, shape=shape, type=tfl.TensorType.INT8, buffer=0, quantization=grid)

    result = [1, 1, 1, CHANNELS] if kept else [1, CHANNELS]
    axes = tfl.TensorT(name="axes", shape=[2], type=tfl.TensorType.INT32, buffer=1)
    options = tfl.ReducerOptionsT()
    options.keepDims = kept
    operator = tfl.OperatorT(
        opcodeIndex=0,
        inputs=[0, 1],
        outputs=[2],
        builtinOptionsType=tfl.BuiltinOptions.ReducerOptions,
        builtinOptions=options,
    )
    graph = tfl.SubGraphT(
        name="main",
        tensors=[tensor("maps", [1, SIDE, SIDE, CHANNELS], STEP), axes, tensor("means", result, step)],
        inputs=[0],
        outputs=[2],
        operators=[operator],
    )
    code = tfl.BuiltinOperator.MEAN
    model = tfl.ModelT(
        version=3,
        operatorCodes=[tfl.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, version=2)],
        subgraphs=[graph],
        buffers=[tfl.BufferT(data=[]), tfl.BufferT(data=np.array([1, 2], np.int32).view(np.uint8))],
    )
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


for step, kept in ((0.5, True), (0.3, True), (0.3, False)):
    exact = STEP * (MAPS.mean(axis=(1, 2)).ravel() - ZERO) / step + ZERO
    fits = exact <= 127
    cells = []
    for name, kernels in KERNELS.items():
        interpreter = Interpreter(model_content=mean_file(step, kept), experimental_op_resolver_type=kernels)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], MAPS)
        interpreter.invoke()
        codes = interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).ravel()
        cells.append(f"{name} {(codes - exact)[fits].mean():.2f}")
    print(f"step {STEP} to {step} {'kept' if kept else 'not kept'}: {' '.join(cells)}")
END
cd "$folder"
seen=$(python means.py 2>/dev/null)
echo "$seen"
[ "$seen" = "step 0.5 to 0.5 kept: optimized 0.01 reference 0.03
step 0.5 to 0.3 kept: optimized -0.30 reference 0.02
step 0.5 to 0.3 not kept: optimized 0.02 reference 0.02" ]
