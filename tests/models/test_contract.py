"""What every trainable net can do, at a size that keeps the test short."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from edgenets.data.images import Preparation
from edgenets.data.input_range import CENTRED
from edgenets.errors import EdgenetsError
from edgenets.export.measure import promises
from edgenets.export.measure.classifier import Classifier
from edgenets.export.report.layer_errors import measure_error
from edgenets.export.write.codes import check_codes, read_grids
from edgenets.export.write.tflite import to_float32, to_int8
from edgenets.flatbuffer import read

from edgenets.models.backend import keras, tf, tfmot  # isort: skip
from tensorflow_model_optimization.python.core.clustering.keras.experimental import (
    cluster as tfmot_clustering,  # not among tfmot's public names: clustering that keeps zeros
)

from edgenets.models.codes import Codes
from edgenets.models.fold import fold_batch_norm
from edgenets.models.folder import Model, Spec
from edgenets.models.inference import check_images, compile_inference, predict_logits
from edgenets.models.registry import NETS, complete_arguments, create
from edgenets.profile import profile
from edgenets.quantize.layers import (
    clone_with_weights,
    copy_model,
    is_prunable,
    prunable_layers,
    restore_weights,
)
from edgenets.quantize.stages.codebook import share_codes
from edgenets.quantize.stages.int8 import quantize_kernels
from edgenets.quantize.stages.rounding import with_rounding

SEED = 5
COMMON = {"resolution": 32, "classes": 3, "output_stride": 8}
SMALLEST = {
    "mobilenet_v1": {"width": 0.25},
    "mobilenet_v2": {"width": 0.35},
    "mobilenet_v3_large": {"width": 0.35},
    "mobilenet_v3_small": {"width": 0.35},
    "inception_v1": {"factorized": True},
    "inception_v3": {"width": 0.125},
    "xception": {"width": 0.125},
    "squeezenet": {"bypass": "complex"},
    "shufflenet_v1": {"groups": 3, "scale": 0.25},
    "shufflenet_v2": {"scale": 0.5},
}

# Sides of the last map of a 96-pixel image at output stride 32, 16, 8 and 4. Three nets pad only
# some layers: SqueezeNet, of which the strides multiply to 16, loses 6 positions to conv1, and each
# pool rounds down.
PADDED = (96 // 32, 96 // 16, 96 // 8, 96 // 4)
LAST_SIDES = {
    **dict.fromkeys(SMALLEST, PADDED),
    "inception_v3": (1, 4, 10, 20),
    "xception": (3, 6, 12, 23),
    "squeezenet": (4, 4, 10, 21),
}


LEARNING_STEPS = 5
LEARNING_RATE = 1e-3
WITHOUT_BATCH_NORM = 0.03  # of it: SqueezeNet's logits begin near 100, and its last ReLU dies fast

# 10 log10(signal / error) of the int8 file's logits after those steps, on images of noise. Trained
# nets and real images give more. In those steps float32's rounding grows: of nine trainings, eight
# with first weights that differ by a part in a million and one with TensorFlow's repeatable
# kernels, this was the lowest; the highest were 2 to 9 dB above.
LOWEST_SNR_DB = {
    "mobilenet_v1": 9.57,
    "mobilenet_v2": 12.13,
    "mobilenet_v3_large": 17.15,
    "mobilenet_v3_small": 23.28,
    "inception_v1": 21.59,
    "inception_v3": 10.04,
    "xception": 24.13,
    "squeezenet": 11.45,
    "shufflenet_v1": 8.83,  # average pooling clips its input: LiteRT has one scale for both
    "shufflenet_v2": 14.39,
}
MARGIN_DB = 3.0  # a factor of two in the error's power, for processors that round differently
WIDTHS_AND_NAME = ("name", "filters", "units")  # in which layers of one kind differ
MATCHED_DB = 10.0  # of a layer alone or its kernel; tensors taken for others give 0 dB or less


def build(name: str) -> keras.Model:
    """Build a net whose BatchNorm has seen images, so that signals reach the logits."""
    keras.utils.set_random_seed(SEED)
    model = create(name, **COMMON, **SMALLEST[name])
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(random_pixels() / np.float32(127.5) - 1, training=True)
    return model


def random_pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)


QUICK = ("mobilenet_v1", "squeezenet", "shufflenet_v2")  # built in less than a second
PARAMS = [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in SMALLEST]


@pytest.fixture(scope="module", params=PARAMS)
def model(request: pytest.FixtureRequest) -> keras.Model:
    return build(request.param)


@pytest.fixture(scope="module")
def spec(model: keras.Model) -> Spec:
    return Spec(
        name=model.name,
        arguments=complete_arguments(model.name, {**COMMON, **SMALLEST[model.name]}),
        labels=("cat", "dog", "owl"),
        preparation=Preparation.default(model.name, COMMON["resolution"]),
        seed=SEED,
    )


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return random_pixels()


@pytest.fixture(scope="module")
def images(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32) / 127.5 - 1


class Learned(NamedTuple):
    """A net that was trained on the images for a few steps, and its loss before and after each."""

    model: keras.Model
    losses: list[float]


@pytest.fixture(scope="module")
def learned(model: keras.Model, images: np.ndarray) -> Learned:
    copy, labels = clone_with_weights(model), np.arange(len(images)) % COMMON["classes"]
    for layer in copy.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0  # so that the losses can be compared
    has_batch_norm = any(isinstance(m, keras.layers.BatchNormalization) for m in copy.layers)
    rate = LEARNING_RATE * (1.0 if has_batch_norm else WITHOUT_BATCH_NORM)
    optimizer = keras.optimizers.Adam(rate)
    losses = []
    for _ in range(LEARNING_STEPS):
        loss, gradients = loss_and_gradients(copy, images, labels)
        optimizer.apply_gradients(zip(gradients, copy.trainable_variables, strict=True))
        losses.append(loss)
    losses.append(loss_and_gradients(copy, images, labels)[0])
    return Learned(copy, losses)


@pytest.fixture(scope="module")
def folded(learned: Learned) -> keras.Model:
    return fold_batch_norm(learned.model)


def loss_and_gradients(
    model: keras.Model, images: np.ndarray, labels: np.ndarray
) -> tuple[float, list[tf.Tensor]]:
    with tf.GradientTape() as tape:
        logits = model(images, training=True)
        loss = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        mean = tf.reduce_mean(loss)
    return float(mean), tape.gradient(mean, model.trainable_variables)


def test_every_net_but_the_baselines_is_here():
    trainable = {name for name, net in NETS.items() if "output_stride" in net.arguments}
    assert set(SMALLEST) == trainable == set(NETS) - {"alexnet", "vgg16"}


def test_output_is_one_finite_logit_per_class(model: keras.Model, images: np.ndarray):
    logits = model(images).numpy()
    assert logits.shape == (8, 3)
    assert np.isfinite(logits).all()
    assert np.ptp(logits) > 0


def test_same_seed_gives_the_same_weights(model: keras.Model):
    keras.utils.set_random_seed(SEED)
    again = create(model.name, **COMMON, **SMALLEST[model.name])
    for first, second in zip(model.trainable_variables, again.trainable_variables, strict=True):
        np.testing.assert_array_equal(first, second)


def test_saved_model_computes_the_same_bits(
    model: keras.Model, spec: Spec, images: np.ndarray, tmp_path: Path
):
    Model(model, spec).save(tmp_path / "model")
    loaded = Model.load(tmp_path / "model").net
    np.testing.assert_array_equal(loaded(images), model(images))


def test_names_of_layers_and_tensors_are_unique_and_plain(model: keras.Model):
    names = [layer.name for layer in model.layers]
    assert len(set(names)) == len(names)
    assert all(name.replace("_", "").isalnum() and name == name.lower() for name in names)
    assert len({weight.name for weight in model.weights}) == len(model.weights)


def test_first_convolution_stays_dense_and_most_weights_do_not(model: keras.Model):
    kernels = [layer for layer in model.layers if hasattr(layer, "kernel_size")]
    assert not is_prunable(kernels[0])
    assert any(is_prunable(layer) for layer in kernels[1:])


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_output_stride_sets_the_size_of_the_last_map(name: str):
    sides = []
    for output_stride in (32, 16, 8, 4):
        arguments = {**SMALLEST[name], "resolution": 96, "output_stride": output_stride}
        net = create(name, **arguments)
        pools = [m for m in net.layers if isinstance(m, keras.layers.GlobalAveragePooling2D)]
        sides.append(pools[-1].input_shape[1:3])
    assert sides == [(side, side) for side in LAST_SIDES[name]]


def one_of_each_kind(model: keras.Model) -> keras.Model:
    """Return a net of the first prunable layer of each kind, each with an input of its own."""
    kinds: dict[tuple[type, str], keras.layers.Layer] = {}
    for layer in prunable_layers(model):
        config = {k: v for k, v in layer.get_config().items() if k not in WIDTHS_AND_NAME}
        kinds.setdefault((type(layer), repr(config)), layer)
    copies = [type(layer).from_config(layer.get_config()) for layer in kinds.values()]
    inputs = [keras.Input(layer.input_shape[1:]) for layer in kinds.values()]
    net = keras.Model(inputs, [copy(x) for copy, x in zip(copies, inputs, strict=True)])
    for copy, layer in zip(copies, kinds.values(), strict=True):
        copy.set_weights(layer.get_weights())
    return net


@pytest.mark.slow
@pytest.mark.parametrize("wrapper", ["prune", "cluster"])
def test_tfmot_accepts_every_kind_of_compressible_layer(model: keras.Model, wrapper: str):
    net = one_of_each_kind(model)
    if wrapper == "prune":
        wrapped = copy_model(net, tfmot.sparsity.keras.prune_low_magnitude)
        stripped = tfmot.sparsity.keras.strip_pruning(wrapped)
    else:
        wrapped = copy_model(
            net,
            lambda layer: tfmot_clustering.cluster_weights(
                layer,
                number_of_clusters=4,
                cluster_centroids_init=tfmot.clustering.keras.CentroidInitialization.LINEAR,
                preserve_sparsity=True,
            ),
        )
        stripped = tfmot.clustering.keras.strip_clustering(wrapped)
    random = np.random.default_rng(0)
    maps = [random.random((2, *x.shape[1:]), dtype=np.float32) for x in net.inputs]
    results, expected = as_list(wrapped(maps)), as_list(net(maps))
    assert [r.shape for r in results] == [e.shape for e in expected]
    restored = restore_weights(net, stripped)
    if wrapper == "prune":
        for result, wanted in zip(as_list(restored(maps)), expected, strict=True):
            np.testing.assert_array_equal(result, wanted)
    else:
        assert len(prunable_layers(restored)) == len(net.inputs)
        assert all(len(np.unique(layer.kernel)) <= 4 for layer in prunable_layers(restored))


def as_list(outputs: tf.Tensor | list[tf.Tensor]) -> list[tf.Tensor]:
    return outputs if isinstance(outputs, list) else [outputs]


@pytest.mark.slow
def test_float_file_computes_the_same_logits(model: keras.Model, spec: Spec, pixels, images):
    content = to_float32(model, spec)
    expected = model(images).numpy()
    classifier = Classifier(content, input_range=CENTRED)
    logits = classifier.logits(pixels)
    with pytest.raises(EdgenetsError, match="takes uint8 images of 32 x 32 x 3, not uint8 of 32"):
        classifier.logits(pixels[..., :1])
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-3 * np.abs(expected).max())
    weighted = {layer.name for layer in profile(model).layers if layer.macs}
    named = [set(re.split("[/;]", kernel.name)) & weighted for kernel in read(content).weights]
    assert sorted(name for names in named for name in names) == sorted(weighted)


@pytest.mark.slow
def test_one_training_step_lowers_the_loss_and_a_few_memorise_the_images(learned: Learned):
    assert learned.losses[1] < learned.losses[0]
    assert learned.losses[-1] < 0.5 * learned.losses[0]


@pytest.mark.slow
def test_net_trains_with_8_bit_rounding_and_its_int8_file_follows_it(
    folded: keras.Model, spec: Spec, pixels: np.ndarray, images: np.ndarray
):
    labels = np.arange(len(images)) % COMMON["classes"]
    rounding = with_rounding(folded)
    _, gradients = loss_and_gradients(rounding, images, labels)
    assert len(gradients) == len(folded.trainable_variables)
    assert all(gradient is not None for gradient in gradients)
    content = to_int8(folded, replace(spec, folded=True), pixels)
    promises.check_structure(content)
    fidelity = promises.measure_fidelity(content, pixels, folded(images).numpy())
    assert fidelity.snr_db >= LOWEST_SNR_DB[spec.name] - MARGIN_DB
    errors = measure_error(content, folded, pixels)
    assert errors[-1].snr_db == pytest.approx(fidelity.snr_db, abs=0.01)
    assert min(error.own_snr_db for error in errors) >= MATCHED_DB
    measured = [error for error in errors if error.weight_snr_db is not None]
    assert len(measured) == len([layer for layer in profile(folded).layers if layer.macs])
    assert min(error.weight_snr_db for error in measured) >= MATCHED_DB


CLUSTERS = 8


@pytest.mark.slow
def test_int8_file_holds_exactly_the_codes_that_it_is_given(
    folded: keras.Model, spec: Spec, pixels: np.ndarray
):
    spec = replace(spec, folded=True)
    kernels = quantize_kernels(folded)
    measured = read_grids(to_int8(folded, spec, pixels, Codes(kernels, {})), folded)
    shared = {name: share_codes(kernel, CLUSTERS) for name, kernel in kernels.items()}
    codes = Codes(shared, measured)
    content = to_int8(folded, spec, None, codes)  # no image tells how activations are rounded
    promises.check_structure(content)
    assert read_grids(content, folded) == measured
    weights = read(content).weights
    assert len(weights) == len(shared)
    for tensor in weights:
        (name,) = set(re.split("[/;]", tensor.name)) & shared.keys()
        assert len(np.unique(np.append(tensor.data, 0))) <= CLUSTERS
        # The same integers in another order: output channels first, depthwise ones last.
        np.testing.assert_array_equal(np.sort(tensor.data, None), np.sort(shared[name].codes, None))
        np.testing.assert_array_equal(tensor.scale, shared[name].scale.ravel())
    with pytest.raises(EdgenetsError, match="holds other integers for"):
        check_codes(content, folded, Codes(kernels, measured))


WRONG_IMAGES = ((32, 32, 1), (32, 32, 4), (33, 32, 3), (32,), ())


@pytest.mark.parametrize("shape", WRONG_IMAGES, ids=str)
def test_images_of_another_shape_get_a_sentence(model: keras.Model, shape: tuple[int, ...]):
    received = re.escape(" x ".join(map(str, shape)) or "a single number")
    sentence = f"{model.name} takes images of 32 x 32 x 3 .height, width, RGB., got {received};"
    wrong = np.zeros((2, *shape), np.uint8)
    with pytest.raises(EdgenetsError, match=sentence):
        predict_logits(compile_inference(model), wrong)
    with pytest.raises(EdgenetsError, match=sentence):
        check_images(model, wrong)
