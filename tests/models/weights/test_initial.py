"""Weights are found by name or place, fit the net that is asked for, and take over the classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from edgenets.data.images import Preparation
from edgenets.errors import EdgenetsError
from edgenets.files import sha256_bytes, sha256_file, write_bytes, write_json
from edgenets.models.backend import keras
from edgenets.models.fold import fold_batch_norm
from edgenets.models.folder import Model, Spec, named_weights
from edgenets.models.registry import complete_arguments, create
from edgenets.models.weights import sources
from edgenets.models.weights.initial import classifier, load_weights, replace_classes
from edgenets.models.weights.sources import Published, imagenet_weights

NAME, LABELS = "squeezenet", ("cat", "dog", "owl")
SMALL = {"base_expand": 16, "expand_increment": 8, "resolution": 32, "output_stride": 8}
KERAS_NET = {"width": 0.25, "resolution": 32}
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
    Model(create(NAME, **arguments), spec).save(path)
    return path


@pytest.fixture(scope="module")
def folded_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of three classes without BatchNorm, as the stage `qat` writes it."""
    keras.utils.set_random_seed(7)
    arguments = complete_arguments("mobilenet_v1", {**KERAS_NET, "output_stride": 8, "classes": 3})
    spec = Spec("mobilenet_v1", arguments, LABELS, Preparation(32, 36), seed=0, folded=True)
    model = fold_batch_norm(create("mobilenet_v1", **arguments))
    for weight in model.weights:
        if "bias" in weight.name:
            weight.assign(np.linspace(-1, 1, weight.shape[0]))
    path = tmp_path_factory.mktemp("compressed") / "qat"
    Model(model, spec).save(path)
    return path


@pytest.fixture
def pretrained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sources, "PRETRAINED", folder.parent)
    return folder


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of MobileNet V1 for three classes, as Keras saves them."""
    path = tmp_path_factory.mktemp("keras") / "net.h5"
    shape = (32, 32, 3)
    keras.applications.MobileNet(shape, 0.25, classes=3, weights=None).save_weights(path)
    return path


def failure(weights: str, name: str, given: dict, **options: object) -> str:
    with pytest.raises(EdgenetsError) as raised:
        load_weights(weights, name, given, seed=0, **options)
    sentence = str(raised.value)
    assert "\n" not in sentence and not sentence.endswith(".")
    return sentence


# Folders


def test_cifar10_weights_are_a_folder_of_the_package(pretrained):
    loaded = load_weights("cifar10", NAME, {}, seed=5)
    model, spec = loaded.net, loaded.spec
    loaded = Model.load(pretrained)
    stored, stored_spec = loaded.net, loaded.spec
    np.testing.assert_array_equal(model(images(32)), stored(images(32)))
    assert (spec.labels, spec.arguments) == (LABELS, stored_spec.arguments)
    assert (spec.preparation, spec.seed) == (Preparation(32, 36), 5)
    assert spec.is_trained and spec.initial_weights == {
        "source": "cifar10_squeezenet",
        "sha256": sha256_file(pretrained / "weights.safetensors"),
    }


def test_net_without_cifar10_weights_is_told_which_have_some(pretrained):
    sentence = failure("cifar10", "xception", {})
    assert sentence == "there are no cifar10 weights of xception; there are some of squeezenet"


def test_folder_of_other_arguments_is_refused(pretrained):
    sentence = failure("cifar10", NAME, {"bypass": "simple"})
    assert "squeezenet with bypass=none, got bypass=simple; leave bypass out" in sentence


def test_folder_of_another_net_is_refused(folder):
    sentence = failure(str(folder), "xception", {})
    assert sentence.endswith("are of squeezenet, got xception; name that net")


def test_weights_serve_another_resolution_and_output_stride(folder):
    larger = {"resolution": 64, "output_stride": 16}
    loaded = load_weights(str(folder), NAME, larger, seed=0)
    model, spec = loaded.net, loaded.spec
    stored = Model.load(folder).net
    for name, weight in named_weights(stored).items():
        np.testing.assert_array_equal(named_weights(model)[name], weight)
    assert model(images(64)).shape == (2, 3)
    assert spec.arguments == {**ARGUMENTS, **larger, "classes": 3}
    assert spec.preparation == Preparation.default(NAME, 64)


def test_float16_weights_are_loaded(folder, tmp_path):
    loaded = Model.load(folder)
    stored, spec = loaded.net, loaded.spec
    tensors = {name: weight.astype(np.float16) for name, weight in named_weights(stored).items()}
    content = safetensors.numpy.save(tensors)
    write_bytes(tmp_path / "half" / "weights.safetensors", content)
    write_json(
        tmp_path / "half" / "spec.json",
        {**spec.to_json(), "weights_sha256": sha256_bytes(content)},
    )
    model = load_weights(str(tmp_path / "half"), NAME, {}, seed=0).net
    for name, weight in named_weights(model).items():
        np.testing.assert_array_equal(weight, tensors[name].astype(np.float32))


@pytest.mark.slow
@pytest.mark.parametrize("given", [{}, {"resolution": 64, "output_stride": 16}], ids=str)
def test_folded_folder_stays_folded(folded_folder, tmp_path, given: dict):
    loaded = load_weights(str(folded_folder), "mobilenet_v1", given, seed=0)
    model, spec = loaded.net, loaded.spec
    Model(model, spec).save(tmp_path / "m")
    loaded = Model.load(tmp_path / "m")
    result, new = loaded.net, loaded.spec
    assert new.folded and new.arguments["output_stride"] == given.get("output_stride", 8)
    stored = Model.load(folded_folder).net
    for name, weight in named_weights(stored).items():
        np.testing.assert_array_equal(named_weights(result)[name], weight)
    if not given:
        np.testing.assert_array_equal(result(images(32)), stored(images(32)))


# Files


def test_imagenet_weights_come_from_the_cache(server, file, monkeypatch, tmp_path):
    server.content = file.read_bytes()
    published = Published("mobilenet_v1", {"width": 0.25}, 32, server.url())
    monkeypatch.setattr(sources, "imagenet_weights", lambda name, arguments: published)
    monkeypatch.setenv("EDGENETS_CACHE", str(tmp_path))
    first, second = (load_weights("imagenet", "mobilenet_v1", KERAS_NET, seed=0) for _ in range(2))
    assert first.spec.initial_weights == {"source": server.url(), "sha256": sha256_file(file)}
    np.testing.assert_array_equal(first.net(images(32)), second.net(images(32)))
    assert server.asked == [None]


@pytest.mark.slow
def test_squeezenet_s_published_file_is_pinned_and_read(server, shared_data, monkeypatch, tmp_path):
    server.content = (shared_data / "squeezenet_deep_compression.net").read_bytes()
    arguments = complete_arguments("squeezenet", {})
    published = imagenet_weights("squeezenet", arguments)._replace(url=server.url("a.net"))
    monkeypatch.setattr(sources, "imagenet_weights", lambda name, arguments: published)
    monkeypatch.setenv("EDGENETS_CACHE", str(tmp_path))
    spec = load_weights("imagenet", "squeezenet", {}, seed=0).spec
    assert (spec.arguments, spec.preparation) == (arguments, Preparation(227, 256))
    assert (spec.labels[0], len(spec.labels)) == ("n01440764", 1000)
    assert spec.initial_weights["sha256"] == published.sha256


def test_place_without_a_file_gets_a_sentence(tmp_path):
    sentence = failure(str(tmp_path / "imagnet"), NAME, {})
    assert "must be imagenet, cifar10, a file or a model folder" in sentence
    assert sentence.endswith("did you mean imagenet?")


def test_input_range_is_for_files(folder):
    for weights in ("imagenet", str(folder)):
        sentence = failure(weights, NAME, {}, input_range=(0, 1))
        assert sentence == f"the input range of {weights} weights is known; leave the range out"


def test_file_is_read_with_its_range_and_its_classes_are_numbered(file, capsys):
    spec = load_weights(str(file), "mobilenet_v1", KERAS_NET, seed=0, input_range=(0, 1)).spec
    assert spec.arguments["pad_value"] == -1.0
    assert (spec.labels, spec.preparation) == (("0", "1", "2"), Preparation(32, 32))
    assert spec.initial_weights == {
        "source": "net.h5",
        "sha256": sha256_file(file),
        "input_range": [0, 1],
    }
    assert "net.h5 does not name its classes: they are 0 to 2" in capsys.readouterr().err


def test_given_labels_name_the_classes(file, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("ant\nbee\nfly\n")
    spec = load_weights(str(file), "mobilenet_v1", KERAS_NET, seed=0, labels=labels).spec
    assert spec.labels == ("ant", "bee", "fly")
    labels.write_text("ant\n")
    sentence = failure(str(file), "mobilenet_v1", KERAS_NET, labels=labels)
    assert sentence == "net.h5 has 3 classes, but the labels given name 1; each class needs one"


@pytest.mark.parametrize(
    "content, message",
    [
        (b"cat\ndog\ncat\n", "line 3 repeats the label 'cat'"),
        (b"cat\n\ndog\n", "line 2 is empty"),
        (b"\xff\xfe", "must be text in UTF-8"),
    ],
)
def test_bad_file_of_labels_names_the_line(tmp_path, content: bytes, message: str):
    (tmp_path / "labels.txt").write_bytes(content)
    assert message in failure("imagenet", NAME, {}, labels=tmp_path / "labels.txt")


# Classes


def test_same_classes_in_another_order_keep_their_weights(folder):
    loaded = Model.load(folder)
    model, spec = loaded.net, loaded.spec
    replaced = replace_classes(Model(model, spec), ("owl", "cat", "dog"))
    result, new = replaced.net, replaced.spec
    expected = model(images(32)).numpy()[:, [2, 0, 1]]
    np.testing.assert_array_equal(result(images(32)), expected)
    assert new.labels == ("owl", "cat", "dog")


def test_other_classes_get_a_new_classifier_by_the_seed(folder, capsys):
    loaded = Model.load(folder)
    model, spec = loaded.net, loaded.spec
    labels = tuple("abcde")
    first, second = (replace_classes(Model(model, spec), labels) for _ in range(2))
    message = (
        "the classes differ, so the classifier for 3 classes (cat, dog, owl) is replaced by a new "
        "one for 5 classes (a, b, c, ...)\n"
    )
    assert capsys.readouterr().err == 2 * message
    assert (first.spec.arguments["classes"], first.spec.labels) == (5, labels)
    tensors, again = named_weights(first.net), named_weights(second.net)
    for name, weight in named_weights(model).items():
        np.testing.assert_array_equal(tensors[name], again[name])
        if not name.startswith("conv10_conv/"):
            np.testing.assert_array_equal(tensors[name], weight)


def test_as_many_other_classes_get_a_new_classifier_too(folder):
    loaded = Model.load(folder)
    model, spec = loaded.net, loaded.spec
    result = replace_classes(Model(model, spec), ("cat", "dog", "cow")).net
    kernel = "conv10_conv/kernel"
    assert not np.array_equal(named_weights(result)[kernel], named_weights(model)[kernel])


@pytest.mark.slow
@pytest.mark.parametrize("labels", [("owl", "cat", "dog"), tuple("abcde")], ids=str)
def test_folded_net_takes_over_classes_too(folded_folder, tmp_path, labels: tuple[str, ...]):
    loaded = Model.load(folded_folder)
    stored, spec = loaded.net, loaded.spec
    replace_classes(Model(stored, spec), labels).save(tmp_path / "m")
    loaded = Model.load(tmp_path / "m")
    result, new = loaded.net, loaded.spec
    assert (new.folded, new.labels) == (True, labels)
    before, after = (
        keras.Model(model.input, model.get_layer("pool").output)(images(32))
        for model in (stored, result)
    )
    np.testing.assert_array_equal(after, before)
    if len(labels) == 3:
        np.testing.assert_array_equal(result(images(32)), stored(images(32)).numpy()[:, [2, 0, 1]])


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
