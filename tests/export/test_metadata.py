"""What a file says of itself can be read again, by TFLite's own rules and by ours."""

from __future__ import annotations

import doctest
import io
import re
import zipfile

import numpy as np
import pytest

from edgenets import flatbuffer
from edgenets.data.input_range import CENTRED
from edgenets.errors import EdgenetsError
from edgenets.export import metadata
from edgenets.export.formats import FORMATS
from edgenets.export.inspect.xnnpack import partitions
from edgenets.export.measure.classifier import Classifier
from edgenets.export.metadata import (
    check_end,
    layer_names,
    read_entry,
    read_labels,
    with_description,
)
from edgenets.export.write.checked_file import float_file
from edgenets.export.write.tflite import to_format

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
# Each with what the others lack: depthwise, concatenated, grouped and shuffled, joined.
NETS = {
    "mobilenet_v1": {"width": 0.25},
    "squeezenet": {"base_expand": 32, "expand_increment": 32},
    "shufflenet_v1": {"groups": 3, "scale": 0.25},
    "xception": {"width": 0.25},
}


def labels_of(content):
    return read_labels(content, flatbuffer.read(content))


def net_of(name):
    from edgenets.data.images import Preparation
    from edgenets.models.folder import Spec
    from edgenets.models.registry import complete_arguments, create

    given = {**NETS[name], "resolution": 32, "classes": 3, "output_stride": 8}
    arguments = complete_arguments(name, given)
    labels = ("tabby, tabby cat", "chat noir", "\u732b")
    return create(name, **arguments), Spec(name, arguments, labels, Preparation(32, 32), seed=7)


@pytest.mark.slow
@pytest.mark.parametrize("number_format", ["int8", "fp32"])
@pytest.mark.parametrize("name", NETS)
def test_the_file_that_is_kept_computes_the_same_and_holds_no_waste(name, number_format):
    from edgenets.models.folder import weights_sha256

    model, spec = net_of(name)
    converted = to_format(FORMATS[number_format], model, spec, IMAGES)
    named = converted.content
    content = with_description(converted, spec, weights_sha256(model)).content
    file, before = flatbuffer.read(content), flatbuffer.read(named)
    kept, plain = Classifier(content), Classifier(named, input_range=CENTRED)
    np.testing.assert_array_equal(kept.outputs(IMAGES), plain.outputs(IMAGES))
    assert partitions(content) == partitions(named)
    assert len(flatbuffer.rewrite(named, flatbuffer.slim)) < len(named)
    at_ends = {*file.input_indices, *file.output_indices}
    assert [t.name for t in (*file.inputs, *file.outputs)] == ["image", "logits"]
    assert all(bool(t.name) == (i in at_ends) for i, t in enumerate(file.tensors))
    assert layer_names(file) == layer_names(before)
    weighted = {
        layer
        for operator, layer in zip(file.operators, layer_names(file), strict=True)
        if operator.name in flatbuffer.WEIGHTED
    }
    kernels = {layer.name for layer in model.layers if hasattr(layer, "use_bias")}
    assert weighted == kernels

    assert kept.labels == spec.labels and kept.preparation == spec.preparation
    entry = read_entry(file)
    assert entry["seed"] == 7 and entry["arguments"]["classes"] == 3
    assert entry["versions"]["edgenets"] and len(entry["source_sha256"]) == 64


@pytest.mark.slow
def test_the_standard_entry_says_what_goes_in_and_names_the_labels():
    model, spec = net_of("mobilenet_v1")
    content = float_file(model, spec)
    standard = flatbuffer.read(content).metadata["TFLITE_METADATA"]
    assert standard[4:8] == b"M001"
    assert b"labels.txt\0" in standard and b"image\0" in standard
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (entry,) = archive.infolist()
        assert entry.compress_type == zipfile.ZIP_STORED  # TFLite's C++ reader knows no other
        assert archive.read(entry).decode().split("\n") == list(spec.labels)


@pytest.mark.slow
@pytest.mark.parametrize("label", ["b\nc", "b\n", ""])
def test_a_label_that_is_not_one_line_is_refused(label: str):
    from dataclasses import replace

    model, spec = net_of("mobilenet_v1")
    spec = replace(spec, labels=("a", label, "d"))
    with pytest.raises(EdgenetsError, match=f"one line of text, not {re.escape(repr(label))}"):
        float_file(model, spec)


def test_a_file_without_labels_has_none(tiny_net):
    assert labels_of(tiny_net.int8) is None


def test_labels_that_were_cut_off_are_missed(tiny_int8_file):
    content = tiny_int8_file.read_bytes()
    with pytest.raises(EdgenetsError, match=r"labels\.txt is missing behind the model"):
        labels_of(content[:-1])


def test_a_file_that_ends_in_its_labels_is_refused_and_one_without_is_whole(tiny_int8_file):
    content = tiny_int8_file.read_bytes()
    for whole in (content, flatbuffer.rewrite(content, lambda model: None)):
        check_end(whole)
    for missing in (1, 20, 60):
        with pytest.raises(EdgenetsError, match=r"labels\.txt is missing behind the model"):
            check_end(content[:-missing])


def test_docstring_examples_are_right():
    assert doctest.testmod(metadata).failed == 0
