from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from edgenets.data.images import Preparation, load_rgb, prepare, to_network
from edgenets.errors import EdgenetsError
from edgenets.models.weights.labels import imagenet_labels
from edgenets.models.weights.reading import read_weights

CORAL = "coral/mobilenet_v1_0.25_128_quant.tflite"
VWW = "mlperf_tiny/vww_96_int8.tflite"


def classes_of(path: Path, pixels: np.ndarray) -> np.ndarray:
    """Return the class of each image that the interpreter says, `[images]`."""
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    (image,), (scores,) = interpreter.get_input_details(), interpreter.get_output_details()
    codes = pixels if image["dtype"] == np.uint8 else (pixels.astype(np.int16) - 128)
    classes = []
    for example in codes.astype(image["dtype"]):
        interpreter.set_tensor(image["index"], example[np.newaxis])
        interpreter.invoke()
        classes.append(interpreter.get_tensor(scores["index"])[0].argmax())
    return np.array(classes)


@pytest.mark.slow
@pytest.mark.parametrize(
    "file, arguments, least",
    [
        (CORAL, {"resolution": 128, "classes": 1001, "activation": "relu6"}, 0.90),
        (VWW, {"resolution": 96, "classes": 2, "activation": "relu", "pad_value": -1.0}, 0.99),
    ],
)
def test_the_net_answers_as_the_file_it_was_read_from(
    shared_data: Path, file: str, arguments: dict, least: float
):
    imported = read_weights(shared_data / file, "mobilenet_v1", {})
    assert imported.arguments.items() >= {**arguments, "width": 0.25}.items()
    preparation = Preparation.default("mobilenet_v1", arguments["resolution"])
    files = sorted(shared_data.glob("imagenet500/test/*/*.jpg"))
    pixels = np.stack([prepare(load_rgb(path), preparation) for path in files])
    answers = imported.model.predict(to_network(pixels), verbose=0).argmax(1)
    assert (answers == classes_of(shared_data / file, pixels)).mean() >= least


def test_the_first_of_1001_classes_is_background(shared_data: Path):
    assert read_weights(shared_data / CORAL, "mobilenet_v1", {}).labels == (
        "background",
        *imagenet_labels(),
    )


@pytest.mark.parametrize(
    "file, name, message",
    [
        ("mlperf_tiny/vww_96_float.tflite", "mobilenet_v1", "not an int8 or uint8 mobilenet_v1"),
        ("coral/split_concat.tflite", "mobilenet_v1", "it has 0 convolutions"),
        (
            "mlperf_tiny/pretrainedResnet_quant.tflite",
            "mobilenet_v1",
            "has 10 convolutions and dense layers, mobilenet_v1 has 28",
        ),
        (CORAL, "mobilenet_v2", "weights of mobilenet_v2 cannot be read from a .tflite"),
    ],
)
def test_another_net_is_refused(shared_data: Path, file: str, name: str, message: str):
    with pytest.raises(EdgenetsError, match=message):
        read_weights(shared_data / file, name, {})


def test_a_cut_file_is_refused(shared_data: Path, tmp_path: Path):
    (tmp_path / "x.tflite").write_bytes((shared_data / CORAL).read_bytes()[:200_000])
    with pytest.raises(EdgenetsError, match="damaged or cut short"):
        read_weights(tmp_path / "x.tflite", "mobilenet_v1", {})
