import doctest
import functools
import json

import click
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from edgenets import flatbuffer
from edgenets.cli.main import edgenets_command
from edgenets.errors import EdgenetsError
from edgenets.export.measure import classifier, predict, remote_classifier
from edgenets.export.measure.classifier import Classifier
from edgenets.export.measure.predict import predict_files
from edgenets.models.logits import softmax

LABELS = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu")


@pytest.fixture
def images(tiny_net, tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, pixels in zip(paths, tiny_net.pixels, strict=False):
        Image.fromarray(pixels).save(path)
    return paths


def test_softmax_is_exp_over_the_sum_of_exps():
    logits = np.float32([1, 2, 3])
    total = np.e + np.e**2 + np.e**3
    np.testing.assert_allclose(softmax(logits), [np.e / total, np.e**2 / total, np.e**3 / total])


def test_predictions_are_labels_with_probabilities_in_order(tiny_net, tiny_int8_file, images):
    predictions = predict_files(tiny_int8_file, images, top=3)
    assert [p["path"] for p in predictions] == [str(path) for path in images]
    logits = Classifier(tiny_net.int8).logits(tiny_net.pixels)
    for prediction, row in zip(predictions, logits, strict=False):
        expected = np.exp(row) / np.exp(row).sum()
        order = sorted(range(7), key=lambda i: -row[i])[:3]
        assert [best["label"] for best in prediction["top"]] == [LABELS[i] for i in order]
        assert [best["score"] for best in prediction["top"]] == pytest.approx(expected[order])
        assert [best["name"] for best in prediction["top"]] == [None] * 3


def test_top_is_at_most_the_number_of_classes(tiny_int8_file, images):
    (prediction,) = predict_files(tiny_int8_file, images[:1], top=100)
    assert len(prediction["top"]) == 7
    assert sum(best["score"] for best in prediction["top"]) == pytest.approx(1)


def test_an_unreadable_image_has_its_reason_and_the_others_their_classes(tiny_int8_file, images):
    images[1].write_bytes(b"")
    missing = images[0].with_name("missing.png")
    first, second, third, fourth = predict_files(tiny_int8_file, [*images, missing])
    assert first["top"] and third["top"]
    assert second == {"path": str(images[1]), "error": "empty file"}
    assert fourth == {"path": str(missing), "error": "no such file or directory"}


def test_a_folder_with_one_broken_file_names_it_and_classifies_the_others(
    tiny_int8_file, images, capsys
):
    folder = images[0].parent
    images[1].write_bytes(images[1].read_bytes()[: images[1].stat().st_size // 2])
    arguments = ["predict", str(tiny_int8_file), str(folder), "--json"]
    with pytest.raises(EdgenetsError, match="1 of 3 images could not be read"):
        edgenets_command.main(arguments, standalone_mode=False)
    said = capsys.readouterr()
    first, broken, third = json.loads(said.out)
    assert first["top"] and third["top"]
    assert broken["path"] == str(images[1]) and "truncated or damaged" in broken["error"]
    assert said.err.startswith(f"{images[1]}: truncated or damaged")


def test_many_images_are_run_in_parts(tiny_int8_file, images, monkeypatch):
    whole = predict_files(tiny_int8_file, images * 3)
    monkeypatch.setattr(remote_classifier, "SENT_HERE_BYTES", 2 * 8 * 8 * 3)
    assert predict_files(tiny_int8_file, images * 3) == whole


def test_a_file_without_metadata_numbers_its_classes(tiny_net, images, tmp_path):
    path = tmp_path / "bare.tflite"
    path.write_bytes(tiny_net.int8)
    (prediction,) = predict_files(path, images[:1], top=7)
    assert {best["label"] for best in prediction["top"]} == {f"class {i}" for i in range(7)}


def test_shared_files_predict_from_any_photo(shared_file, tmp_path):
    photo = tmp_path / "photo.jpg"
    Image.effect_noise((300, 200), 50).convert("RGB").save(photo)
    (person,) = predict_files(shared_file("mlperf_tiny/vww_96_int8.tflite"), [photo])
    assert sum(best["score"] for best in person["top"]) == pytest.approx(1)


@functools.cache
def converted(scores, classes):
    """A float32 file of 8 x 8 images in [0, 1]; `scores` makes them of 10 times the mean colour."""

    @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 3), tf.float32)])
    def network(image):
        colour = 10 * tf.reduce_mean(image, axis=(1, 2))
        return tf.ensure_shape(scores(colour), (1, classes))

    return tf.lite.TFLiteConverter.from_concrete_functions(
        [network.get_concrete_function()], network
    ).convert()


@pytest.fixture
def gray(tmp_path):
    """An image of one gray, whose mean colour times 10 is 10 * 51 / 255 = 2."""
    path = tmp_path / "gray.png"
    Image.new("RGB", (8, 8), (51, 51, 51)).save(path)
    return path


def sigmoid_of_red(colour):
    return tf.sigmoid(colour[:, :1])


def two_heads(colour):
    heads = tf.constant([[0.0, 1, 0], [0, 0, 1]]) * np.float32(np.log(81))
    return tf.reduce_mean(tf.nn.softmax(heads) + 0 * tf.reduce_sum(colour), axis=0, keepdims=True)


@pytest.mark.parametrize(
    "scores, expected",
    [
        (lambda colour: tf.sigmoid(colour - [0.0, 2, 4]), [0.8808, 0.5, 0.1192]),  # 1 / (1 + e^-2)
        (lambda colour: tf.nn.softmax(colour * [0.0, 1, 0]), [0.1065, 0.7870, 0.1065]),  # e^2
        (lambda colour: tf.reshape(tf.sigmoid(colour), (1, 3)), [0.8808] * 3),
        (two_heads, [1 / 83, 41 / 83, 41 / 83]),
        (lambda colour: colour * [0.0, 0.5, 0.5], [0.1554, 0.4223, 0.4223]),  # logits 0, 1, 1
        (lambda colour: colour * [0.25, 0.25, 0.1], [0.3649, 0.3649, 0.2703]),  # sum to 1.2
    ],
)
def test_probabilities_are_shown_as_they_are_and_logits_as_their_softmax(
    gray, tmp_path, scores, expected
):
    path = tmp_path / "net.tflite"
    path.write_bytes(converted(scores, 3))
    (prediction,) = predict_files(path, [gray], labels=("a", "b", "c"), input_range=(0, 1))
    shown = {best["label"]: best["score"] for best in prediction["top"]}
    assert [shown[label] for label in "abc"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    "labels, shown",
    [
        (("cat", "dog"), [("dog", 0.8808), ("cat", 0.1192)]),
        (("dog",), [("dog", 0.8808), ("not dog", 0.1192)]),
        (None, [("class 1", 0.8808), ("class 0", 0.1192)]),
    ],
)
def test_a_single_sigmoid_is_the_second_class_of_two(gray, tmp_path, labels, shown):
    path = tmp_path / "net.tflite"
    path.write_bytes(converted(sigmoid_of_red, 1))
    (prediction,) = predict_files(path, [gray], labels=labels, input_range=(0, 1))
    assert [(best["label"], round(best["score"], 4)) for best in prediction["top"]] == shown


def test_a_single_number_that_is_no_probability_is_refused(gray, tmp_path):
    path = tmp_path / "net.tflite"
    path.write_bytes(converted(lambda colour: colour[:, :1] - 3, 1))
    with pytest.raises(EdgenetsError, match="returns 1 number and ends in SUB; a classifier"):
        predict_files(path, [gray], input_range=(0, 1))


def test_int8_sigmoids_are_shown_as_they_are(tiny_net, images, tmp_path):
    """The softmax of a file made a sigmoid: both give codes of 1/256."""

    def change(model):
        for code in model.operatorCodes:
            if code.builtinCode == flatbuffer.OPERATORS.index("SOFTMAX"):
                code.builtinCode = code.deprecatedBuiltinCode = flatbuffer.OPERATORS.index(
                    "LOGISTIC"
                )
        model.subgraphs[0].operators[-1].builtinOptionsType = 0
        model.subgraphs[0].operators[-1].builtinOptions = None

    path = tmp_path / "sigmoids.tflite"
    path.write_bytes(flatbuffer.rewrite(tiny_net.softmax_int8, change))
    predictions = predict_files(path, images, top=7)
    for prediction, logits in zip(predictions, tiny_net.logits, strict=False):
        shown = {best["label"]: best["score"] for best in prediction["top"]}
        expected = 1 / (1 + np.exp(-logits))
        # Rounding of the logits to int8, at most a quarter of it in a sigmoid, and of the output.
        room = np.ptp(tiny_net.logits) / 255 / 2 + 1 / 256
        np.testing.assert_allclose([shown[f"class {i}"] for i in range(7)], expected, atol=room)


def test_a_rewritten_file_numbers_its_classes_says_why_and_takes_labels(
    tiny_int8_file, images, tmp_path, capsys
):
    path = tmp_path / "rewritten.tflite"
    path.write_bytes(flatbuffer.rewrite(tiny_int8_file.read_bytes(), lambda model: None))
    (numbered,) = predict_files(path, images[:1], top=7)
    assert {best["label"] for best in numbered["top"]} == {f"class {i}" for i in range(7)}
    assert capsys.readouterr().err == (
        f"{path} names its labels, labels.txt, and does not hold them: it was cut short, or a "
        "tool that rewrote it left out what stood behind the model; pass them with "
        "--labels FILE; its classes are numbered here\n"
    )
    (named,) = predict_files(path, images[:1], top=7, labels=LABELS)
    (whole,) = predict_files(tiny_int8_file, images[:1], top=7)
    assert named == whole and not capsys.readouterr().err


def test_the_command_takes_labels_and_ranges_of_files_of_other_tools(gray, tmp_path, capsys):
    path, labels = tmp_path / "net.tflite", tmp_path / "labels.txt"
    path.write_bytes(converted(lambda colour: colour, 3))
    labels.write_bytes(b"\xef\xbb\xbfred\ngreen\nblue\n")  # as Windows' Notepad saves them
    options = ["--labels", str(labels), "--input-range", "0,-1,0..1,0,0.5", "--json"]
    arguments = ["predict", str(path), str(gray), *options]
    edgenets_command.main(arguments, standalone_mode=False)
    ((prediction),) = json.loads(capsys.readouterr().out)
    assert [best["label"] for best in prediction["top"]] == ["red", "blue", "green"]
    # Of 0.2 between black and white: 10 * (0.2, -0.8, 0.1)
    expected = softmax(np.float32([2, 1, -8]))
    np.testing.assert_allclose([best["score"] for best in prediction["top"]], expected, rtol=1e-5)


@pytest.mark.parametrize("value", ["0,1..2", "0,0..1,1", "white", "0,0,x..1,1,1", ".."])
def test_a_range_that_is_none_is_wrong_usage(gray, value, capsys):
    arguments = ["predict", "net.tflite", str(gray), "--input-range", value]
    with pytest.raises(click.BadParameter, match="expected two numbers"):
        edgenets_command.main(arguments, standalone_mode=False)


def test_docstring_examples_are_right():
    assert doctest.testmod(classifier).failed == doctest.testmod(predict).failed == 0
