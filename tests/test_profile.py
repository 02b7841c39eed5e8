from __future__ import annotations

from edgenets.models.backend import keras
from edgenets.profile import profile


def small_net() -> keras.Model:
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False, name="conv")(image)
    x = keras.layers.BatchNormalization(name="bn")(x)
    x = keras.layers.ReLU(name="relu")(x)
    x = keras.layers.DepthwiseConv2D(3, strides=2, padding="same", use_bias=False, name="dw")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, keras.layers.Dense(5, name="dense")(x))


def test_macs_are_positions_times_weights():
    macs = {layer.name: layer.macs for layer in profile(small_net()).layers}
    assert macs["conv"] == 8 * 8 * (3 * 3 * 3 * 4)
    assert macs["dw"] == 4 * 4 * (3 * 3 * 4)
    assert macs["dense"] == 4 * 5
    assert macs["bn"] == macs["relu"] == macs["pool"] == 0


def test_params_include_moving_statistics_and_trainable_ones_do_not():
    cost = profile(small_net())
    trainable = 3 * 3 * 3 * 4 + 2 * 4 + 3 * 3 * 4 + (4 * 5 + 5)
    assert cost.trainable_params == trainable
    assert cost.params == trainable + 2 * 4
    assert cost.weight_bytes == 4 * cost.params


def test_peak_memory_is_the_largest_input_and_output_together():
    # The convolution's map of 8 x 8 x 4 lives on while the depthwise one's 4 x 4 x 4 is computed;
    # BatchNorm and ReLU work in place. The image's 8 x 8 x 3 is larger than the latter.
    assert profile(small_net()).activation_peak_bytes == 4 * (8 * 8 * 3 + 8 * 8 * 4)


def test_branch_keeps_its_input_alive():
    image = keras.Input((8, 8, 2))
    left = keras.layers.Conv2D(2, 1, name="left")(image)
    right = keras.layers.Conv2D(2, 1, name="right")(image)
    model = keras.Model(image, keras.layers.Add()([left, right]))
    assert profile(model).activation_peak_bytes == 4 * 3 * (8 * 8 * 2)
