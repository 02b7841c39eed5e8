import subprocess
import sys
import types

import numpy as np
import pytest

from edgenets import flatbuffer
from edgenets.data.images import Preparation
from edgenets.data.input_range import CENTRED
from edgenets.data.pixels import to_int8
from edgenets.errors import EdgenetsError
from edgenets.export.devices import interpreter
from edgenets.export.measure.classifier import Classifier

LABELS = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu")


def run_directly(content, inputs):
    """The outputs as LiteRT gives them, [images, classes]; the independent way."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    outputs = []
    for one in inputs:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], one[np.newaxis])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    return np.array(outputs)


def probabilities(logits):
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_float_logits_are_those_of_keras(tiny_net):
    # float32 sums of at most 27 products of magnitude 1, in another order: 27 * 2**-24 * 10
    np.testing.assert_allclose(
        Classifier(tiny_net.float32, input_range=CENTRED).logits(tiny_net.pixels),
        tiny_net.logits,
        atol=2e-5,
    )


def test_int8_logits_are_the_dequantized_codes_of_litert(tiny_net):
    codes = run_directly(tiny_net.int8, to_int8(tiny_net.pixels))
    classifier = Classifier(tiny_net.int8)
    np.testing.assert_array_equal(classifier.outputs(tiny_net.pixels), codes)

    scale, zero_point = classifier.output.scale[0], classifier.output.zero_point[0]
    logits = classifier.logits(tiny_net.pixels)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, [[(int(c) - zero_point) * scale for c in r] for r in codes])


@pytest.mark.parametrize("kind", ["softmax_float32", "softmax_int8"])
def test_logits_of_a_softmax_network_give_its_probabilities_back(tiny_net, kind):
    classifier = Classifier(getattr(tiny_net, kind), input_range=CENTRED)
    logits = classifier.logits(tiny_net.pixels)
    # int8 probabilities are steps of 1/256, and rounding moves their sum by up to 7 / 512
    atol = 1e-6 if kind == "softmax_float32" else 0.03
    np.testing.assert_allclose(
        probabilities(logits), probabilities(tiny_net.logits), rtol=0, atol=atol
    )


def test_logits_of_a_net_of_edgenets_are_never_taken_for_probabilities(tiny_net, with_metadata):
    """Those of a SqueezeNet, which ends in a ReLU, are none below 0 and may sum to 1."""
    scores = np.float32([[0.75, 0.25, 0, 0, 0, 0, 0]])
    own = Classifier(with_metadata(tiny_net.float32, {"name": "squeezenet"}))
    np.testing.assert_allclose(own.probabilities_of(scores), probabilities(scores), rtol=1e-6)
    together = own.probabilities_of(np.concatenate([scores, 9 * scores]))
    np.testing.assert_array_equal(together[:1], own.probabilities_of(scores))
    other = Classifier(with_metadata(tiny_net.float32, {"name": "mine"}))
    np.testing.assert_array_equal(other.probabilities_of(scores), scores)
    kept = Classifier(with_metadata(tiny_net.softmax_float32, {"name": "squeezenet"}))
    np.testing.assert_array_equal(kept.probabilities_of(scores), scores)


def test_shared_int8_files_run(shared_file):
    vww = Classifier(shared_file("mlperf_tiny/vww_96_int8.tflite"))
    coral = Classifier(shared_file("coral/mobilenet_v1_0.25_128_quant.tflite"))
    for classifier, size, classes in ((vww, 96, 2), (coral, 128, 1001)):
        pixels = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), np.uint8)
        assert classifier.logits(pixels).shape == (2, classes)
        assert classifier.preparation is None
    assert vww.labels is None and coral.labels[:2] == ("background", "tench, Tinca tinca")


def test_labels_and_preparation_come_from_the_file(tiny_int8_file):
    classifier = Classifier(tiny_int8_file)
    assert classifier.labels == LABELS
    assert classifier.preparation == Preparation(resolution=8, resize=8)
    assert classifier.input.dtype == "int8" and classifier.classes == 7


@pytest.mark.parametrize(
    "metadata, sentence",
    [
        ({"labels": ["ant", "bee"]}, "holds 2 labels for 7 classes; pass a file of as many lines"),
        ({"preparation": {"resolution": 8}}, "an image preparation"),
    ],
)
def test_metadata_that_does_not_fit_is_refused(tiny_net, with_metadata, metadata, sentence):
    with pytest.raises(EdgenetsError, match=sentence):
        Classifier(with_metadata(tiny_net.int8, metadata))


def test_metadata_that_is_not_json_is_refused(tiny_net):
    for entry in (b"\xff{", b"", b"[1]", b"[" * 100_000):
        with pytest.raises(EdgenetsError, match="not a JSON object"):
            Classifier(flatbuffer.with_metadata(tiny_net.int8, {"edgenets": entry}))


def test_images_of_another_size_are_refused(tiny_net):
    with pytest.raises(EdgenetsError, match="takes uint8 images of 8 x 8 x 3, not uint8 of 9 x 8"):
        Classifier(tiny_net.int8).logits(np.zeros((1, 9, 8, 3), np.uint8))


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("deeplabv3_mnv2_dm05_pascal_quant.tflite", "is not an image classifier"),
        ("keras_lstm_mnist_ptq.tflite", "is not an image classifier"),
        (
            "mobilenet_v1_0.25_128_quant_edgetpu.tflite",
            "was compiled for the Edge TPU",
        ),
    ],
)
def test_files_that_are_no_classifier_here_are_refused(shared_file, name, sentence):
    with pytest.raises(EdgenetsError, match=sentence):
        Classifier(shared_file(f"coral/{name}"))


def test_a_logit_that_is_not_finite_is_an_error(tiny_net):
    content = bytearray(tiny_net.float32)
    dense = flatbuffer.read(tiny_net.float32).weights[-1]
    content[dense.offset : dense.offset + 4] = np.float32(np.nan).tobytes()
    with pytest.raises(EdgenetsError, match="returned a NaN or an infinity"):
        Classifier(bytes(content), input_range=CENTRED).logits(tiny_net.pixels)


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_one_sentence(tiny_int8_file, tmp_path, kept):
    content = tiny_int8_file.read_bytes()
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(EdgenetsError, match=r"^[^\n]*cut\.tflite[^\n]*$"):
        Classifier(cut)


def test_what_is_not_a_tflite_file_is_one_sentence(tmp_path):
    text = tmp_path / "notes.tflite"
    text.write_text("this is no network\n" * 100)
    for path in (text, tmp_path, tmp_path / "missing.tflite"):
        with pytest.raises(EdgenetsError, match=rf"^[^\n]*{path.name}[^\n]*$"):
            Classifier(path)


def fake_runtime(monkeypatch, package):
    module = types.ModuleType(f"{package}.interpreter")
    module.Interpreter = type("Interpreter", (), {})
    monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
    monkeypatch.setitem(sys.modules, f"{package}.interpreter", module)


def hide_litert(monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)


def test_litert_is_preferred_to_tflite_runtime(monkeypatch):
    fake_runtime(monkeypatch, "tflite_runtime")
    name, version = interpreter.runtime_name_and_version()
    assert name == "ai-edge-litert" and version[0].isdigit()


def test_tflite_runtime_is_taken_where_litert_is_missing(monkeypatch):
    hide_litert(monkeypatch)
    fake_runtime(monkeypatch, "tflite_runtime")
    monkeypatch.setattr(np, "__version__", "1.26.4")
    assert interpreter.runtime_name_and_version()[0] == "tflite-runtime"


def test_numpy_2_under_tflite_runtime_is_named(monkeypatch):
    hide_litert(monkeypatch)
    fake_runtime(monkeypatch, "tflite_runtime")
    monkeypatch.setattr(np, "__version__", "2.1.0")
    with pytest.raises(EdgenetsError, match=r"needs NumPy 1, and 2\.1\.0 is installed; run: pip"):
        interpreter.load_runtime()


def test_a_missing_interpreter_names_the_fix(monkeypatch):
    hide_litert(monkeypatch)
    monkeypatch.setitem(sys.modules, "tflite_runtime", None)
    with pytest.raises(EdgenetsError, match="pip install ai-edge-litert"):
        interpreter.load_runtime()


@pytest.mark.parametrize(
    "modules, absent",
    [
        ("classifier statistics benchmark", "tensorflow tf_keras PIL"),
        ("accuracy predict", "tensorflow tf_keras"),
    ],
)
def test_board_modules_import_without_tensorflow(modules, absent):
    script = (
        "import importlib, sys; measure = 'edgenets.export.measure.'\n"
        f"for name in {absent.split()}: sys.modules[name] = None\n"
        f"for name in {modules.split()}: importlib.import_module(measure + name)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
