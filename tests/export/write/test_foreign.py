"""Keras models of others go through the same checks, and keep what they compute."""

from __future__ import annotations

import json
import sys
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from edgenets import flatbuffer
from edgenets.cli.export import command
from edgenets.errors import EdgenetsError
from edgenets.export.measure.accuracy import evaluate_file
from edgenets.export.measure.classifier import Classifier
from edgenets.export.measure.promises import measure_fidelity
from edgenets.export.write.foreign import load_trusted
from edgenets.flatbuffer import File
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


def features(library, batch=None):
    """An image and 8 numbers that differ by image."""
    layers = library.layers
    library.utils.set_random_seed(1)
    image = library.Input((16, 16, 3), batch_size=batch)
    x = layers.Conv2D(8, 3, strides=2, activation="relu", name="stem")(image)
    return image, layers.GlobalAveragePooling2D()(x)


def dense(library, **arguments):
    strong = library.initializers.RandomNormal(stddev=5.0, seed=7)
    return library.layers.Dense(3, kernel_initializer=strong, **arguments)


def softmax_as_function(library):
    from edgenets.models.backend import tf

    image, x = features(library)
    return library.Model(image, dense(library, activation=tf.nn.softmax)(x))


def softmax_as_operation(library):
    from edgenets.models.backend import tf

    image, x = features(library)
    softmax = library.ops.softmax if hasattr(library, "ops") else tf.nn.softmax
    return library.Model(image, softmax(dense(library)(x)))


def softmax_in_a_lambda(library):
    from edgenets.models.backend import tf

    image, x = features(library)
    return library.Model(image, library.layers.Lambda(tf.nn.softmax)(dense(library)(x)))


def softmax_before_shapes(library):
    layers = library.layers
    image, x = features(library)
    x = layers.Softmax()(layers.Reshape((1, 1, 3))(dense(library)(x)))
    return library.Model(image, layers.Activation("linear")(layers.Flatten()(x)))


def nested_models(library):
    head = library.Sequential([library.Input((8,)), dense(library, activation="softmax")])
    model = library.Sequential([library.Sequential([library.Model(*features(library))]), head])
    model.build((None, 16, 16, 3))
    return model


def head_used_twice(library):
    """The output is the first call of the head; the last layer made is not of the output."""
    image, x = features(library)
    head = dense(library, activation="softmax")
    output = head(x)
    head(library.layers.Rescaling(-1.0)(x))
    return library.Model(image, output)


def head_used_before(library):
    head = dense(library, activation="softmax")
    cached = library.Input((8,))
    library.Model(cached, head(cached))
    image, x = features(library)
    return library.Model(image, head(x))


def batch_of_one(library):
    image, x = features(library, batch=1)
    return library.Model(image, dense(library, activation="softmax")(x))


def sequential_built_by_a_call(library):
    layers = library.layers
    library.utils.set_random_seed(1)
    pool, head = layers.GlobalAveragePooling2D(), dense(library, activation="softmax")
    model = library.Sequential([layers.Conv2D(8, 3), pool, head])
    model(np.zeros((2, 16, 16, 3), np.float32))  # and its batch is 2 from now on
    return model


def probabilities_of_two_heads(library):
    """What ends in no softmax is left as it is."""
    image, x = features(library)
    heads = [dense(library, activation="softmax")(x) for _ in range(2)]
    return library.Model(image, library.layers.Average()(heads))


FORMS = (
    *(softmax_as_function, softmax_as_operation, softmax_in_a_lambda, softmax_before_shapes),
    *(nested_models, head_used_twice, head_used_before, batch_of_one, sequential_built_by_a_call),
)


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


def one_by_one(model):
    inputs = (IMAGES / 127.5 - 1).astype(np.float32)
    size = model.inputs[0].shape[0] or len(inputs)
    parts = np.split(inputs, len(inputs) // size)
    return np.concatenate([np.asarray(model(part, training=False)) for part in parts])


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("form", FORMS)
def test_a_softmax_in_any_form_is_left_out_and_nothing_else(tmp_path, form, version):
    from edgenets.export import export_model

    model = form(library_of(version))
    out = tmp_path / "mine.tflite"
    result = export_model(model, out, LABELS, number_format="fp32", images=IMAGES)
    wanted = one_by_one(model)
    assert np.ptp(wanted, axis=0).max() > 0.01  # the images are told apart
    np.testing.assert_allclose(softmax(Classifier(out).logits(IMAGES)), wanted, atol=1e-4)
    assert "SOFTMAX" not in {op.name for op in flatbuffer.read(out).operators}
    assert result["fidelity"]["compared"] == "probabilities"


@pytest.mark.parametrize("end", ["softmax", "sigmoid"])
def test_a_softmax_over_probabilities_is_kept_and_shown_as_it_is(tmp_path, end):
    from edgenets.export import export_model

    library = library_of(2)
    image, x = features(library)
    model = library.Model(image, library.layers.Softmax()(dense(library, activation=end)(x)))
    out = tmp_path / "mine.tflite"
    result = export_model(model, out, LABELS, number_format="fp32", images=IMAGES)
    file = Classifier(out)
    shown = file.probabilities_of(file.outputs(IMAGES))
    np.testing.assert_allclose(shown, one_by_one(model), atol=1e-4)
    assert result["fidelity"]["compared"] == "probabilities"


@pytest.mark.parametrize("number_format", ["fp32", "int8"])
def test_one_sigmoid_has_the_labels_of_two_classes(tmp_path, number_format):
    from edgenets.export import export_model

    library = library_of(3)
    image, x = features(library)
    strong = library.initializers.RandomNormal(stddev=5.0, seed=9)
    x = library.layers.Dense(1, kernel_initializer=strong, bias_initializer="ones")(x)
    model = library.Model(image, library.layers.Activation("sigmoid")(x))
    out, given = tmp_path / "mine.tflite", {"number_format": number_format, "images": IMAGES}
    export_model(model, out, ("cat", "dog"), **given)
    with zipfile.ZipFile(out) as archive:
        assert archive.read("labels.txt") == b"dog"  # one for each score
    file = Classifier(out)
    assert file.labels == ("cat", "dog")
    dogs = file.values_of(file.outputs(IMAGES))[:, 0]
    np.testing.assert_allclose(file.probabilities_of(file.outputs(IMAGES))[:, 1], dogs)
    assert measure_fidelity(out.read_bytes(), IMAGES, dogs[:, np.newaxis]).agreement == 1
    assert measure_fidelity(out.read_bytes(), IMAGES, 1 - dogs[:, np.newaxis]).agreement == 0

    for name, number in (("cat", 2), ("dog", 4)):
        (tmp_path / "photos" / "test" / name).mkdir(parents=True)
        for i in range(number):
            photo = tmp_path / "photos" / "test" / name / f"{i}.png"
            Image.fromarray(IMAGES[i + 2 * (name == "dog")]).save(photo)
    measured = evaluate_file(out, str(tmp_path / "photos"), everything=True)
    assert measured["labels"] == ["cat", "dog"] and measured["samples"] == 6
    assert 0 < np.mean(dogs > 0.5) < 1
    assert measured["top1"] == np.mean((dogs > 0.5) == [False, False, True, True, True, True])

    export_model(model, out, ("dog",), **given)
    assert Classifier(out).labels == ("not dog", "dog")
    with pytest.raises(EdgenetsError, match="has 1 classes, and 3 labels came"):
        export_model(model, out, LABELS, **given)


def test_no_softmax_is_put_over_probabilities(tmp_path):
    from edgenets.export.ends import Ends
    from edgenets.export.formats import FP32
    from edgenets.export.write.checked_file import write_checked
    from edgenets.export.write.foreign import adopt

    library = library_of(2)
    image, x = features(library)
    model, spec, answers = adopt(
        library.Model(image, dense(library, activation="sigmoid")(x)), LABELS, (-1.0, 1.0)
    )
    with pytest.raises(EdgenetsError, match="gives probabilities already; leave --softmax out"):
        write_checked(
            tmp_path / "a.tflite", FP32, model, spec, ends=Ends(softmax=True), answers=answers
        )


def test_weights_that_are_not_finite_are_named(tmp_path):
    from edgenets.export import export_model

    model = build(library_of(3))
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    with pytest.raises(EdgenetsError, match="mine has weights that are NaN or infinite"):
        export_model(model, tmp_path / "mine.tflite", LABELS, number_format="fp32")


def test_an_output_that_is_no_softmax_is_kept(tmp_path):
    from edgenets.export import export_model

    model = probabilities_of_two_heads(library_of(3))
    out = tmp_path / "mine.tflite"
    result = export_model(model, out, LABELS, number_format="fp32", images=IMAGES)
    np.testing.assert_allclose(Classifier(out).outputs(IMAGES), one_by_one(model), atol=1e-4)
    assert result["fidelity"]["compared"] == "logits"


def test_integers_before_the_softmax_stay_what_they_are(tiny_net):
    from edgenets.export.write.inputs_outputs import remove_softmax

    file, other = File(tiny_net.softmax_int8), File(tiny_net.int8)
    assert remove_softmax(file) and not remove_softmax(other)
    assert other.content is tiny_net.int8
    logits = Classifier(file)
    np.testing.assert_array_equal(
        logits.outputs(tiny_net.pixels), Classifier(tiny_net.int8).outputs(tiny_net.pixels)
    )


def test_a_file_is_held_against_the_model_that_was_given():
    from edgenets.export.formats import FP32
    from edgenets.export.write.checked_file import export_checked
    from edgenets.export.write.foreign import adopt

    model, spec, answers = adopt(build(library_of(2)), LABELS, (-1, 1))
    assert export_checked(FP32, model, spec, IMAGES, None, answers=answers).fidelity.snr_db > 80
    with pytest.raises(EdgenetsError, match=r"gives probabilities at .* dB"):
        export_checked(FP32, model, spec, IMAGES, None, answers=lambda x: 1 - answers(x))


@pytest.mark.parametrize(
    "version, name, layer",
    [(3, "my model v1.2 (final)", "stem 1"), (3, "Blätter", "Stängel"), (2, "Blätter", "stem")],
)
def test_names_that_tensorflow_does_not_take_are_exported(tmp_path, version, name, layer):
    from edgenets.export import export_model

    library = library_of(version)
    image = library.Input((16, 16, 3))
    x = library.layers.Conv2D(8, 3, name=layer)(image)
    x = library.layers.Dense(3)(library.layers.GlobalAveragePooling2D()(x))
    model = library.Model(image, x, name=name)
    export_model(model, tmp_path / "mine.tflite", LABELS, number_format="fp32")
    assert model.name == name and model.layers[1].name == layer  # as they were


@pytest.mark.parametrize(
    "number_format, target, asked, kept",
    [
        ("fp32", "generic", None, True),
        ("fp32", "generic", False, False),
        ("int8", "generic", None, False),
        ("int8", "generic", True, True),
        ("int8", "coral", None, True),
    ],
)
def test_tensors_keep_their_names_by_default_or_on_demand(
    tmp_path, number_format, target, asked, kept
):
    from edgenets.export import export_model

    model, out = build(library_of(2)), tmp_path / "mine.tflite"
    arguments = {"images": IMAGES, "target": target, "number_format": number_format}
    result = export_model(model, out, LABELS, names=asked, **arguments)
    file = flatbuffer.read(out)
    assert (file.inputs[0].name, file.outputs[0].name) == ("image", "logits")
    assert all(bool(tensor.name) == kept for tensor in file.tensors[1:-1])
    assert result["names"] == kept


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
        ({"input_range": (0, np.inf)}, "must rise .*, got 0.0 to inf; pass two finite numbers"),
        ({"input_range": (0, 1, 2)}, r"must be two numbers, .*, got \(0, 1, 2\); put a Norm"),
        ({"input_range": ((0, 0, 0), (1, 1, 1))}, r"two numbers, .*, got \(\(0, 0, 0\), \(1"),
        ({"input_range": 255}, "must be two numbers, .*, got 255;"),
        (
            {"images": IMAGES[:0]},
            r"images must be .* uint8 of \[images, 16, 16, 3\], as mine takes",
        ),
        ({"images": []}, "images must be .*, got float64 of 0"),
        ({"images": IMAGES[0]}, "images must be .*, got uint8 of 16 x 16 x 3"),
        ({"images": IMAGES / 255}, "images must be .*, got float64 of "),
        ({"images": [IMAGES[0], IMAGES[0, 1:]]}, "images must be .*, got arrays of several shapes"),
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
    with pytest.raises(EdgenetsError, match="has no input shape; call it with an image"):
        export_model(keras.Sequential([keras.layers.Flatten()]), tmp_path / "x.tflite", LABELS)
    with pytest.raises(EdgenetsError, match="a Keras model is needed, not str"):
        export_model("model.h5", tmp_path / "x.tflite", LABELS)


def in_half_precision(library):
    library.mixed_precision.set_global_policy("mixed_float16")
    try:
        return library.Model(*features(library))
    finally:
        library.mixed_precision.set_global_policy("float32")


def of_bytes(library):
    image = library.Input((16, 16, 3), dtype="uint8")
    x = library.layers.Rescaling(1 / 255)(image)
    return library.Model(image, library.layers.GlobalAveragePooling2D()(x))


def quantized(library):
    model = build(library)
    model.quantize("int8")
    return model


def pruned(library):
    from edgenets.models.backend import tfmot

    return tfmot.sparsity.keras.prune_low_magnitude(library.Model(*features(library)))


def quantization_aware(library):
    from edgenets.models.backend import tfmot

    return tfmot.quantization.keras.quantize_model(library.Model(*features(library)))


def raising(library):
    class Raising(library.layers.Layer):
        def call(self, inputs):
            if hasattr(inputs, "numpy"):  # called with images
                raise ValueError("only on\npaper")
            return inputs

    image, x = features(library)
    return library.Model(image, library.layers.Dense(3)(Raising()(x)))


@pytest.mark.parametrize(
    "version, form, sentence",
    [
        (3, in_half_precision, "computes in float16, and float32 is needed; build the model again"),
        (2, in_half_precision, "layer .* computes in float16, and float32 is needed"),
        (3, of_bytes, "a model with a float32 input is needed, and that of .* is uint8"),
        (
            3,
            quantized,
            "layer dense.* was quantized by model.quantize .*; pass the model as it was",
        ),
        (2, pruned, r"PruneLowMagnitude of .*; pass tfmot.sparsity.keras.strip_pruning\(model\)"),
        (2, quantization_aware, "holds QuantizeLayer of .*; its ranges are not those of"),
        (3, raising, "cannot be called with images .*only on paper"),
    ],
)
def test_what_the_converter_fails_on_is_one_sentence(tmp_path, version, form, sentence):
    from edgenets.export import export_model

    model = form(library_of(version))
    labels = [str(i) for i in range(model.outputs[0].shape[-1])]
    with pytest.raises(EdgenetsError, match=sentence) as refused:
        export_model(model, tmp_path / "x.tflite", labels, images=IMAGES)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 500
    assert not list(tmp_path.iterdir())


def export(*arguments):
    return CliRunner().invoke(command, [*map(str, arguments)])


def test_a_keras_file_that_is_not_there_is_said_to_be_missing(tmp_path):
    missing = tmp_path / "missing.keras"
    done = export(missing, "--trust-source", "--labels", "labels.txt", "--out", tmp_path / "x")
    assert str(done.exception) == f"there is no file {missing}; pass a model folder or a Keras file"


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
