"""Which reader reads a file shows in its bytes; what cannot be read gets one sentence."""

from __future__ import annotations

import doctest
import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from edgenets.data.images import Preparation
from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras
from edgenets.models.registry import create
from edgenets.models.weights import convolutions
from edgenets.models.weights.keras_h5 import read_keras_h5
from edgenets.models.weights.labels import imagenet_labels
from edgenets.models.weights.reading import read_weights

SMALL = {"width": 0.25, "resolution": 32}
KINDS = {"Conv2D": "conv2d", "DepthwiseConv2D": "depthwise_conv2d", "Dense": "dense"}
KERAS_1 = {"Conv2D": "convolution2d", "BatchNormalization": "batchnormalization"}
Name = Callable[[keras.layers.Layer, int], str]


def write_h5(path: Path, model: keras.Model, name: Name = lambda layer, _: layer.name) -> Path:
    """Write the weights of `model` as Keras lays them out, its layers named `name(layer, i)`."""
    with h5py.File(path, "w") as file:
        layers = [layer for layer in model.layers if layer.weights]
        names = [name(layer, i) for i, layer in enumerate(layers)]
        file.attrs["layer_names"] = [text.encode() for text in names]
        for layer, text in zip(layers, names, strict=True):
            group = file.create_group(text)
            group.attrs["weight_names"] = [f"{i}:0".encode() for i in range(len(layer.weights))]
            for i, weight in enumerate(layer.get_weights()):
                group[f"{i}:0"] = weight
    return path


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(3)
    net = create("mobilenet_v1", classes=5, **SMALL)
    random = np.random.default_rng(0)
    net.set_weights([random.uniform(0.1, 1, w.shape).astype(np.float32) for w in net.get_weights()])
    return net


@pytest.fixture(scope="module")
def h5_file(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_h5(tmp_path_factory.mktemp("h5") / "net.h5", model)


def numbered(kinds: dict[str, str], first: int) -> Name:
    """Number the layers of each kind on from another number."""
    return lambda layer, i: f"{kinds.get(type(layer).__name__, type(layer).__name__)}_{i + first}"


@pytest.mark.parametrize(
    "name",
    [
        lambda layer, _: layer.name,
        lambda layer, i: f"my/layer{100 - i}",
        numbered({**KINDS, "BatchNormalization": "batch_normalization"}, 95),
        numbered({**KINDS, **KERAS_1}, 1),
    ],
    ids=["named", "any names", "numbered from 95", "Keras 1"],
)
def test_the_layers_may_have_any_names(model: keras.Model, name: Name, tmp_path: Path):
    imported = read_weights(write_h5(tmp_path / "x", model, name), "mobilenet_v1", SMALL)
    assert imported.spec.arguments["classes"] == 5
    assert imported.spec.labels == ("0", "1", "2", "3", "4")
    assert imported.spec.preparation == Preparation.default("mobilenet_v1", 32)
    for read, written in zip(imported.net.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(read, written)


def test_the_width_of_mobilenet_v1_is_the_file_s(h5_file: Path):
    assert read_weights(h5_file, "mobilenet_v1", {"resolution": 32}).spec.arguments["width"] == 0.25


def test_a_thousand_classes_are_imagenet_s(tmp_path: Path):
    file = write_h5(tmp_path / "x.h5", create("mobilenet_v1", **SMALL))
    assert read_weights(file, "mobilenet_v1", SMALL).spec.labels == imagenet_labels()


def test_a_bias_before_batch_norm_and_another_epsilon_are_taken_over(
    model: keras.Model, h5_file: Path, tmp_path: Path
):
    file = tmp_path / "changed.h5"
    file.write_bytes(h5_file.read_bytes())
    stem = model.get_layer("stem_bn")
    config = json.loads(model.to_json())
    (of_stem,) = (x for x in config["config"]["layers"] if x["config"]["name"] == "stem_bn")
    of_stem["config"]["epsilon"] = 1e-5
    with h5py.File(file, "r+") as content:
        content.attrs["model_config"] = json.dumps(config)
        content["stem_conv"]["1:0"] = np.full(8, 0.5, np.float32)
        content["stem_conv"].attrs["weight_names"] = ["0:0", "1:0"]
    imported = read_weights(file, "mobilenet_v1", SMALL).net
    image = np.random.default_rng(1).uniform(-1, 1, (1, 32, 32, 3)).astype(np.float32)
    convolved = keras.Model(model.input, model.get_layer("stem_conv").output)(image) + 0.5
    gamma, beta, mean, variance = stem.get_weights()
    expected = (convolved - mean) / np.sqrt(variance + 1e-5) * gamma + beta
    normalised = keras.Model(imported.input, imported.get_layer("stem_bn").output)(image)
    np.testing.assert_allclose(normalised, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("nets_built_once")
@pytest.mark.parametrize(
    "name, arguments, message",
    [
        ("mobilenet_v1", {"width": 0.5}, r"stem_conv of .* has the kernel \[3, 3, 3, 8\], where"),
        ("mobilenet_v1", {"wdith": 0.5}, "did you mean width?"),
        ("mobilenet_v1", {"pad_value": 0.5}, "leave pad_value out"),
        (
            "mobilenet_v3_small",
            {"resolution": 32},
            r"was the file made for another net, or with other .* \(width, m",
        ),
        ("mobilnet", {}, "unknown model 'mobilnet'"),
    ],
)
def test_what_does_not_fit_the_file_is_said(
    h5_file: Path, name: str, arguments: dict, message: str
):
    with pytest.raises(EdgenetsError, match=message):
        read_weights(h5_file, name, arguments)


@pytest.mark.usefixtures("nets_built_once")
def test_a_batch_norm_without_beta_is_not_taken_for_one_without_gamma(tmp_path: Path):
    image = keras.Input((32, 32, 3))
    maps = keras.layers.BatchNormalization(center=False)(keras.layers.Conv2D(8, 3)(image))
    keras.Model(image, maps).save(tmp_path / "net.h5")
    with pytest.raises(EdgenetsError, match=r"BatchNorm without beta \(center=False\)"):
        read_keras_h5(tmp_path / "net.h5", "mobilenet_v1", {}, None)


def test_a_file_without_classifier_says_which_layer_is_missing(model: keras.Model, tmp_path: Path):
    headless = keras.Model(model.input, model.get_layer("pool").output)
    with pytest.raises(EdgenetsError, match=r"ends before logits .* \(include_top=False\)"):
        read_weights(write_h5(tmp_path / "x.h5", headless), "mobilenet_v1", SMALL)


@pytest.mark.usefixtures("nets_built_once")
def test_layers_that_the_net_has_not_are_named(model: keras.Model, tmp_path: Path):
    more = keras.layers.Dense(5, name="more")(model.output)
    file = write_h5(tmp_path / "x.h5", keras.Model(model.input, more))
    with pytest.raises(EdgenetsError, match="has more, which mobilenet_v1 has not"):
        read_weights(file, "mobilenet_v1", SMALL)


def change(file: h5py.File, what: str) -> None:
    stem = file["stem_conv"]
    kernel = stem["0:0"][()]
    if what == "a NaN":
        stem["0:0"][0, 0, 0, 0] = np.nan
        return
    del stem["0:0"]
    if what == "a huge shape":
        stem.create_dataset("0:0", (3, 3, 3, 1 << 40), "f4", chunks=(3, 3, 3, 1024))
    elif what == "another rank":
        stem["0:0"] = kernel[..., None]
    elif what == "text":
        stem["0:0"] = "text"
    elif what == "another file":
        stem["0:0"] = h5py.ExternalLink("other.h5", "/x")


@pytest.mark.usefixtures("nets_built_once")
@pytest.mark.parametrize(
    "what, message",
    [
        ("a NaN", "stem_conv of .* holds a NaN"),
        ("no tensor", "damaged, cut short or not written by Keras 2"),
        ("a huge shape", "damaged.* claims more than 1073741824 bytes"),
        ("another rank", r"holds tensors of the shapes \[3, 3, 3, 8, 1\]"),
        ("text", "damaged"),
        ("another file", "damaged.* points into other files"),
    ],
)
def test_a_changed_file_is_refused(h5_file: Path, what: str, message: str, tmp_path: Path):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = np.zeros((3, 3, 3, 8), np.float32)
    file = tmp_path / "changed.h5"
    file.write_bytes(h5_file.read_bytes())
    with h5py.File(file, "r+") as content:
        change(content, what)
    with pytest.raises(EdgenetsError, match=message):
        read_weights(file, "mobilenet_v1", SMALL)


@pytest.mark.usefixtures("nets_built_once")
@pytest.mark.parametrize("share", [0.001, 0.01, 0.5, 0.999])
def test_a_cut_file_is_refused(h5_file: Path, share: float, tmp_path: Path):
    content = h5_file.read_bytes()
    cut = tmp_path / "cut.h5"
    cut.write_bytes(content[: int(share * len(content))])
    with pytest.raises(EdgenetsError, match="damaged, cut short"):
        read_weights(cut, "mobilenet_v1", SMALL)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\3\4" + bytes(100)])
def test_a_file_of_another_kind_is_refused(content: bytes, tmp_path: Path):
    (tmp_path / "x.h5").write_bytes(content)
    with pytest.raises(EdgenetsError, match="holds no weights that edgenets reads; pass a Keras 2"):
        read_weights(tmp_path / "x.h5", "mobilenet_v1", {})


def test_a_missing_file_is_said(tmp_path: Path):
    with pytest.raises(EdgenetsError, match=r"cannot read .*x\.h5: No such file"):
        read_weights(tmp_path / "x.h5", "mobilenet_v1", {})


@pytest.mark.parametrize("input_range", [(1.0, 0.0), (0.0, float("nan")), (0.0, 0.0)])
def test_an_input_range_is_two_numbers_in_order(h5_file: Path, input_range: tuple):
    with pytest.raises(EdgenetsError, match="the lower one first"):
        read_weights(h5_file, "mobilenet_v1", SMALL, input_range=input_range)


@pytest.mark.slow
def test_a_net_that_pads_with_another_zero_is_refused(tmp_path: Path):
    small = {"width": 0.35, "resolution": 32}
    file = write_h5(tmp_path / "x.h5", create("mobilenet_v2", classes=2, **small))
    with pytest.raises(EdgenetsError, match=r"mobilenet_v2 pads with 0, .* these weights need -1"):
        read_weights(file, "mobilenet_v2", small, input_range=(0.0, 1.0))


@pytest.mark.usefixtures("nets_built_once")
def test_kernels_are_compared_before_the_padding(h5_file: Path):
    """A MobileNet V1 that takes 0 to 1 is no MobileNet V2, whatever that pads with."""
    with pytest.raises(EdgenetsError, match=r"has the kernel .*; was the file made for another"):
        read_weights(h5_file, "mobilenet_v2", {"resolution": 32}, input_range=(0.0, 1.0))


@pytest.mark.parametrize("name", ["alexnet", "vgg16"])
def test_weights_of_the_baselines_are_not_read(h5_file: Path, name: str):
    with pytest.raises(EdgenetsError, match=f"weights of {name}, a baseline for sizes"):
        read_weights(h5_file, name, {})


def test_an_input_range_is_exact_where_the_first_convolution_does_not_pad(tmp_path: Path):
    net = create("squeezenet", resolution=64, classes=2)
    file = write_h5(tmp_path / "x.h5", net)
    imported = read_weights(file, "squeezenet", {"resolution": 64}, input_range=(0.0, 255.0))
    image = np.random.default_rng(0).uniform(-1, 1, (2, 64, 64, 3)).astype(np.float32)
    expected = net(image * 127.5 + 127.5)
    np.testing.assert_allclose(imported.net(image), expected, rtol=1e-3, atol=1e-4)


def test_docstring_examples_are_right():
    assert doctest.testmod(convolutions).failed == 0
