"""TensorFlow's converter runs in a child process, and what it raises becomes a sentence."""

from __future__ import annotations

import subprocess
from contextlib import nullcontext

import numpy as np
import pytest

from edgenets.data.images import Preparation
from edgenets.errors import EdgenetsError
from edgenets.export.formats import FORMATS
from edgenets.export.write import converter, tflite
from edgenets.models.backend import keras, tf
from edgenets.models.folder import Spec

pytestmark = pytest.mark.slow
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
SPEC = Spec(
    name="mine",
    arguments={"classes": 4, "resolution": 8},
    labels=tuple("abcd"),
    preparation=Preparation(8, 8),
    seed=0,
)


def build(*layers):
    keras.utils.set_random_seed(1)
    x = image = keras.Input((8, 8, 3))
    for layer in (keras.layers.Conv2D(4, 3, name="stem"), *layers):
        x = layer(x)
    return keras.Model(image, keras.layers.GlobalAveragePooling2D()(x), name="mine")


def convert(model, number_format):
    return tflite.to_format(FORMATS[number_format], model, SPEC, IMAGES).content


@pytest.mark.parametrize("number_format", ["fp32", "int8", "int16x8"])
def test_the_child_makes_the_file_that_this_process_would(monkeypatch, number_format):
    model = build(keras.layers.ReLU(), keras.layers.Conv2D(4, 3))
    made = convert(model, number_format)
    monkeypatch.setattr(converter, "converter_in_a_child", nullcontext)
    assert convert(model, number_format) == made


def test_the_child_stays_for_the_next_conversion_and_another_takes_the_place_of_a_dead_one(
    monkeypatch,
):
    started = []

    class Counted(subprocess.Popen):
        def __init__(self, *arguments, **more):
            super().__init__(*arguments, **more)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Counted)
    converter._child.cache_clear()
    model = build()
    int8 = convert(model, "int8")
    made = convert(model, "fp32")
    assert len(started) == 1 and convert(model, "int8") == int8
    started[0].kill()
    started[0].wait()
    assert convert(model, "fp32") == made
    assert len(started) == 2 and started[1].poll() is None


def test_a_converter_that_ends_its_process_is_one_sentence(monkeypatch, tmp_path, capfd):
    from tensorflow.compiler.mlir.lite.python import wrap_converter

    here = wrap_converter._pywrap_converter_api
    script = tmp_path / "child.py"
    script.write_text("import os, sys; print('no such loop', file=sys.stderr); os.abort()")
    monkeypatch.setattr(converter.converter_child, "__file__", str(script))
    ended = r"converter ended by SIGABRT \(no such loop\) on mine in fp32"
    with pytest.raises(EdgenetsError, match=ended):
        convert(build(), "fp32")
    assert wrap_converter._pywrap_converter_api is here
    assert capfd.readouterr().err == ""


def test_a_converter_that_is_killed_amid_an_answer_is_one_sentence(monkeypatch, tmp_path):
    script = tmp_path / "child.py"
    script.write_text(
        "import os, pickle, signal, sys\n"
        "pickle.load(sys.stdin.buffer)\n"
        "os.write(1, pickle.dumps((b'a' * 1000, None))[:500])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    monkeypatch.setattr(converter.converter_child, "__file__", str(script))
    with pytest.raises(EdgenetsError, match="converter ended by SIGKILL on mine in fp32"):
        convert(build(), "fp32")


def test_a_net_with_loops_is_one_sentence():
    loop = keras.layers.RNN(keras.layers.SimpleRNNCell(4))
    layers = keras.layers.Reshape((-1, 4)), loop, keras.layers.Reshape((1, 1, 4))
    with pytest.raises(EdgenetsError, match=r"the net became \d+ graphs.* replace such layers"):
        convert(build(*layers), "fp32")


@pytest.mark.parametrize(
    "layer, number_format, sentence",
    [
        (
            lambda: keras.layers.Lambda(tf.math.erf, name="my_erf"),
            "fp32",
            r"TFLite has no operator for Erf \(layer my_erf\) of mine",
        ),
        (
            lambda: keras.layers.ELU(name="my_elu"),
            "int16x8",
            r"cannot write ELU \(layer my_elu\), which mine has, in int16x8",
        ),
    ],
)
def test_what_cannot_be_converted_is_named_with_its_layer(layer, number_format, sentence):
    with pytest.raises(EdgenetsError, match=sentence) as refused:
        convert(build(layer()), number_format)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 400


def test_a_layer_that_cannot_be_traced_is_one_sentence():
    class Eager(keras.layers.Layer):
        is_broken = False

        def call(self, inputs):
            if self.is_broken:
                raise ValueError("not in\na graph")
            return inputs

    layer = Eager()
    model = build(layer)
    layer.is_broken = True
    with pytest.raises(EdgenetsError, match=r"cannot trace mine \(ValueError: not in a graph\)"):
        convert(model, "fp32")
