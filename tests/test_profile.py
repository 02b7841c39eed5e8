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


def test_merged_layer_needs_memory_where_its_input_is_read_again():
    image = keras.Input((8, 8, 2))
    x = keras.layers.Conv2D(2, 1, name="conv")(image)
    model = keras.Model(image, keras.layers.Add()([x, keras.layers.ReLU(name="relu")(x)]))
    assert profile(model).activation_peak_bytes == 4 * 3 * (8 * 8 * 2)


def test_peak_is_that_of_the_best_order_not_of_the_model_s():
    # Keras lists both wide maps before both narrow ones; one wide map at a time is enough.
    image = keras.Input((8, 8, 1))
    wide = [keras.layers.Conv2D(10, 1, name=f"wide{i}")(image) for i in range(2)]
    narrow = [keras.layers.Conv2D(1, 1, name=f"narrow{i}")(x) for i, x in enumerate(wide)]
    model = keras.Model(image, keras.layers.Add()(narrow))
    # The image lives until both wide maps are computed; then a narrow one stands in its place.
    assert profile(model).activation_peak_bytes == 4 * 8 * 8 * (10 + 1 + 1)


def test_int8_weights_are_bytes_and_their_biases_words():
    layers = {layer.name: layer for layer in profile(small_net()).layers}
    assert layers["conv"].int8_weight_bytes == 3 * 3 * 3 * 4
    assert layers["bn"].int8_weight_bytes == 4 * 4  # the bias that it becomes
    assert layers["dense"].int8_weight_bytes == 4 * 5 + 4 * 5
    assert layers["dense"].weight_bytes == 4 * (4 * 5 + 5)


def test_energy_is_that_of_macs_of_maps_read_and_written_and_of_weights():
    cost = profile(small_net())
    conv = next(layer for layer in cost.layers if layer.name == "conv")
    macs, weights, values = 8 * 8 * 108, 108, 8 * 8 * 3 + 8 * 8 * 4
    assert conv.int8_energy_pj == round(macs * 0.3) + round(values * 1.25) + weights * 160
    assert conv.float32_energy_pj == round(macs * 4.6) + values * 5 + weights * 640
    assert cost.int8_energy.total_pj == sum(layer.int8_energy_pj for layer in cost.layers)
    # The image is written once; every map is written once and read by the layer after it.
    maps = 2 * (8 * 8 * 3 + 8 * 8 * 4 + 4 * 4 * 4 + 4) + 5
    assert cost.float32_energy.activations_pj == maps * 4 * 1.25


def test_macs_count_layers_that_are_frozen():
    model = small_net()
    model.trainable = False
    assert profile(model).macs == profile(small_net()).macs
