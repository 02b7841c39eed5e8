"""The classifier on frozen features, and what a training that begins with it leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgenets.data.images import Preparation
from edgenets.data.loading import Split
from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras
from edgenets.models.inference import compile_inference, predict_logits
from edgenets.models.registry import create
from edgenets.training import fit as fit_module
from edgenets.training import transfer
from edgenets.training.data import TrainingData
from edgenets.training.fit import fit
from edgenets.training.settings import FitSettings
from edgenets.training.transfer import fit_classifier, fit_logistic, freeze_layers, measure

SETTINGS = FitSettings(epochs=3, batch_size=16, learning_rate=0.001, warmup_epochs=1)


def blobs(images: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features around a centre for each class, and the classes."""
    random = np.random.default_rng(seed)
    labels = np.arange(images) % classes
    centres = 2 * np.eye(classes, 6)
    return (centres[labels] + random.normal(size=(images, 6))).astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 3])
def test_classifier_is_scikit_learn_s_at_the_strength_with_the_least_held_out_loss(classes: int):
    features, labels = blobs(60, classes, seed=0)
    held_out, held_out_labels = blobs(300, classes, seed=1)
    kernel, bias, fitted = fit_logistic(features, labels, held_out, held_out_labels, classes)
    from sklearn.linear_model import LogisticRegression

    mean, scale = features.mean(axis=0), features.std()
    expected = LogisticRegression(C=fitted.strength, tol=1e-8, max_iter=1000).fit(
        (features - mean) / scale, labels
    )
    probabilities = expected.predict_proba((held_out - mean) / scale)
    logits = held_out @ kernel + bias
    found = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, probabilities, atol=1e-3)  # of L-BFGS
    assert fitted.validation_accuracy == np.mean(probabilities.argmax(axis=1) == held_out_labels)


def test_only_the_classifier_changes(training_data: TrainingData, build_net: Callable):
    model = build_net()
    before = [weight.numpy() for weight in model.layers[1].weights]
    kernel = model.get_layer("logits").kernel.numpy()
    fit_classifier(model, training_data, SETTINGS, seed=0)
    for weight, old in zip(model.layers[1].weights, before, strict=True):
        np.testing.assert_array_equal(weight, old)
    assert not np.array_equal(model.get_layer("logits").kernel, kernel)


@pytest.mark.parametrize("folded", [False, True])
def test_relu_behind_a_classifier_cuts_nothing_off(training_data: TrainingData, folded: bool):
    """SqueezeNet ends in convolution, ReLU and mean: negative logits would all be the same."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(8, 3, activation="relu")(image)
    classifier = keras.layers.Conv2D(2, 1, name="conv10", activation="relu" if folded else None)
    outputs = classifier(x) if folded else keras.layers.ReLU()(classifier(x))
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(outputs))
    fit_classifier(model, training_data, SETTINGS, seed=0)
    features = keras.Model(image, x)
    kernel, bias = classifier.get_weights()

    def linear(pixels: np.ndarray) -> np.ndarray:
        return (features(pixels).numpy() @ kernel[0, 0] + bias).mean(axis=(1, 2))

    pixels = training_data.images.take(range(80)).astype(np.float32) / 127.5 - 1
    np.testing.assert_allclose(model(pixels), linear(pixels), rtol=1e-4, atol=1e-4)


def test_result_is_at_least_as_good_on_the_held_out_images_as_the_frozen_features(
    training_data: TrainingData, build_net: Callable, tmp_path: Path
):
    """Steps so large that they destroy the net are not kept."""
    model = build_net()
    begun: list[np.ndarray] = []

    def begin() -> dict[str, float]:
        values = fit_classifier(model, training_data, SETTINGS, seed=0)
        begun.extend(weight.numpy() for weight in model.variables)
        return values

    wild = SETTINGS.model_copy(update={"learning_rate": 30.0})
    history = fit(
        *(model, training_data, wild),
        seed=0,
        checkpoint=tmp_path / "checkpoint",
        key="key",
        description="train",
        begin=begin,
    )
    assert history["epoch"] == [0, 1, 2, 3]
    assert history["validation_accuracy"][0] == max(history["validation_accuracy"])
    assert history["kept"] == [1, 0, 0, 0]
    for weight, old in zip(model.variables, begun, strict=True):
        np.testing.assert_array_equal(weight, old)


@pytest.mark.parametrize("failing", ["fit_classifier", "save_checkpoint", "run_epoch", "blend"])
def test_training_interrupted_in_either_phase_ends_with_the_same_weights(
    failing: str,
    training_data: TrainingData,
    build_net: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    def train(checkpoint: Path) -> list[np.ndarray]:
        model = build_net()
        fit(
            *(model, training_data, SETTINGS),
            seed=0,
            checkpoint=checkpoint,
            key="key",
            description="train",
            begin=lambda: begin(model),
        )
        return model.get_weights()

    def begin(model: keras.Model) -> dict[str, float]:
        if interrupted == "fit_classifier":
            raise KeyboardInterrupt
        return fit_classifier(model, training_data, SETTINGS, seed=0)

    interrupted = ""
    undisturbed = train(tmp_path / "whole")
    interrupted = failing
    with monkeypatch.context() as patch:
        if failing == "save_checkpoint":  # of the fitted classifier
            patch.setattr(fit_module, failing, raise_interrupt)
        if failing == "blend":  # after the last epoch
            patch.setattr(fit_module._Loop, failing, raise_interrupt)
        if failing == "run_epoch":
            run_epoch, done = fit_module._Loop.run_epoch, []

            def stop_in_the_second(self, epoch, advance):
                if done:
                    raise KeyboardInterrupt
                done.append(epoch)
                return run_epoch(self, epoch, advance)

            patch.setattr(fit_module._Loop, failing, stop_in_the_second)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "checkpoint")
    interrupted = ""
    for weight, expected in zip(train(tmp_path / "checkpoint"), undisturbed, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_kept_weights_are_the_mean_of_before_and_after_that_is_best_on_the_held_out_images(
    training_data: TrainingData, build_net: Callable, tmp_path: Path
):
    """A classifier that knows nothing is left behind."""
    model = build_net()
    history = fit(
        *(model, training_data, SETTINGS.model_copy(update={"epochs": 8, "learning_rate": 0.01})),
        **{"seed": 0, "checkpoint": tmp_path / "c", "key": "key", "description": "train"},
        begin=lambda: {"loss": 0.7, "accuracy": 0.5},
    )
    assert history["validation_accuracy"][0] <= 0.6 < max(history["validation_accuracy"])
    assert history["kept"][0] + history["kept"][-1] == 1 and history["kept"][-1] >= 0.5
    logits = predict_logits(compile_inference(model), training_data.validation_images)
    accuracy = np.mean(logits.argmax(axis=1) == training_data.validation_labels)
    assert accuracy >= history["validation_accuracy"][-1]


def raise_interrupt(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_frozen_batch_norm_is_the_same_after_a_training(
    training_data: TrainingData, build_net: Callable, tmp_path: Path
):
    model = build_net()
    before = [weight.numpy() for weight in model.get_layer("bn").weights]
    settings = SETTINGS.model_copy(update={"batch_norm": "frozen"})
    fit(
        *(model, training_data, settings),
        **{"seed": 0, "checkpoint": tmp_path / "c", "key": "key", "description": "train"},
    )
    for weight, old in zip(model.get_layer("bn").weights, before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_uneven_classes_count_alike(training_data: TrainingData):
    """Of 4 and 12 images each one counts 2 and 2/3: both classes 8, 16 together."""
    keep = np.concatenate(
        [
            np.flatnonzero(training_data.labels == 0)[:4],
            np.flatnonzero(training_data.labels == 1)[:12],
        ]
    )
    none = np.array([], np.int64)
    uneven = replace(training_data, labels=training_data.labels[keep], validation_labels=none)
    assert uneven.class_weights() == pytest.approx([1, 1])
    assert uneven.class_weights(True) == pytest.approx([2, 2 / 3])
    more = replace(uneven, labels=np.concatenate([uneven.labels, [1]]), uneven=True)
    assert more.class_weights() == pytest.approx([17 / 8, 17 / 26])
    assert more.class_weights(False) == pytest.approx([1, 1])


@pytest.mark.parametrize("second, is_uneven", [(30, False), (31, True)])
def test_images_of_a_folder_of_validation_make_no_class_more_even(second: int, is_uneven: bool):
    def split(*counts: int) -> Split:
        labels = np.repeat(np.arange(2), counts)
        return Split((np.zeros((8, 8, 3), np.uint8),) * len(labels), labels)

    given = {"validation_fraction": 0.2, "flip": False, "seed": 0}
    for validation in (None, split(20, 20)):
        data = TrainingData.from_split(
            split(10, second), Preparation(8, 8), validation=validation, **given
        )
        assert data.uneven is is_uneven


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, arguments",
    [
        ("squeezenet", {"resolution": 64}),
        ("shufflenet_v2", {"resolution": 32}),
        ("mobilenet_v3_small", {"resolution": 32}),
        ("inception_v1", {"resolution": 64}),
        ("alexnet", {"resolution": 67}),
    ],
)
def test_each_way_to_end_a_net_takes_a_classifier(name: str, arguments: dict):
    """A dense layer, a convolution of a map, one of a pooled map, one with a ReLU behind it."""
    from edgenets.data.dataset import Split
    from edgenets.data.images import Preparation

    random = np.random.default_rng(0)
    side = arguments["resolution"]
    labels = np.arange(30) % 3
    pixels = random.integers(0, 100, (30, side, side, 3), dtype=np.uint8)
    pixels[np.arange(30), :, :, labels] += 150  # red, green and blue
    data = TrainingData.from_split(
        Split(tuple(pixels), labels),
        Preparation(side, side),
        validation_fraction=0.2,
        flip=True,
        seed=0,
    )
    keras.utils.set_random_seed(0)
    model = create(name, classes=3, **arguments)
    values = fit_classifier(model, data, SETTINGS, seed=0)
    logits = predict_logits(compile_inference(model), data.images)
    accuracy = np.mean(logits.argmax(axis=1) == data.labels)
    assert accuracy == pytest.approx(values["accuracy"], abs=0.05) and accuracy > 0.9


def test_features_that_are_not_finite_get_a_sentence(training_data: TrainingData):
    image = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, name="conv")(image))
    model = keras.Model(image, keras.layers.Dense(2, name="logits")(x), name="tiny")
    model.get_layer("conv").bias.assign([np.inf, 0, 0, 0])
    with pytest.raises(EdgenetsError, match="features of tiny are not finite; begin with other"):
        fit_classifier(model, training_data, SETTINGS, seed=0)


def test_first_layers_stay_as_they_are(
    training_data: TrainingData, build_net: Callable, tmp_path: Path
):
    """Half of conv, bn, pointwise, pointwise_bn, logits: two."""
    model = build_net()
    freeze_layers(model, 0.5)
    before = {layer.name: [w.numpy() for w in layer.weights] for layer in model.layers}
    fit(
        *(model, training_data, SETTINGS),
        **{"seed": 0, "checkpoint": tmp_path / "c", "key": "key", "description": "train"},
    )
    changed = {
        layer.name
        for layer in model.layers
        if any(
            not np.array_equal(w, old)
            for w, old in zip(layer.weights, before[layer.name], strict=True)
        )
    }
    assert changed == {"pointwise", "pointwise_bn", "logits"}


def test_net_that_knows_the_classes_is_measured_on_its_labelled_images(
    training_data: TrainingData, build_net: Callable
):
    model = build_net()
    half = np.where(np.arange(80) < 40, training_data.labels, -1)
    values = measure(model, replace(training_data, labels=half), seed=0)
    logits = predict_logits(compile_inference(model), training_data.images.take(range(40)))
    log = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert values["loss"] == pytest.approx(-log[np.arange(40), half[:40]].mean(), rel=1e-4)
    assert values["accuracy"] == np.mean(logits.argmax(axis=1) == half[:40])


def test_of_many_images_as_many_of_each_class_are_measured(
    training_data: TrainingData, build_net: Callable, monkeypatch: pytest.MonkeyPatch
):
    measured: list[np.ndarray] = []
    monkeypatch.setattr(transfer, "MOST_IMAGES", 10)
    monkeypatch.setattr(transfer, "cross_entropy", lambda _, labels: measured.append(labels))
    by_class = replace(training_data, labels=np.repeat([0, 1], 40))  # as folders are read
    measure(build_net(), by_class, seed=0)
    assert np.bincount(measured[0]).tolist() == [5, 5]
