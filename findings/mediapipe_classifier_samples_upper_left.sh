#!/usr/bin/env bash
# mediapipe 1.2.3 (CPU): ImageClassifier takes the upper left points of a squeezed picture, and no int8 input.
#
# A file that returns its input as scores shows what the net is given. A picture of 8 x 4 whose red is 10 times the
# column and whose green is 10 times the row reaches a net of 2 x 2 as columns 0 and 4 and rows 0 and 2: the whole
# picture squeezed, point i taken at i * length / side. Resizing about pixel centres, as tf.image.resize does, takes
# columns 1.5 and 5.5; a centre crop would begin at column 2. So the net sees each picture moved by nearly half a step,
# unless it was trained so. A file whose input is int8, as converters write it for boards, is refused.
#
# Seen: red 0 40 / 0 40, green 0 0 / 20 20
#       int8: ValueError: Type mismatch for input tensor picture
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
. "$folder/venv/bin/activate"
export PIP_DISABLE_PIP_VERSION_CHECK=1
pip install --quiet mediapipe==1.2.3 ai-edge-litert==2.3.0 flatbuffers==25.12.19 numpy==2.4.6
seen=$(cd "$folder" && python - 2>/dev/null <<'END'
from pathlib import Path

import flatbuffers
import mediapipe as mp
import numpy as np
from ai_edge_litert import schema_py_generated as tfl


def mirror_file(kind: int) -> bytes:
    """A "classifier" of 2 x 2 pixels whose twelve scores are its input: one RESHAPE."""
    steps = tfl.QuantizationParametersT(scale=[1.0], zeroPoint=[0])
    graph = tfl.SubGraphT(
        name="main",
        tensors=[
            tfl.TensorT(name="picture", shape=[1, 2, 2, 3], type=kind, buffer=0, quantization=steps),
            tfl.TensorT(name="shape", shape=[2], type=tfl.TensorType.INT32, buffer=1),
            tfl.TensorT(name="scores", shape=[1, 12], type=kind, buffer=0, quantization=steps),
        ],
        inputs=[0],
        outputs=[2],
        operators=[tfl.OperatorT(opcodeIndex=0, inputs=[0, 1], outputs=[2])],
    )
    code = tfl.BuiltinOperator.RESHAPE
    shape = np.array([1, 12], np.int32).view(np.uint8)
    model = tfl.ModelT(
        version=3,
        operatorCodes=[tfl.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, version=1)],
        subgraphs=[graph],
        buffers=[tfl.BufferT(data=[]), tfl.BufferT(data=shape)],
    )
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def received(kind: int, picture: np.ndarray) -> np.ndarray:
    """What reaches the net, [row, column, channel]."""
    Path("mirror.tflite").write_bytes(mirror_file(kind))
    with mp.tasks.vision.ImageClassifier.create_from_model_path("mirror.tflite") as classifier:
        (head,) = classifier.classify(mp.Image(mp.ImageFormat.SRGB, picture)).classifications
    scores = np.zeros(12, int)
    for category in head.categories:
        scores[category.index] = round(category.score)
    return scores.reshape(2, 2, 3)


picture = np.zeros((4, 8, 3), np.uint8)
picture[..., 0] = 10 * np.arange(8)
picture[..., 1] = 10 * np.arange(4)[:, None]
pixels = received(tfl.TensorType.UINT8, picture)
for channel, colour in enumerate(("red", "green")):
    print(colour, " / ".join(" ".join(map(str, row)) for row in pixels[..., channel]))
try:
    received(tfl.TensorType.INT8, picture)
    print("int8: answers")
except Exception as error:
    print(f"int8: {type(error).__name__}:", str(error).partition(".")[0])
END
)
echo "$seen"
[ "$seen" = "red 0 40 / 0 40
green 0 0 / 20 20
int8: ValueError: Type mismatch for input tensor picture" ]
