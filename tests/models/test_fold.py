from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras
from edgenets.models.fold import fold, fold_batch_norm, is_folded
from edgenets.models.graph import find_readers
from edgenets.models.grouped import GroupedPointwise, with_native_groups
from edgenets.models.registry import create

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.uniform(-1, 1, (4, 32, 32, 3))

# Every trainable net, at a tiny size, in each form in which BatchNorm and ReLU stand differently.
NETS = (
    ("mobilenet_v1", {"width": 0.25}),
    ("mobilenet_v2", {"width": 0.35}),
    ("mobilenet_v3_large", {"width": 0.35}),
    ("mobilenet_v3_small", {"width": 0.35}),
    ("mobilenet_v3_small", {"width": 0.35, "minimalistic": True}),
    ("inception_v1", {"factorized": True}),
    ("inception_v1", {"batch_norm": False}),
    ("inception_v3", {"width": 0.125}),
    ("xception", {"width": 0.125}),
    ("squeezenet", {"bypass": "complex"}),
    ("shufflenet_v1", {"groups": 1, "scale": 0.25}),
    ("shufflenet_v1", {"groups": 3, "scale": 0.25}),
    ("shufflenet_v2", {"scale": 0.5}),
)


@pytest.fixture
def float64() -> Iterator[None]:
    """Let Keras build float64 layers: what differs then is the arithmetic, not its rounding."""
    keras.mixed_precision.set_global_policy("float64")
    keras.backend.set_floatx("float64")
    yield
    keras.backend.set_floatx("float32")
    keras.mixed_precision.set_global_policy("float32")


def randomize_batch_norm(model: keras.Model) -> keras.Model:
    """Set what BatchNorm learns and has seen to values that no layer could leave out unseen."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.moving_mean.shape
            if layer.scale:
                layer.gamma.assign(RANDOM.uniform(0.5, 1.5, shape))
            layer.beta.assign(RANDOM.normal(0, 0.3, shape))
            layer.moving_mean.assign(RANDOM.normal(0, 0.1, shape))
            layer.moving_variance.assign(RANDOM.uniform(0.5, 1.5, shape))
    return model


def test_folded_kernel_and_bias_compute_what_batch_norm_does():
    x = RANDOM.normal(size=(7, 5))
    kernel, bias = RANDOM.normal(size=(5, 3)), RANDOM.normal(size=3)
    gamma, beta, mean = RANDOM.normal(size=(3, 3))
    variance, epsilon = RANDOM.uniform(0.1, 2, 3), 1e-3
    expected = gamma * (x @ kernel + bias - mean) / np.sqrt(variance + epsilon) + beta
    kernel, bias = fold(kernel, bias, gamma, beta, mean, variance, epsilon)
    np.testing.assert_allclose(x @ kernel + bias, expected, rtol=1e-12)


def test_folding_keeps_float32():
    one = np.ones(2, np.float32)
    kernel, bias = fold(np.ones((1, 1, 3, 2), np.float32), one, one, one, one, one, 1e-3)
    assert kernel.dtype == bias.dtype == np.float32


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name, arguments", NETS, ids=str)
def test_folded_net_gives_equal_logits(name: str, arguments: dict):
    keras.utils.set_random_seed(3)
    model = create(name, resolution=32, classes=3, output_stride=8, **arguments)
    randomize_batch_norm(model)
    folded = fold_batch_norm(model)
    assert not is_folded(model)
    assert is_folded(folded)
    kinds = {type(layer) for layer in folded.layers}
    assert keras.layers.BatchNormalization not in kinds
    readers = find_readers(folded)
    assert not any(
        isinstance(reader, keras.layers.ReLU) and len(readers[layer.name]) == 1
        for layer in folded.layers
        if hasattr(layer, "kernel_initializer") or hasattr(layer, "depthwise_initializer")
        for reader in readers[layer.name]
    )
    logits = model(IMAGES).numpy()
    assert np.ptp(logits) > 0
    # float64 rounds to 1e-16, a BatchNorm computed without its epsilon would be 5e-4 off.
    np.testing.assert_allclose(folded(IMAGES), logits, rtol=0, atol=1e-11 * np.abs(logits).max())


def small_net() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    image = keras.Input((8, 8, 4), name="image")
    x = layers.Conv2D(6, 3, use_bias=False, name="first")(image)
    x = layers.BatchNormalization(name="first_bn")(x)
    left = layers.ReLU(6.0, name="first_relu")(x)
    right = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="depthwise")(left)
    right = layers.BatchNormalization(scale=False, name="depthwise_bn")(right)
    right = GroupedPointwise(6, 1, groups=2, use_bias=False, name="grouped")(right)
    right = layers.BatchNormalization(center=False, name="grouped_bn")(right)
    x = layers.Add(name="add")([left, right])
    x = layers.ReLU(name="add_relu")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(layers.Dropout(0.5, name="dropout")(x))
    x = layers.Dense(5, name="hidden")(x)
    x = layers.BatchNormalization(name="hidden_bn")(x)
    x = layers.ReLU(4.0, name="hidden_relu4")(x)
    model = keras.Model(image, layers.Dense(2, name="logits")(x), name="small")
    for weight in model.weights:
        weight.assign(RANDOM.uniform(0.1, 0.9, weight.shape) - 0.4 * ("kernel" in weight.name))
    return model


def test_what_is_merged_goes_and_all_else_keeps_its_name():
    folded = fold_batch_norm(small_net())
    assert [layer.name for layer in folded.layers] == (
        "image first depthwise grouped add add_relu dropout pool hidden hidden_relu4 logits".split()
    )
    activations = {
        layer.name: layer.activation.__name__
        for layer in folded.layers
        if hasattr(layer, "activation")
    }
    assert activations == {
        "first": "relu6",
        **dict.fromkeys(("depthwise", "grouped", "hidden", "logits"), "linear"),
    }


def test_folding_leaves_the_input_model_unchanged_and_computes_the_same():
    model, images = small_net(), IMAGES[:, :8, :8, [0, 1, 2, 0]].astype(np.float32)
    before, expected = model.get_weights(), model(images)
    folded = fold_batch_norm(model)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(folded(images), expected, rtol=1e-5)
    again = fold_batch_norm(folded)
    np.testing.assert_array_equal(again(images), folded(images))
    native = with_native_groups(folded)
    np.testing.assert_allclose(native(images), expected, rtol=1e-5)


def after_pool(x: keras.KerasTensor) -> keras.KerasTensor:
    return keras.layers.BatchNormalization(name="odd_bn")(keras.layers.MaxPooling2D()(x))


def after_relu(x: keras.KerasTensor) -> keras.KerasTensor:
    x = keras.layers.Conv2D(4, 1, activation="relu")(x)
    return keras.layers.BatchNormalization(name="odd_bn")(x)


def beside_another_reader(x: keras.KerasTensor) -> keras.KerasTensor:
    x = keras.layers.Conv2D(4, 1)(x)
    return keras.layers.Add()([x, keras.layers.BatchNormalization(name="odd_bn")(x)])


@pytest.mark.parametrize("build", [after_pool, after_relu, beside_another_reader])
def test_batch_norm_without_a_convolution_of_its_own_gets_a_sentence(build: Callable):
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, build(image), name="odd")
    with pytest.raises(EdgenetsError, match="odd_bn of odd cannot be folded: a BatchNorm must"):
        fold_batch_norm(model)
