from __future__ import annotations

import numpy as np
import pytest

from edgenets.data.images import Preparation
from edgenets.errors import EdgenetsError
from edgenets.export.measure import promises
from edgenets.export.measure.classifier import Classifier
from edgenets.export.write.tflite import to_int8
from edgenets.flatbuffer import read
from edgenets.models.backend import keras, tf, tfmot
from edgenets.models.folder import Spec
from edgenets.models.registry import complete_arguments, create
from edgenets.profile import profile
from edgenets.quantize.layers import copy_model


def test_trainable_parameters_are_the_published_ones(net_of_zeros):
    model = net_of_zeros("mobilenet_v1")
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert trainable == 4_231_976


def test_stem_costs_what_the_paper_s_first_row_says(net_of_zeros):
    stem = net_of_zeros("mobilenet_v1").get_layer("stem_conv")
    assert stem.count_params() == 32 * 3 * 3 * 3
    assert stem.output_shape == (None, 112, 112, 32)


def test_there_are_27_batch_norms(net_of_zeros):
    model = net_of_zeros("mobilenet_v1", width=0.25)
    norms = [m for m in model.layers if isinstance(m, keras.layers.BatchNormalization)]
    assert len(norms) == 27


def test_output_stride_removes_the_earliest_strides(net_of_zeros):
    model = net_of_zeros("mobilenet_v1", width=0.25, resolution=32, output_stride=8)
    strided = [layer.name for layer in model.layers if getattr(layer, "strides", (1, 1)) == (2, 2)]
    assert strided == ["block4_depthwise_conv", "block6_depthwise_conv", "block12_depthwise_conv"]


def test_output_is_logits_not_probabilities(net_of_zeros):
    assert (
        net_of_zeros("mobilenet_v1", width=0.25).layers[-1].activation is keras.activations.linear
    )


@pytest.mark.parametrize("resolution", [32, 33])
def test_pad_value_is_what_the_first_convolution_sees_beyond_the_image(resolution: int):
    shape = {"width": 0.25, "resolution": resolution, "classes": 3}
    padded = create("mobilenet_v1", pad_value=-1.0, **shape)
    kernel = padded.get_layer("stem_conv").get_weights()[0]
    random = np.random.default_rng(0)
    image = random.uniform(-1, 1, (1, resolution, resolution, 3)).astype(np.float32)
    maps = keras.Model(padded.input, padded.get_layer("stem_conv").output)(image)
    # Stride 2 pads an even side at its end, an odd one at both.
    around = (0, 1) if resolution % 2 == 0 else (1, 1)
    surrounded = np.pad(image, ((0, 0), around, around, (0, 0)), constant_values=-1)
    expected = tf.nn.conv2d(surrounded + 1, kernel, 2, "VALID")
    np.testing.assert_allclose(maps, expected, rtol=0, atol=1e-5)


def test_an_unknown_activation_is_named():
    with pytest.raises(EdgenetsError, match="unknown activation of mobilenet_v1 'relu7'"):
        create("mobilenet_v1", activation="relu7")


@pytest.mark.slow
def test_with_another_pad_value_it_can_be_pruned_and_is_all_integer_in_int8():
    arguments = complete_arguments(
        "mobilenet_v1",
        {"pad_value": -1.0, "width": 0.25, "resolution": 32, "output_stride": 8, "classes": 3},
    )
    model = create("mobilenet_v1", **arguments)
    assert (
        profile(model).macs == profile(create("mobilenet_v1", **arguments | {"pad_value": 0})).macs
    )
    wrapped = copy_model(model, tfmot.sparsity.keras.prune_low_magnitude)
    assert wrapped.get_layer("shift")
    pixels = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    spec = Spec("mobilenet_v1", arguments, ("a", "b", "c"), Preparation(32, 32), seed=0)
    content = to_int8(model, spec, pixels)
    promises.check_structure(content)
    file = read(content)
    assert [operator.name for operator in file.operators[:2]] == ["ADD", "CONV_2D"]
    # The shifted image has the codes of the image: nothing is rounded.
    image, shifted = file.inputs[0], file.tensors[file.operators[0].outputs[0]]
    np.testing.assert_allclose(shifted.scale, image.scale, rtol=1e-5)
    assert Classifier(content).logits(pixels).shape == (8, 3)
