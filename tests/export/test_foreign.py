"""Keras models of others go through the same checks, and keep what they compute."""

from __future__ import annotations

import json
import sys
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner

from edgenets import flatbuffer
from edgenets.cli.export import command
from edgenets.errors import EdgenetsError
from edgenets.export.foreign import load_trusted
from edgenets.export.runtime import Classifier
from edgenets.memory import at_most

pytestmark = pytest.mark.slow
LABELS = ("ant", "bee", "cat")
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)


def library_of(version):
    from edgenets.models.backend import keras

    if version == 2:
        return keras
    import keras as keras3

    return keras3


def build(library, low=-1.0, high=1.0, end="dense_softmax"):
    """A small net that takes pixels in [low, high]; its logits differ by image."""
    layers = library.layers
    library.utils.set_random_seed(1)
    image = x = library.Input((16, 16, 3))
    x = layers.Rescaling(2 / (high - low), -(high + low) / (high - low))(x)
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(3, activation="softmax" if end == "dense_softmax" else None)(x)
    if end == "softmax":
        x = layers.Softmax()(x)
    return library.Model(image, x, name="mine")


def probabilities(model, low, high):
    return np.asarray(model((low + IMAGES / 255 * (high - low)).astype(np.float32)))


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    "version, low, high, end",
    [(3, -1, 1, "dense_softmax"), (3, 0, 255, "softmax"), (2, 0, 1, "dense_softmax")],
)
def test_a_model_of_either_keras_keeps_its_answers(tmp_path, version, low, high, end):
    from edgenets.export import export_model

    model = build(library_of(version), low, high, end)
    before = [np.array(weight) for weight in model.get_weights()]
    out = tmp_path / "mine.tflite"
    result = export_model(
        model, out, LABELS, number_format="fp32", input_range=(low, high), images=IMAGES
    )
    wanted = probabilities(model, low, high)
    np.testing.assert_allclose(softmax(Classifier(out).logits(IMAGES)), wanted, atol=1e-4)
    assert "SOFTMAX" not in {op.name for op in flatbuffer.read(out).operators}
    assert Classifier(out).labels == LABELS
    assert result["fidelity"]["agreement"] == 1
    for weight, kept in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, kept)
    assert json.loads((tmp_path / "mine.tflite.json").read_text()) == json.loads(json.dumps(result))


def test_int8_is_integers_alone_and_says_where_it_ran(tmp_path):
    from edgenets.export import export_model

    model = build(library_of(3))
    out = tmp_path / "mine.tflite"
    result = export_model(model, out, LABELS, target="rpi4", images=IMAGES)
    assert result["format"] == "int8" and result["integer_only"]
    assert result["inputs"][0]["zero_point"] == -1
    assert result["runtimes"][0]["reason"] is None
    assert result["xnnpack"]["partitions"] == 1 and result["xnnpack"]["ops_outside"] == 0


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"labels": ("a", "b")}, "mine has 3 classes, and 2 labels came"),
        ({"input_range": (1, 0)}, "must rise from black to white, got 1.0 to 0.0"),
        ({"target": "rpi6"}, "unknown target 'rpi6'"),
    ],
)
def test_what_does_not_fit_is_one_sentence(tmp_path, change, sentence):
    from edgenets.export import export_model

    arguments = {"labels": LABELS, "number_format": "fp32"} | change
    with pytest.raises(EdgenetsError, match=sentence):
        export_model(build(library_of(3)), tmp_path / "mine.tflite", **arguments)
    assert not list(tmp_path.iterdir())


def test_what_is_no_image_classifier_is_refused(tmp_path):
    from edgenets.export import export_model

    keras = library_of(3)
    image = keras.Input((16, 8, 3))
    model = keras.Model(image, keras.layers.Flatten()(image))
    with pytest.raises(EdgenetsError, match="takes square RGB images"):
        export_model(model, tmp_path / "x.tflite", LABELS)
    with pytest.raises(EdgenetsError, match="a Keras model is needed, not str"):
        export_model("model.h5", tmp_path / "x.tflite", LABELS)


def export(*arguments):
    return CliRunner().invoke(command, [*map(str, arguments)])


@pytest.mark.parametrize("version, suffix", [(3, ".keras"), (3, ".h5"), (2, ".h5"), (2, ".keras")])
def test_a_file_is_loaded_only_if_it_is_trusted(tmp_path, version, suffix):
    path, out, labels = tmp_path / f"mine{suffix}", tmp_path / "mine.tflite", tmp_path / "labels"
    build(library_of(version)).save(path)
    labels.write_text("\n".join(LABELS))
    refused = export(path, "--labels", labels, "--format", "fp32", "--out", out)
    assert isinstance(refused.exception, EdgenetsError)
    assert "runs code that it may hold" in str(refused.exception)
    unnamed = export(path, "--trust-source", "--format", "fp32", "--out", out)
    assert unnamed.exit_code == 2 and "pass --labels FILE" in unnamed.output
    assert not out.exists()
    done = export(path, "--trust-source", "--labels", labels, "--format", "fp32", "--out", out)
    assert done.exit_code == 0, done.output
    assert "if not, pass --input-range LOW..HIGH" in done.output
    assert Classifier(out).labels == LABELS


def test_a_file_that_is_no_model_is_one_sentence(tmp_path):
    path, labels = tmp_path / "mine.keras", tmp_path / "labels"
    path.write_bytes(b"PK")
    labels.write_text("a\nb")
    result = export(
        path, "--trust-source", "--labels", labels, "--format", "fp32", "--out", tmp_path / "x"
    )
    assert isinstance(result.exception, EdgenetsError)
    assert "Keras cannot load" in str(result.exception)


def test_the_package_loads_no_tensorflow_before_it_is_asked():
    import subprocess

    script = "import sys, edgenets.export; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.strip() == b"False"


def test_a_keras_file_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", bytes(2**24))
    with at_most(2**23), pytest.raises(EdgenetsError, match=r"bomb\.keras unpacks to too much, w"):
        load_trusted(path)
