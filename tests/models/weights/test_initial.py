"""Weights are found by name or place, fit the net that is asked for, and take over the classes."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.numpy

from edgenets.data.images import Preparation
from edgenets.errors import EdgenetsError
from edgenets.files import sha256_bytes, sha256_file, write_json
from edgenets.models.backend import keras
from edgenets.models.folder import Spec, load_model, named_weights, save_model
from edgenets.models.registry import complete_arguments, create
from edgenets.models.weights import initial
from edgenets.models.weights.initial import (
    classifier,
    find_weights,
    folder_arguments,
    load_weights,
    replace_classes,
)

NAME, LABELS = "squeezenet", ("cat", "dog", "owl")
SMALL = {"base_expand": 16, "expand_increment": 8, "resolution": 32, "output_stride": 8}
ARGUMENTS = complete_arguments(NAME, SMALL)


def images(resolution: int) -> np.ndarray:
    random = np.random.default_rng(0)
    return random.uniform(-1, 1, (2, resolution, resolution, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of three classes, in the package's folder of pretrained ones."""
    keras.utils.set_random_seed(7)
    arguments = {**ARGUMENTS, "classes": 3}
    spec = Spec(NAME, arguments, LABELS, Preparation(32, 36), seed=0)
    path = tmp_path_factory.mktemp("pretrained") / f"cifar10_{NAME}"
    save_model(path, create(NAME, **arguments), spec)
    return path


@pytest.fixture
def pretrained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(initial, "PRETRAINED", folder.parent)
    return folder


@pytest.fixture
def reader(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """Stands for the readers of files: answers with the folder's model; notes what it was asked."""
    asked: list[tuple] = []

    def read_weights(path, name, arguments, *, input_range):
        asked.append((path, name, input_range))
        complete = {**arguments, "classes": 3}
        model = create(name, **complete)
        model.set_weights(load_model(folder)[0].get_weights())
        return model, complete, None, None

    module = SimpleNamespace(read_weights=read_weights)
    monkeypatch.setitem(sys.modules, "edgenets.models.weights.reading", module)
    return asked


def failure(function, *arguments: object, **options: object) -> str:
    with pytest.raises(EdgenetsError) as raised:
        function(*arguments, **options)
    sentence = str(raised.value)
    assert "\n" not in sentence and not sentence.endswith(".")
    return sentence


# Finding


def test_cifar10_is_a_folder_of_the_package(pretrained):
    weights = find_weights("cifar10", NAME, ARGUMENTS)
    assert (weights.path, weights.source) == (pretrained, "cifar10_squeezenet")
    assert weights.sha256 == sha256_file(pretrained / "weights.safetensors")


def test_net_without_cifar10_weights_is_told_which_have_some(pretrained):
    sentence = failure(find_weights, "cifar10", "xception", complete_arguments("xception", {}))
    assert sentence == "there are no cifar10 weights of xception; there are some of squeezenet"


def test_folder_says_its_arguments(pretrained):
    assert folder_arguments("cifar10", NAME) == {
        argument: value for argument, value in ARGUMENTS.items() if argument != "classes"
    }
    assert folder_arguments(str(pretrained), "xception") == {}
    assert folder_arguments("imagenet", NAME) == folder_arguments("weights.h5", NAME) == {}


def test_folder_of_other_arguments_is_refused(pretrained):
    sentence = failure(find_weights, "cifar10", NAME, {**ARGUMENTS, "bypass": "simple"})
    assert "squeezenet with bypass=none, got bypass=simple; leave bypass out" in sentence


def test_folder_of_another_net_is_refused(pretrained):
    sentence = failure(find_weights, str(pretrained), "xception", {})
    assert sentence.endswith("are of squeezenet, got xception; name that net")


def test_imagenet_weights_come_from_the_cache(server, monkeypatch, tmp_path):
    published = SimpleNamespace(url=server.url(), sha256=sha256_bytes(server.content))
    monkeypatch.setattr(initial, "imagenet_weights", lambda name, arguments: published)
    monkeypatch.setenv("EDGENETS_CACHE", str(tmp_path))
    first, second = (find_weights("imagenet", NAME, ARGUMENTS) for _ in range(2))
    assert first == second
    assert (first.source, first.sha256) == (published.url, published.sha256)
    assert first.path.is_relative_to(tmp_path) and server.asked == [None]


def test_place_without_a_file_gets_a_sentence(tmp_path):
    sentence = failure(find_weights, str(tmp_path / "imagnet"), NAME, ARGUMENTS)
    assert "must be imagenet, cifar10, a file or a model folder" in sentence
    assert sentence.endswith("did you mean imagenet?")


def test_input_range_is_for_files_that_do_not_say_theirs(pretrained):
    for weights in ("imagenet", "cifar10", "a.net"):
        sentence = failure(find_weights, weights, NAME, ARGUMENTS, input_range=(0, 1))
        assert "can be given for .h5 and .tflite files only" in sentence


@pytest.mark.parametrize(
    "content, message",
    [
        (b"cat\ndog\ncat\n", "line 3 repeats the label 'cat'"),
        (b"cat\n\ndog\n", "line 2 is empty"),
        (b"\xff\xfe", "must be text in UTF-8"),
    ],
)
def test_bad_file_of_labels_names_the_line(pretrained, tmp_path, content: bytes, message: str):
    (tmp_path / "labels.txt").write_bytes(content)
    labels = tmp_path / "labels.txt"
    assert message in failure(find_weights, "cifar10", NAME, ARGUMENTS, labels=labels)


# Loading


def test_folder_s_model_is_taken_as_it_is(pretrained):
    model, spec = load_weights(find_weights("cifar10", NAME, ARGUMENTS), NAME, ARGUMENTS, seed=5)
    stored, stored_spec = load_model(pretrained)
    np.testing.assert_array_equal(model(images(32)), stored(images(32)))
    assert (spec.labels, spec.arguments) == (LABELS, stored_spec.arguments)
    assert (spec.preparation, spec.seed) == (Preparation(32, 36), 5)
    assert spec.is_trained and spec.initial_weights == {
        "source": "cifar10_squeezenet",
        "sha256": sha256_file(pretrained / "weights.safetensors"),
        "input_range": (-1.0, 1.0),
    }


def test_weights_serve_another_resolution_and_output_stride(pretrained):
    larger = {**ARGUMENTS, "resolution": 64, "output_stride": 16}
    model, spec = load_weights(find_weights("cifar10", NAME, larger), NAME, larger, seed=0)
    stored, _ = load_model(pretrained)
    for name, weight in named_weights(stored).items():
        np.testing.assert_array_equal(named_weights(model)[name], weight)
    assert model(images(64)).shape == (2, 3)
    assert spec.preparation == Preparation.default(NAME, 64)


def test_float16_weights_are_loaded(pretrained, tmp_path):
    half = shutil.copytree(pretrained, tmp_path / "half")
    stored, _ = load_model(pretrained)
    tensors = {k: v.astype(np.float16) for k, v in named_weights(stored).items()}
    content = safetensors.numpy.save(tensors)
    (half / "weights.safetensors").write_bytes(content)
    _, spec = load_model(pretrained)
    write_json(half / "spec.json", {**spec.to_json(), "weights_sha256": sha256_bytes(content)})
    model, _ = load_weights(find_weights(str(half), NAME, ARGUMENTS), NAME, ARGUMENTS, seed=0)
    for name, weight in named_weights(model).items():
        np.testing.assert_array_equal(weight, tensors[name].astype(np.float32))


def test_file_is_read_with_its_range_and_its_classes_are_numbered(reader, tmp_path, capsys):
    (tmp_path / "net.h5").write_bytes(b"weights")
    weights = find_weights(str(tmp_path / "net.h5"), NAME, ARGUMENTS, input_range=(0, 1))
    _, spec = load_weights(weights, NAME, ARGUMENTS, seed=0)
    assert reader == [(tmp_path / "net.h5", NAME, (0, 1))]
    assert (spec.labels, spec.preparation) == (("0", "1", "2"), Preparation(32, 32))
    assert spec.initial_weights["sha256"] == sha256_bytes(b"weights")
    assert "net.h5 does not name its classes: they are 0 to 2" in capsys.readouterr().err


def test_given_labels_name_the_classes(reader, tmp_path):
    (tmp_path / "net.h5").write_bytes(b"weights")
    (tmp_path / "labels.txt").write_text("ant\nbee\nfly\n")
    given = {"labels": tmp_path / "labels.txt"}
    weights = find_weights(str(tmp_path / "net.h5"), NAME, ARGUMENTS, **given)
    assert load_weights(weights, NAME, ARGUMENTS, seed=0)[1].labels == ("ant", "bee", "fly")
    too_few = replace(weights, labels=("ant",))
    sentence = failure(load_weights, too_few, NAME, ARGUMENTS, seed=0)
    assert sentence == "net.h5 has 3 classes, but the labels given name 1; each class needs one"


# Classes


def test_same_classes_in_another_order_keep_their_weights(folder):
    model, spec = load_model(folder)
    result, new = replace_classes(model, spec, ("owl", "cat", "dog"))
    expected = model(images(32)).numpy()[:, [2, 0, 1]]
    np.testing.assert_array_equal(result(images(32)), expected)
    assert new.labels == ("owl", "cat", "dog")


def test_other_classes_get_a_new_classifier_by_the_seed(folder, capsys):
    model, spec = load_model(folder)
    labels = tuple("abcde")
    (first, new), (second, _) = (replace_classes(model, spec, labels) for _ in range(2))
    message = "the classifier for 3 classes is replaced by a new one for 5\n"
    assert capsys.readouterr().err == 2 * message
    assert (new.arguments["classes"], new.labels) == (5, labels)
    tensors, again = named_weights(first), named_weights(second)
    for name, weight in named_weights(model).items():
        np.testing.assert_array_equal(tensors[name], again[name])
        if not name.startswith("conv10_conv/"):
            np.testing.assert_array_equal(tensors[name], weight)


def test_as_many_other_classes_get_a_new_classifier_too(folder):
    model, spec = load_model(folder)
    result, _ = replace_classes(model, spec, ("cat", "dog", "cow"))
    kernel = "conv10_conv/kernel"
    assert not np.array_equal(named_weights(result)[kernel], named_weights(model)[kernel])


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("squeezenet", SMALL),
        ("mobilenet_v1", {"width": 0.25, "resolution": 32}),
    ],
)
def test_classifier_is_the_layer_that_has_the_classes(name: str, arguments: dict):
    layer = classifier(create(name, classes=7, **arguments))
    assert [weight.shape[-1] for weight in layer.weights] == [7, 7]
