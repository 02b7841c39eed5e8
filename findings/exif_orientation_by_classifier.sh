#!/usr/bin/env bash
# The same file and photograph, two image classifiers of one maker: one turns the picture by its EXIF tag, one does not.
#
# mediapipe 1.2.3 reads a JPEG upright, as its orientation tag says; tflite-support 0.4.4 (Python 3.11, NumPy 1), whose
# place it takes, hands the stored pixels on. Both squeeze the whole picture, MediaPipe by upper left points and
# tflite-support about pixel centres. An app that moves from one to the other gets other pixels for every photograph,
# and turned ones for those that a phone stores with a turn. Seen through a file that returns its input: a
# JPEG of 32 x 32, white above and black below, stored to be turned to the right by a quarter (orientation 6), and
# columns of an 8 x 8 PNG that are 10 times their number.
#
# Seen: mediapipe turned 0 255 / 0 255 columns 0 40
#       tflite_support turned 255 255 / 0 0 columns 15 55
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1
python3.11 -m venv "$folder/mediapipe"
"$folder/mediapipe/bin/pip" install --quiet mediapipe==1.2.3 ai-edge-litert==2.3.0 flatbuffers==25.12.19 \
  numpy==2.4.6 pillow==13.0.0
python3.11 -m venv "$folder/tflite_support"
"$folder/tflite_support/bin/pip" install --quiet tflite-support==0.4.4 numpy==1.26.4
cat >"$folder/write.py" <<'END'
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as tfl
from PIL import Image

ORIENTATION, QUARTER_TO_THE_RIGHT = 0x0112, 6


def mirror_file() -> bytes:
    """A "classifier" of 2 x 2 pixels whose twelve scores are its input: one RESHAPE of uint8."""
    steps = tfl.QuantizationParametersT(scale=[1.0], zeroPoint=[0])
    kind = tfl.TensorType.UINT8
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


Path("mirror.tflite").write_bytes(mirror_file())
halves = np.zeros((32, 32, 3), np.uint8)
halves[:16] = 255
exif = Image.Exif()
exif[ORIENTATION] = QUARTER_TO_THE_RIGHT
Image.fromarray(halves).save("turned.jpg", quality=95, exif=exif)
columns = np.zeros((8, 8, 3), np.uint8)
columns[:] = 10 * np.arange(8)[:, None]
Image.fromarray(columns).save("columns.png")
END
cat >"$folder/ask.py" <<'END'
import sys

import numpy as np

if sys.argv[1] == "mediapipe":
    import mediapipe as mp

    open_file, read = mp.tasks.vision.ImageClassifier.create_from_model_path, mp.Image.create_from_file
else:
    from tflite_support.task import vision

    open_file, read = vision.ImageClassifier.create_from_file, vision.TensorImage.create_from_file


def red(path: str) -> np.ndarray:
    """The red values that reach the net, [row, column]."""
    (head,) = classifier.classify(read(path)).classifications
    scores = np.zeros(12, int)
    for category in head.categories:
        scores[category.index] = round(category.score)
    return scores.reshape(2, 2, 3)[..., 0]


classifier = open_file("mirror.tflite")
turned = " / ".join(f"{left} {right}" for left, right in red("turned.jpg"))
print(sys.argv[1], "turned", turned, "columns", *red("columns.png")[0])
if sys.argv[1] == "mediapipe":
    classifier.close()
END
cd "$folder"
mediapipe/bin/python write.py
seen=$(for client in mediapipe tflite_support; do "$client/bin/python" ask.py "$client" 2>/dev/null; done)
echo "$seen"
[ "$seen" = "mediapipe turned 0 255 / 0 255 columns 0 40
tflite_support turned 255 255 / 0 0 columns 15 55" ]
