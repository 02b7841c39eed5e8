from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgenets.models.backend import keras, tf, tfmot  # isort: skip
from tensorflow_model_optimization.python.core.clustering.keras.experimental import (
    cluster as tfmot_clustering,  # not among tfmot's public names: clustering that keeps zeros
)

from edgenets.models.fold import fold_batch_norm
from edgenets.models.grouped import (
    ChannelHalf,
    ChannelShuffle,
    GroupedPointwise,
    with_native_groups,
)
from edgenets.quantize.layers import copy_model
from edgenets.quantize.stages.rounding import with_rounding

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.normal(size=(2, 5, 4, 12)).astype(np.float32)


def pair(groups: int, **options) -> tuple[keras.layers.Layer, keras.layers.Layer]:
    """Build our layer and the native one, both with the same weights."""
    ours = GroupedPointwise(24, 1, groups=groups, **options)
    native = keras.layers.Conv2D(24, 1, groups=groups, **options)
    for layer in (ours, native):
        layer.build(IMAGES.shape)
    assert ours.kernel.shape == native.kernel.shape == (1, 1, 12 // groups, 24)
    weights = [RANDOM.normal(size=weight.shape) for weight in native.get_weights()]
    ours.set_weights(weights)
    native.set_weights(weights)
    return ours, native


@pytest.mark.parametrize("groups", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("options", [{"use_bias": False}, {"activation": "relu"}], ids=str)
def test_result_is_that_of_the_native_convolution(groups: int, options: dict):
    ours, native = pair(groups, **options)
    # 12 / groups products of standard normal values are summed in another order.
    np.testing.assert_allclose(ours(IMAGES), native(IMAGES), rtol=0, atol=1e-5)


def test_gradients_are_those_of_the_native_convolution():
    images, gradients = tf.constant(IMAGES), []
    for layer in pair(3):
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = tf.reduce_sum(layer(images) ** 2)
        gradients.append(tape.gradient(loss, [images, *layer.trainable_weights]))
    for ours, native in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, native, rtol=1e-4, atol=1e-4)


def test_half_precision_is_kept():
    layer = GroupedPointwise(24, 1, groups=3, dtype="mixed_bfloat16")
    assert layer(IMAGES).dtype == tf.bfloat16
    assert layer.kernel.dtype == tf.float32


def test_shuffle_deals_the_groups_out_in_turn():
    #           group:    0     1     2
    channels = np.float32([10, 11, 20, 21, 30, 31]).reshape(1, 1, 1, 6)
    shuffled = ChannelShuffle(3)(channels).numpy().ravel()
    assert shuffled.tolist() == [10, 20, 30, 11, 21, 31]


def test_shuffle_by_the_group_s_size_is_the_inverse():
    shuffled = ChannelShuffle(3)(IMAGES)
    assert not np.array_equal(shuffled, IMAGES)
    np.testing.assert_array_equal(ChannelShuffle(12 // 3)(shuffled), IMAGES)


def test_halves_are_all_channels():
    halves = [ChannelHalf(half)(IMAGES) for half in (0, 1)]
    np.testing.assert_array_equal(np.concatenate(halves, axis=-1), IMAGES)


def small_net() -> keras.Model:
    image = keras.Input((5, 4, 12))
    x = GroupedPointwise(24, 1, groups=3, use_bias=False, name="first")(image)
    x = keras.layers.BatchNormalization(name="bn")(x)
    x = ChannelShuffle(3, name="shuffle")(x)
    left, right = (ChannelHalf(half, name=f"half{half}")(x) for half in (0, 1))
    x = keras.layers.Concatenate(name="concat")([right, left])
    x = GroupedPointwise(6, 1, groups=2, activation="relu", name="second")(x)
    return keras.Model(image, x, name="small")


def test_net_survives_a_clone_and_a_saved_config():
    model = small_net()
    for copy in (keras.models.clone_model(model), keras.Model.from_config(model.get_config())):
        copy.set_weights(model.get_weights())
        np.testing.assert_array_equal(copy(IMAGES), model(IMAGES))


def test_native_form_computes_the_same_under_the_same_names():
    model = small_net()
    native = with_native_groups(model)
    assert not any(isinstance(layer, GroupedPointwise) for layer in native.layers)
    assert [layer.name for layer in native.layers] == [layer.name for layer in model.layers]
    np.testing.assert_allclose(native(IMAGES), model(IMAGES), rtol=0, atol=1e-5)


def prune(model: keras.Model) -> keras.Model:
    return copy_model(model, tfmot.sparsity.keras.prune_low_magnitude)


def cluster(model: keras.Model) -> keras.Model:
    options = {
        "number_of_clusters": 60,  # of the smaller kernel's 72 values
        "cluster_centroids_init": tfmot.clustering.keras.CentroidInitialization.LINEAR,
        "preserve_sparsity": True,
    }
    return copy_model(model, lambda layer: tfmot_clustering.cluster_weights(layer, **options))


@pytest.mark.parametrize("compress", [prune, cluster, with_rounding])
def test_layer_can_be_pruned_clustered_and_rounded(compress: Callable):
    model = fold_batch_norm(small_net())
    wrapped = compress(model)
    wrappers = [layer for layer in wrapped.layers if hasattr(layer, "layer")]
    assert sum(isinstance(wrapper.layer, GroupedPointwise) for wrapper in wrappers) == 2
    expected = model(IMAGES).numpy()
    result = wrapped(IMAGES, training=compress is with_rounding).numpy()
    np.testing.assert_allclose(result, expected, rtol=0, atol=0.05 * np.abs(expected).max())


def test_net_without_groups_needs_no_native_form():
    image = keras.Input((5, 4, 12))
    model = keras.Model(image, keras.layers.Conv2D(2, 1)(image))
    assert with_native_groups(model) is model
