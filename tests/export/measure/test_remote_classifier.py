"""Files that break the interpreter: each is a sentence, and the next file runs as before."""

from __future__ import annotations

import os

import numpy as np
import pytest

from edgenets import flatbuffer
from edgenets.data.images import Preparation
from edgenets.data.input_range import CENTRED
from edgenets.data.loading import Split
from edgenets.errors import EdgenetsError
from edgenets.export.devices.local import LocalSession
from edgenets.export.inspect.inspection import inspect_file
from edgenets.export.measure import remote_classifier
from edgenets.export.measure.accuracy import run_images
from edgenets.export.measure.benchmark import benchmark_file
from edgenets.export.measure.classifier import Classifier
from edgenets.export.measure.predict import predict_files
from edgenets.export.measure.remote_classifier import RemoteClassifier
from edgenets.memory import at_most


@pytest.fixture
def session():
    with LocalSession() as session:
        yield session


def test_outputs_are_those_of_this_process(tiny_int8_file, tiny_net, session, monkeypatch):
    remotely = RemoteClassifier(tiny_int8_file, session)
    pixels = tiny_net.pixels
    np.testing.assert_array_equal(
        remotely.outputs(pixels), Classifier(tiny_int8_file).outputs(pixels)
    )
    assert remotely.images_at_once == remote_classifier.SENT_HERE_BYTES // (8 * 8 * 3)
    assert remotely.runtime["name"] == "ai-edge-litert"


def test_sizes_of_1_before_the_classes_are_taken(tiny_net, session, tmp_path):
    import tensorflow as tf

    function = tf.function(lambda image: tf.reduce_mean(image, [1, 2], keepdims=True))
    concrete = function.get_concrete_function(tf.TensorSpec((1, 8, 8, 3)))
    file = tmp_path / "means.tflite"
    file.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert())
    means = (tiny_net.pixels / 127.5 - 1).mean(axis=(1, 2))
    classifier = Classifier(file, input_range=CENTRED)
    assert classifier.output.shape == (1, 1, 1, 3) and classifier.classes == 3
    # float32 sums of 64 values of magnitude 1: 64 * 2**-24
    np.testing.assert_allclose(classifier.logits(tiny_net.pixels), means, atol=4e-6)
    images = Split(tuple(tiny_net.pixels), np.zeros(16, np.int64), ()).load(Preparation(8, 8))
    (outputs,) = run_images([RemoteClassifier(file, session, input_range=CENTRED)], images)
    np.testing.assert_array_equal(outputs, classifier.outputs(tiny_net.pixels))


def without_a_bias(content: bytes, operator: str) -> bytes:
    """Return the file without the bias of its first operator of that name."""

    def drop(model):
        index = next(
            i for i, one in enumerate(flatbuffer.read(content).operators) if one.name == operator
        )
        convolution = model.subgraphs[0].operators[index]
        assert len(convolution.inputs) == 3
        convolution.inputs = convolution.inputs[:2]

    return flatbuffer.rewrite(content, drop)


def test_a_file_that_the_interpreter_refuses_is_one_sentence(tiny_int8_file, tmp_path, session):
    path = tmp_path / "broken.tflite"
    path.write_bytes(without_a_bias(tiny_int8_file.read_bytes(), "CONV_2D"))
    with pytest.raises(EdgenetsError, match=r"broken\.tflite.*export it again"):
        RemoteClassifier(path, session)


def test_a_file_that_the_interpreter_dies_of_is_one_sentence(shared_file, tmp_path, session):
    vww = shared_file("mlperf_tiny/vww_96_int8.tflite")
    path = tmp_path / "broken.tflite"
    path.write_bytes(without_a_bias(vww.read_bytes(), "DEPTHWISE_CONV_2D"))
    with pytest.raises(EdgenetsError, match=r"broken\.tflite crashed with SIGSEGV: .*again$"):
        RemoteClassifier(path, session)
    with pytest.raises(EdgenetsError, match="crashed with SIGSEGV"):
        predict_files(path, [tmp_path / "none.png"])
    with pytest.raises(EdgenetsError, match="crashed with SIGSEGV"):
        benchmark_file(path)
    assert inspect_file(path).xnnpack["reason"] is None  # opened, and not run
    RemoteClassifier(vww, session)  # in a fresh process


def test_an_interpreter_that_says_nothing_is_ended(tiny_int8_file, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 60\n")
    python.chmod(0o755)
    with (
        LocalSession(python=[str(python)], patience_seconds=0.2) as session,
        pytest.raises(EdgenetsError, match="said nothing for 0 s and was ended"),
    ):
        session.put("tiny", tiny_int8_file)
        session.ask([{"do": "run", "file": "tiny", "runs": 1}])


def test_a_file_that_asks_for_more_memory_than_there_is_is_one_sentence(
    tiny_int8_file, tmp_path, session
):
    def grow(model):
        (image,) = model.subgraphs[0].inputs
        model.subgraphs[0].tensors[image].shape = np.int32([1, 1_500_000, 1_500_000, 3])

    path = tmp_path / "huge.tflite"
    path.write_bytes(flatbuffer.rewrite(tiny_int8_file.read_bytes(), grow))
    with pytest.raises(EdgenetsError, match=r"huge\.tflite"):
        RemoteClassifier(path, session)


def test_outputs_of_another_shape_than_promised_are_one_sentence(
    tiny_int8_file, tiny_net, session, monkeypatch
):
    remotely = RemoteClassifier(tiny_int8_file, session)
    remotely.output = remotely.output._replace(shape=(1, 3))
    with pytest.raises(EdgenetsError, match=r"returned int8 of \(16, 7\) and promises int8 of"):
        remotely.outputs(tiny_net.pixels)


def test_a_file_whose_name_is_no_text_runs(tiny_int8_file, tiny_net, tmp_path, session):
    path = tmp_path / os.fsdecode(b"\xff.tflite")
    path.write_bytes(tiny_int8_file.read_bytes())
    outputs = RemoteClassifier(path, session).outputs(tiny_net.pixels)
    np.testing.assert_array_equal(outputs, Classifier(tiny_int8_file).outputs(tiny_net.pixels))
    named = Classifier(str(tiny_int8_file))
    np.testing.assert_array_equal(named.outputs(tiny_net.pixels), outputs)


def test_a_file_that_takes_more_memory_than_it_may_is_one_sentence(tiny_int8_file, session):
    size_bytes = tiny_int8_file.stat().st_size
    with (
        at_most(size_bytes - 1),
        pytest.raises(EdgenetsError, match=r"tiny\.tflite is too large, w"),
    ):
        RemoteClassifier(tiny_int8_file, session)
