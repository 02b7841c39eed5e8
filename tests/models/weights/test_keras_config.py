"""A whole Keras model is imported only if the net computes what the model did."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras
from edgenets.models.folder import Model
from edgenets.models.registry import create
from edgenets.models.weights.keras_config import Place, _resolution, read_computation
from edgenets.models.weights.reading import read_weights

V1 = {"width": 0.25, "resolution": 32, "classes": 3}
SCALED = {"scale": 2.0, "offset": 0.0}
LEAKY = {"class_name": "LeakyReLU", "config": {"alpha": 0.3}}
Config = dict[str, Any]


def save(path: Path, model: keras.Model) -> Path:
    with pytest.warns(UserWarning, match="HDF5"):
        model.save(path)
    return path


@pytest.fixture(scope="module")
def net() -> keras.Model:
    keras.utils.set_random_seed(3)
    return create("mobilenet_v1", **V1)


@pytest.fixture(scope="module")
def file(net: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("whole") / "net.h5", net)


def images(low: float, high: float) -> np.ndarray:
    x = np.random.default_rng(0).uniform(low, high, (2, 32, 32, 3))
    return x.astype(np.float32)


# The image


@pytest.mark.parametrize(
    "rescaling, given, takes, pad_value",
    [
        ((1 / 255, 0.0), None, (0, 255), -1.0),
        ((1 / 127.5, -1.0), None, (0, 255), 0.0),
        ((2.0, -1.0), (0, 1), (0, 1), 0.0),
    ],
)
def test_rescaling_tells_the_input_range(
    rescaling: tuple, given: tuple | None, takes: tuple, pad_value: float, tmp_path: Path
):
    image = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(*rescaling)(keras.layers.RandomFlip()(image))
    build = keras.applications.MobileNet
    original = build(
        input_tensor=x, alpha=0.25, weights=None, classes=3, classifier_activation=None
    )
    file = save(tmp_path / "x.h5", original)
    imported = read_weights(file, "mobilenet_v1", {}, input_range=given)
    assert imported.spec.arguments["pad_value"] == pytest.approx(pad_value, abs=1e-12)
    black, white = takes
    expected = original(images(-1, 1) * (white - black) / 2 + (white + black) / 2)
    assert np.ptp(expected, axis=0).all()
    np.testing.assert_allclose(imported.net(images(-1, 1)), expected, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_rescaling_that_a_net_cannot_pad_is_refused(tmp_path: Path):
    x = keras.layers.Rescaling(1 / 255)(keras.Input((32, 32, 3)))
    build = keras.applications.MobileNetV2
    file = save(tmp_path / "x.h5", build(input_tensor=x, alpha=0.35, weights=None, classes=3))
    with pytest.raises(EdgenetsError, match=r"mobilenet_v2 pads with 0, .* these weights need -1"):
        read_weights(file, "mobilenet_v2", {"width": 0.35})


# The layers


def change(file: Path, layer: str, edit: Callable[[Config], object], path: Path) -> Path:
    """Copy `file`, the config of one layer edited."""
    path.write_bytes(file.read_bytes())
    with h5py.File(path, "r+") as content:
        config = json.loads(content.attrs["model_config"])
        (chosen,) = (x for x in config["config"]["layers"] if x["config"]["name"] == layer)
        edit(chosen)
        content.attrs["model_config"] = json.dumps(config)
    return path


OTHERS = [
    ("stem_relu", lambda x: x.update(class_name="LeakyReLU"), "LeakyReLU"),
    ("stem_relu", lambda x: x.update(class_name="Lambda"), "Lambda"),
    ("stem_relu", lambda x: x.update(class_name="Rescaling", config={**x["config"], **SCALED}), ""),
    ("stem_relu", lambda x: x["config"].update(max_value=1.0), r"ReLU\(max_value=1.0\)"),
    ("stem_relu", lambda x: x["config"].update(negative_slope=0.1), r"relu6\(negative_slope=0.1\)"),
    ("stem_conv", lambda x: x["config"].update(activation="elu"), "elu"),
    ("stem_conv", lambda x: x["config"].update(activation=LEAKY), "LeakyReLU"),
    ("logits", lambda x: x["config"].update(activation="sigmoid"), "sigmoid"),
    ("pool", lambda x: x.update(class_name="GlobalMaxPooling2D"), "GlobalMaxPooling2D"),
    (
        "dropout",
        lambda x: x.update(
            class_name="TFOpLambda", config={"name": "dropout", "function": "math.subtract"}
        ),
        "tf.math.subtract",
    ),
]


@pytest.mark.usefixtures("nets_built_once")
@pytest.mark.parametrize("layer, edit, operation", OTHERS)
def test_another_operation_is_named(
    file: Path, layer: str, edit: Callable, operation: str, tmp_path: Path
):
    changed = change(file, layer, edit, tmp_path / "x.h5")
    with pytest.raises(EdgenetsError, match=f"x.h5 computes {operation}.*, which mobilenet_v1"):
        read_weights(changed, "mobilenet_v1", {})


@pytest.mark.slow
def test_operation_that_the_file_lacks_is_named(tmp_path: Path):
    small = {"width": 0.35, "resolution": 32, "classes": 3}
    file = save(tmp_path / "net.h5", create("mobilenet_v2", **small))
    with h5py.File(file, "r+") as content:
        config = content.attrs["model_config"].replace('"Add"', '"Dropout"')
        content.attrs["model_config"] = config
    with pytest.raises(EdgenetsError, match=r"mobilenet_v2 computes Add, which .*net\.h5 does not"):
        read_weights(file, "mobilenet_v2", {"width": 0.35})


@pytest.mark.usefixtures("nets_built_once")
@pytest.mark.parametrize(
    "edit",
    [
        lambda x: x["config"].update(strides=[2, 2]),
        lambda x: x["config"].update(padding="valid"),
    ],
    ids=["strides", "padding"],
)
def test_convolutions_that_lie_otherwise_are_refused(file: Path, edit: Callable, tmp_path: Path):
    changed = change(file, "block1_depthwise_conv", edit, tmp_path / "x.h5")
    with pytest.raises(EdgenetsError, match="that mobilenet_v1 has at no output_stride"):
        read_weights(changed, "mobilenet_v1", {})


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, arguments",
    [("mobilenet_v1", V1), ("squeezenet", {"resolution": 64, "classes": 3, "version": "1.1"})],
    ids=["convolutions", "pools"],
)
def test_strides_tell_the_output_stride(name: str, arguments: dict, tmp_path: Path):
    net = create(name, **arguments, output_stride=8)
    file = save(tmp_path / "net.h5", net)
    own = {key: value for key, value in arguments.items() if key == "version"}

    def read(**given: int) -> Model:
        return read_weights(file, name, {**own, **given})

    told = read()
    assert told.spec.arguments["output_stride"] == 8
    x = np.random.default_rng(0).uniform(-1, 1, (2, *net.input_shape[1:])).astype(np.float32)
    np.testing.assert_allclose(told.net(x), net(x), rtol=0, atol=1e-6)
    other = read(output_stride=16)
    assert other.spec.arguments["output_stride"] == 16
    for ours, theirs in zip(other.net.get_weights(), net.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-7)


def test_sequential_model_is_read_too(net: keras.Model, tmp_path: Path):
    chain = keras.Sequential([keras.layers.Rescaling(1 / 127.5, -1), *net.layers[1:]])
    chain.build((None, 32, 32, 3))
    imported = read_weights(save(tmp_path / "x.h5", chain), "mobilenet_v1", {})
    expected = chain(images(-1, 1) * 127.5 + 127.5)
    np.testing.assert_allclose(imported.net(images(-1, 1)), expected, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("nets_built_once")
def test_damaged_config_is_a_sentence(file: Path, tmp_path: Path):
    changed = change(file, "stem_relu", lambda x: x.pop("class_name"), tmp_path / "x.h5")
    with pytest.raises(EdgenetsError, match="damaged, cut short or not written by Keras 2"):
        read_weights(changed, "mobilenet_v1", {})


@pytest.mark.parametrize("key", ["batch_input_shape", "batch_shape"])  # of Keras 2, and of 3
def test_resolution_is_that_of_the_input(key: str):
    layers = [{"config": {key: [None, 96, 96, 3]}}, {"config": {}}]
    assert _resolution({"layers": layers}) == 96


def test_place_counts_the_strides_of_pools_and_the_padding_before():
    layers = [
        ("InputLayer", {}),
        ("ZeroPadding2D", {"padding": [[0, 1], [0, 1]]}),
        ("Conv2D", {"kernel_size": [3, 3], "strides": [2, 2], "padding": "valid"}),
        ("MaxPooling2D", {"pool_size": [2, 2], "strides": None, "padding": "valid"}),
        ("Conv2D", {"kernel_size": [5, 5], "strides": 1, "dilation_rate": 2, "padding": "valid"}),
        ("Conv2D", {"kernel_size": [1, 1], "strides": [1, 1], "padding": "valid"}),
    ]
    config = {
        "layers": [
            {"class_name": kind, "config": {"name": str(i), "dilation_rate": 1, **settings}}
            for i, (kind, settings) in enumerate(layers)
        ]
    }
    computation = read_computation(config)
    assert computation.places == {"2": Place(2, True, 1), "4": Place(4, False, 2)}
    assert computation.operations == {"MaxPooling2D"}
