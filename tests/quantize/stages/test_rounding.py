"""What 8-bit rounding does to a small folded net."""

from __future__ import annotations

import numpy as np
import pytest

from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras, tf
from edgenets.models.codes import KernelCodes, quantize_kernel
from edgenets.models.fold import KERNEL_AXES, fold_batch_norm
from edgenets.models.grouped import ChannelShuffle, GroupedPointwise
from edgenets.models.registry import create
from edgenets.quantize.stages.codebook import share_codes
from edgenets.quantize.stages.rounding import (
    KernelRounding,
    OutputRounding,
    trained_codes,
    with_rounding,
)

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.uniform(-1, 1, (4, 8, 8, 6)).astype(np.float32)
layers = keras.layers


def rounded(kernel: np.ndarray, kind: type) -> np.ndarray:
    weights = {"nonzero": tf.constant(kernel != 0, tf.float32)}
    return KernelRounding(KERNEL_AXES[kind])(tf.constant(kernel), True, weights).numpy()


@pytest.mark.parametrize(
    "kind, axes",
    [(layers.Conv2D, (0, 1, 2)), (layers.DepthwiseConv2D, (0, 1)), (layers.Dense, (0, 1))],
)
def test_kernel_takes_the_values_of_the_int8_file(kind: type, axes: tuple[int, ...]):
    kernel = RANDOM.normal(size=(3, 3, 40, 8)[2 * (kind is layers.Dense) :]).astype(np.float32)
    expected = quantize_kernel(kernel, axes)
    assert len(np.unique(expected.codes)) > 100
    # float32 logarithms may take the next scale, a sixteenth of an octave off, at its very edge.
    np.testing.assert_allclose(rounded(kernel, kind), expected.values, rtol=0, atol=1e-6)


def test_zeros_stay_zero_and_pass_no_gradient():
    kernel = tf.Variable([[0.0, 1.0], [2.0, 0.0]])
    weights = {"nonzero": tf.constant([[0.0, 1.0], [1.0, 0.0]])}
    with tf.GradientTape() as tape:
        result = KernelRounding(KERNEL_AXES[layers.Dense])(kernel, True, weights)
    np.testing.assert_array_equal(tape.gradient(result, kernel), weights["nonzero"])


def test_channel_of_zeros_is_no_division_by_zero():
    assert not rounded(np.zeros((1, 1, 2, 2), np.float32), layers.Conv2D).any()


def test_range_of_an_activation_is_the_mean_of_the_first_steps():
    owner = layers.Layer()
    quantizer, weights = OutputRounding(), OutputRounding().build(None, "output", owner)
    for high in (1.0, 3.0, 8.0):
        quantizer(tf.constant([-1.0, high]), True, weights)
    assert (weights["low"].numpy(), weights["high"].numpy()) == pytest.approx((-1, 4))
    # -1 to 4 in 255 steps of 5 / 255; what lies outside is clipped.
    result = quantizer(tf.constant([-9.0, 0.01, 0.0, 9.0]), False, weights).numpy()
    np.testing.assert_allclose(result, [-1, 5 / 255, 0, 4], rtol=1e-5)


def net() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 6))
    left = layers.Conv2D(6, 1, activation="relu", name="left")(image)
    right = GroupedPointwise(6, 1, groups=3, name="right")(image)
    right = ChannelShuffle(3, name="shuffle")(right)
    gate = layers.Multiply(name="gate")([left, layers.Activation("sigmoid", name="act")(right)])
    x = layers.Concatenate(name="concat")([gate, layers.DepthwiseConv2D(3, padding="same")(left)])
    x = layers.Conv2D(12, 1, name="branch")(x)
    x = layers.ReLU(name="relu")(layers.Add(name="add")([x, layers.Conv2D(12, 1)(x)]))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(2, name="logits")(x), name="net")


def test_outputs_are_rounded_where_the_file_rounds_them():
    model = with_rounding(net())
    outputs = {
        layer.layer.name for layer in model.layers if getattr(layer, "_output_quantizers", None)
    }
    # Not `gate`, rounded with `concat`, nor `add`, computed with its ReLU.
    expected = {"left", "right", "act", "concat", "branch", "relu", "pool", "logits"}
    assert {name for name in outputs if "conv2d" not in name} == expected
    assert len(model.get_layer("shuffle").weights) == 0


def test_rounded_net_follows_the_float_net_and_learns():
    model = net()
    rounding = with_rounding(model)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(rounding(IMAGES, training=True) ** 2)
    gradients = tape.gradient(loss, rounding.trainable_variables)
    assert len(gradients) == len(model.trainable_variables)
    assert all(np.any(gradient) for gradient in gradients)
    logits = model(IMAGES).numpy()
    # Eight roundings in sequence, each at most 1/255 of a range that the batch fills.
    np.testing.assert_allclose(rounding(IMAGES), logits, rtol=0, atol=0.05 * np.abs(logits).max())
    assert not np.array_equal(rounding(IMAGES), logits)


def test_unknown_kind_of_layer_gets_a_sentence():
    image = keras.Input((8, 8, 3))
    x = layers.UpSampling2D(name="up")(image)
    with pytest.raises(EdgenetsError, match="up of net is a UpSampling2D, a kind of layer that"):
        with_rounding(keras.Model(image, x, name="net"))


def test_net_that_shifts_its_input_can_be_rounded():
    model = create("mobilenet_v1", width=0.25, resolution=32, classes=2, pad_value=-1.0)
    rounding = with_rounding(fold_batch_norm(model))
    assert rounding(np.zeros((1, 32, 32, 3), np.float32), training=True).shape == (1, 2)


def shared(model: keras.Model, clusters: int) -> dict[str, KernelCodes]:
    """Share the codes of one kernel of each kind; the others stay as they are."""
    kernels = {"left": (0, 1, 2), "right": (0, 1, 2), "logits": (0, 1)}
    return {
        name: share_codes(quantize_kernel(model.get_layer(name).kernel.numpy(), axes), clusters)
        for name, axes in kernels.items()
    }


def test_shared_kernels_begin_with_the_codes_that_they_are_given():
    model = net()
    codes = shared(model, 5)
    trained = trained_codes(with_rounding(model, codes))
    assert trained.keys() == codes.keys()
    for name, kernel in codes.items():
        np.testing.assert_array_equal(trained[name].codes, kernel.codes)
        np.testing.assert_array_equal(trained[name].scale, kernel.scale)


def test_training_moves_shared_codes_and_members_but_adds_no_code():
    model = net()
    for name in ("left", "right", "logits"):
        kernel = model.get_layer(name).kernel
        kernel.assign(kernel * (np.random.default_rng(1).random(kernel.shape) < 0.5))
    codes = shared(model, 5)
    rounding = with_rounding(model, codes)
    optimizer = keras.optimizers.Adam(0.05)
    for _ in range(5):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum((rounding(IMAGES, training=True) - [3.0, -3.0]) ** 2)
        gradients = tape.gradient(loss, rounding.trainable_variables)
        assert all(gradient is not None for gradient in gradients)
        optimizer.apply_gradients(zip(gradients, rounding.trainable_variables, strict=True))
    changed = 0
    for name, kernel in trained_codes(rounding).items():
        before, after = codes[name].codes, kernel.codes
        assert len(np.unique(after)) <= 5
        assert not after[model.get_layer(name).kernel.numpy() == 0].any()
        changed += not np.array_equal(np.unique(before), np.unique(after))
    assert changed
    rounding(IMAGES)
    for name, kernel in trained_codes(rounding).items():
        computed = rounding.get_layer(f"quant_{name}").layer
        np.testing.assert_allclose(computed.kernel, kernel.values, rtol=0, atol=1e-6)
