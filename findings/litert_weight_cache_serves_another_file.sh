#!/usr/bin/env bash
# ai-edge-litert 2.3.0: with one XNNPACK weight cache, a file answers with the weights of another of the same shapes.
#
# CpuOptions(xnnpack_weight_cache_path=...) keeps packed weights, so that the next start packs nothing. Where a
# retrained net of the same layout is opened with the cache that its forerunner left, CompiledModel runs the old
# weights and raises nothing. Who updates a net names its cache anew or deletes it. The option's help asks for a
# folder; given one, LiteRT logs that it cannot open it, and goes on without a cache.
#
# Seen: weights 2 without cache: 6.0; weights 1 fill the cache: 3.0; weights 2 with that cache: 3.0; a folder as
# cache: 3.0 then 6.0, files written: 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
. "$folder/venv/bin/activate"
export PIP_DISABLE_PIP_VERSION_CHECK=1
pip install --quiet ai-edge-litert==2.3.0 flatbuffers==25.12.19 numpy==2.4.6
cat >"$folder/seen.py" <<'END'
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as tfl
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.cpu_options import CpuOptions
from ai_edge_litert.hardware_accelerator import HardwareAccelerator
from ai_edge_litert.options import Options


def dense_file(path: str, weight: float) -> str:
    """Write a float32 FULLY_CONNECTED of 64 values to 8, all of whose weights are `weight`."""

    def tensor(name, shape, buffer):
        return tfl.TensorT(name=name, shape=shape, type=tfl.TensorType.FLOAT32, buffer=buffer)

    kernel = np.full((8, 64), weight, np.float32)
    graph = tfl.SubGraphT(
        name="main",
        tensors=[tensor("values", [1, 64], 0), tensor("kernel", [8, 64], 1), tensor("sums", [1, 8], 0)],
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
        operatorCodes=[tfl.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, version=1)],
        subgraphs=[graph],
        buffers=[tfl.BufferT(data=[]), tfl.BufferT(data=kernel.view(np.uint8).ravel())],
    )
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    Path(path).write_bytes(builder.Output())
    return path


def answer(path: str, cache: str) -> float:
    options = Options(
        hardware_accelerators=HardwareAccelerator.CPU,
        cpu_options=CpuOptions(num_threads=1, xnnpack_weight_cache_path=cache),
    )
    model = CompiledModel.from_file(path, options=options)
    inputs, outputs = model.create_input_buffers(0), model.create_output_buffers(0)
    inputs[0].write(np.full(64, 3 / 64, np.float32))
    model.run_by_index(0, inputs, outputs)
    return float(outputs[0].read(8, np.float32)[0])


ones, twos = dense_file("ones.tflite", 1.0), dense_file("twos.tflite", 2.0)
print("weights 2 without cache:", answer(twos, ""))
print("weights 1 fill the cache:", answer(ones, "weights.cache"))
assert Path("weights.cache").stat().st_size > 0
print("weights 2 with that cache:", answer(twos, "weights.cache"))
Path("folder").mkdir()
first, second = answer(ones, "folder"), answer(twos, "folder")
print(f"a folder as cache: {first} then {second}, files written: {len(list(Path('folder').iterdir()))}")
END
seen=$(cd "$folder" && python seen.py 2>/dev/null)
echo "$seen"
[ "$seen" = "weights 2 without cache: 6.0
weights 1 fill the cache: 3.0
weights 2 with that cache: 3.0
a folder as cache: 3.0 then 6.0, files written: 0" ]
