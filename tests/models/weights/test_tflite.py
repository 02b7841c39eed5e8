from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from edgenets import flatbuffer
from edgenets.data.images import Preparation, load_rgb, prepare
from edgenets.data.pixels import to_network
from edgenets.errors import EdgenetsError
from edgenets.export.write.tflite import to_int8
from edgenets.models.backend import keras
from edgenets.models.fold import fold_batch_norm
from edgenets.models.folder import Spec
from edgenets.models.registry import complete_arguments, create
from edgenets.models.weights.convolutions import slots
from edgenets.models.weights.labels import imagenet_labels
from edgenets.models.weights.reading import read_weights

CORAL = "coral/mobilenet_v1_0.25_128_quant.tflite"
CORAL_V2 = "coral/mobilenet_v2_1.0_224_quant.tflite"
VWW = "mlperf_tiny/vww_96_int8.tflite"
SMALL = {"width": 0.35, "resolution": 32, "classes": 3, "output_stride": 8}
GIVEN = {"output_stride": 8}  # which a .tflite does not tell


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
    "file, name, arguments, least",
    [
        (
            CORAL,
            "mobilenet_v1",
            {"resolution": 128, "classes": 1001, "width": 0.25, "activation": "relu6"},
            0.90,
        ),
        (
            VWW,
            "mobilenet_v1",
            {
                "resolution": 96,
                "classes": 2,
                "width": 0.25,
                "activation": "relu",
                "pad_value": -1.0,
            },
            0.99,
        ),
        (CORAL_V2, "mobilenet_v2", {"resolution": 224, "classes": 1001, "width": 1.0}, 0.97),
    ],
)
def test_the_net_answers_as_the_file_it_was_read_from(
    shared_data: Path, file: str, name: str, arguments: dict, least: float
):
    imported = read_weights(shared_data / file, name, {})
    assert imported.spec.arguments.items() >= arguments.items()
    preparation = Preparation.default(name, arguments["resolution"])
    files = sorted(shared_data.glob("imagenet500/test/*/*.jpg"))
    pixels = np.stack([prepare(load_rgb(path), preparation) for path in files])
    answers = imported.net.predict(to_network(pixels), verbose=0).argmax(1)
    assert (answers == classes_of(shared_data / file, pixels)).mean() >= least


class Exported(NamedTuple):
    """A MobileNet V2 and the int8 file that was made of it."""

    model: keras.Model
    arguments: dict[str, Any]
    pixels: np.ndarray  # to which its BatchNorms fit
    content: bytes


@pytest.fixture(scope="module")
def exported() -> Exported:
    arguments = complete_arguments("mobilenet_v2", SMALL)
    keras.utils.set_random_seed(5)
    model = create("mobilenet_v2", **arguments)
    pixels = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(to_network(pixels), training=True)
    spec = Spec("mobilenet_v2", arguments, ("a", "b", "c"), Preparation(32, 32), seed=5)
    return Exported(model, arguments, pixels, to_int8(model, spec, pixels))


@pytest.mark.slow
def test_an_exported_mobilenet_v2_is_read_back_within_half_a_code(
    exported: Exported, tmp_path: Path
):
    (tmp_path / "x.tflite").write_bytes(exported.content)
    images = to_network(exported.pixels)
    imported = read_weights(tmp_path / "x.tflite", "mobilenet_v2", GIVEN)
    assert imported.spec.arguments == exported.arguments
    folded = [slots(fold_batch_norm(net)) for net in (exported.model, imported.net)]
    for written, read in zip(*folded, strict=True):
        kernel = written.layer.get_weights()[0]
        half_a_code = np.abs(kernel).max() / 127 / 2
        np.testing.assert_allclose(read.layer.get_weights()[0], kernel, rtol=1e-5, atol=half_a_code)
    maps = [
        keras.Model(net.input, net.get_layer("stage2_block2_add").output)(images)
        for net in (exported.model, imported.net)
    ]
    # Measured: 2 % after ten layers of rounded weights.
    assert np.linalg.norm(maps[0] - maps[1]) < 0.05 * np.linalg.norm(maps[0])


def subtract(content: bytes) -> bytes:
    """Make every sum of two maps a difference."""

    def change(model: Any) -> None:
        for code in model.operatorCodes:
            if code.builtinCode == flatbuffer.OPERATORS.index("ADD"):
                code.builtinCode = code.deprecatedBuiltinCode = flatbuffer.OPERATORS.index("SUB")

    return flatbuffer.rewrite(content, change)


def widen(content: bytes) -> bytes:
    """Let the codes of the first map, behind a ReLU, stand for up to 255."""
    stem = flatbuffer.read(content).operators[0].outputs[0]
    quantized = flatbuffer.Quantized(np.float32([1]), np.int64([-128]))
    return flatbuffer.rewrite(content, flatbuffer.set_quantization, {stem: quantized})


def regrid(content: bytes, scale: float, zero_point: int) -> bytes:
    """Let the codes of the image stand for other values."""
    (image,) = flatbuffer.read(content).input_indices
    quantized = flatbuffer.Quantized(np.float32([scale]), np.int64([zero_point]))
    return flatbuffer.rewrite(content, flatbuffer.set_quantization, {image: quantized})


@pytest.mark.slow
def test_a_file_takes_what_it_is_fed_wherever_it_is_run(exported: Exported, tmp_path: Path):
    path = tmp_path / "x.tflite"
    path.write_bytes(regrid(exported.content, 4 / 255, -26))  # -1.6 to 2.4
    with pytest.raises(EdgenetsError, match=r"does not say which .* stand for -1\.6 to 2\.4"):
        read_weights(path, "mobilenet_v2", GIVEN)
    (grid,) = flatbuffer.read(exported.content).inputs
    stands_for = [float(grid.scale[0] * (code - grid.zero_point[0])) for code in (-128, 127)]
    image = to_network(exported.pixels[:2])
    given = read_weights(path, "mobilenet_v2", GIVEN, input_range=tuple(stands_for)).net(image)
    path.write_bytes(exported.content)
    wanted = read_weights(path, "mobilenet_v2", GIVEN).net(image)
    np.testing.assert_allclose(given, wanted, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change, message",
    [
        (subtract, "it has 0 additions, mobilenet_v2 has 11"),
        (widen, "its maps go beyond 6, where mobilenet_v2 has ReLU6"),
    ],
)
def test_what_does_something_else_between_the_same_kernels_is_refused(
    exported: Exported, change: Callable[[bytes], bytes], message: str, tmp_path: Path
):
    (tmp_path / "x.tflite").write_bytes(change(exported.content))
    with pytest.raises(EdgenetsError, match=message):
        read_weights(tmp_path / "x.tflite", "mobilenet_v2", GIVEN)


def test_the_first_of_1001_classes_is_background(shared_data: Path):
    assert read_weights(shared_data / CORAL, "mobilenet_v1", {}).spec.labels == (
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
        (CORAL, "mobilenet_v2", "has 28 convolutions and dense layers, mobilenet_v2 has 53"),
        (CORAL_V2, "mobilenet_v1", "has 53 convolutions and dense layers, mobilenet_v1 has 28"),
        (
            CORAL_V2,
            "mobilenet_v3_small",
            "cannot be read from a .tflite, only those of mobilenet_v1 and mobilenet_v2",
        ),
    ],
)
def test_another_net_is_refused(shared_data: Path, file: str, name: str, message: str):
    with pytest.raises(EdgenetsError, match=message):
        read_weights(shared_data / file, name, {})


def test_a_cut_file_is_refused(shared_data: Path, tmp_path: Path):
    (tmp_path / "x.tflite").write_bytes((shared_data / CORAL).read_bytes()[:200_000])
    with pytest.raises(EdgenetsError, match="damaged or cut short"):
        read_weights(tmp_path / "x.tflite", "mobilenet_v1", {})
