"""The classifier alone, on the frozen features of a net that was trained on other images.

Of a net with trained weights the layers before its classifier are left as they are, and what they
make of each image, its features, is computed once. The classifier on features is a convex problem:
multinomial logistic regression, whose strength of regularisation is chosen on the held-out images.

Source: Kornblith et al. 2019, arXiv:1805.08974, section 4.3 (logistic regression on the features of
the penultimate layer).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets.data.dataset import Images
from edgenets.data.loading import UNLABELLED
from edgenets.data.pixels import to_network
from edgenets.data.splits import balanced_sample
from edgenets.errors import EdgenetsError
from edgenets.intervals import wilson_interval
from edgenets.models.backend import keras, tf
from edgenets.models.inference import compile_inference
from edgenets.models.logits import cross_entropy
from edgenets.models.weights.initial import classifier
from edgenets.packages import missing_package
from edgenets.progress import progress_bar, say
from edgenets.training.data import TrainingData
from edgenets.training.settings import FitSettings
from edgenets.units import format_interval, format_percent

STRENGTHS = 10.0 ** np.arange(-4, 2.5, 0.5)
"""Inverse strengths of regularisation that are tried, for features of unit variance."""
MOST_IMAGES = 5_000
"""More are not used, evenly of all classes: fine-tuning sees them all."""
MOST_ITERATIONS = 1_000  # of L-BFGS; a few hundred are usual
TOLERANCE = 1e-6  # of the gradient; at 1e-4, the default, probabilities are 0.005 off
IMAGES_AT_ONCE = 64


class FittedClassifier(NamedTuple):
    """What came of a classifier on frozen features."""

    strength: float  # the inverse strength of regularisation that was chosen
    loss: float  # cross-entropy on the images it was fitted on, in nats
    accuracy: float  # on the same
    validation_loss: float  # on those that its regularisation was chosen by
    validation_accuracy: float


def fit_classifier(
    model: keras.Model, data: TrainingData, settings: FitSettings, *, seed: int
) -> dict[str, float]:
    """Set the classifier of `model` to the best one on its frozen features; leave the rest.

    Args:
        model: images float32 [-1, 1] -> logits, of a net with trained weights.
        data: labelled images to fit it on, and held-out ones to choose its regularisation by.
        settings: say whether each class counts alike.
        seed: chooses the images, if there are more than `MOST_IMAGES`.

    Returns:
        loss and accuracy on the images that it was fitted on.

    Raises:
        EdgenetsError: the features are not finite.
    """
    labelled = np.flatnonzero(data.labels != UNLABELLED)
    chosen = labelled[balanced_sample(data.labels[labelled], MOST_IMAGES, seed)]
    net = _FrozenNet(model)
    features, labels = net.features(data.images, chosen, "features"), data.labels[chosen]
    if data.flip:
        mirrored = net.features(data.images, chosen, "features, mirrored", mirror=True)
        features, labels = np.concatenate([features, mirrored]), np.tile(labels, 2)
    everything = np.arange(len(data.validation_images))
    held_out = net.features(data.validation_images, everything, "features, held out")
    if not (np.isfinite(features).all() and np.isfinite(held_out).all()):
        raise EdgenetsError(
            f"the features of {model.name} are not finite; begin with other weights"
        )
    fitted_on = replace(data, labels=data.labels[chosen])  # a sample is more even than all
    weights = fitted_on.class_weights(settings.class_weights)[labels]
    kernel, bias, fitted = fit_logistic(
        features, labels, held_out, data.validation_labels, net.classes, weights
    )
    net.set_classifier(kernel, bias, data.images)
    interval = wilson_interval(fitted.validation_accuracy, len(held_out))
    say(
        "classifier on frozen features: held-out top-1 "
        f"{format_percent(fitted.validation_accuracy)} ({format_interval(interval)}), inverse "
        f"regularisation {fitted.strength:g}"
    )
    return {"loss": fitted.loss, "accuracy": fitted.accuracy}


def measure(model: keras.Model, data: TrainingData, seed: int) -> dict[str, float]:
    """Return loss and accuracy of a net that knows the classes, on labelled training images."""
    labelled = np.flatnonzero(data.labels != UNLABELLED)
    labelled = labelled[balanced_sample(data.labels[labelled], MOST_IMAGES, seed)]
    infer = compile_inference(model)
    logits = np.concatenate(
        [
            infer(to_network(data.images.take(part))).numpy()
            for part in np.array_split(labelled, -(-len(labelled) // IMAGES_AT_ONCE))
        ]
    )
    labels = data.labels[labelled]
    return {"loss": cross_entropy(logits, labels), "accuracy": _accuracy(logits, labels)}


def freeze_layers(model: keras.Model, part: float) -> None:
    """Let the first `part` of the layers that have weights keep them in training.

    What they find (edges, textures) serves other images too, and a step takes less time.

    Source: Yosinski et al. 2014, arXiv:1411.1792.
    """
    layers = [layer for layer in model.layers if layer.weights]
    for layer in layers[: int(part * len(layers))]:
        layer.trainable = False


def fit_logistic(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    held_out: NDArray[np.float32],
    held_out_labels: NDArray[np.int64],
    classes: int,
    weights: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], FittedClassifier]:
    """Fit a linear classifier to features; choose its regularisation on others.

    Args:
        features: [images, features] to fit it on.
        labels: [images], every class among them.
        held_out: [images, features] to choose the regularisation by: the least cross-entropy.
        held_out_labels: [images].
        classes: the number of classes.
        weights: [images], what each one counts; by default alike.

    Returns:
        kernel: [features, classes].
        bias: [classes].
        fitted: what was chosen.

    >>> features = np.float32([[0, 1], [1, 0]] * 10)
    >>> kernel, bias, fitted = fit_logistic(
    ...     features, np.tile([0, 1], 10), features, np.tile([0, 1], 10), classes=2
    ... )
    >>> kernel.shape, bias.shape, fitted.accuracy
    ((2, 2), (2,), 1.0)
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise missing_package("scikit-learn") from error
    features, held_out = features.astype(np.float64), held_out.astype(np.float64)
    mean, scale = features.mean(axis=0), features.std() or 1.0
    regression = LogisticRegression(max_iter=MOST_ITERATIONS, tol=TOLERANCE, warm_start=True)
    best = None
    for strength in STRENGTHS:
        regression.set_params(C=strength).fit((features - mean) / scale, labels, weights)
        kernel, bias = regression.coef_.T / scale, regression.intercept_
        if classes == 2:  # of two classes it has one logit
            kernel, bias = np.hstack([-kernel, kernel]) / 2, np.concatenate([-bias, bias]) / 2
        bias = bias - mean @ kernel
        held_out_logits = held_out @ kernel + bias
        validation_loss = cross_entropy(held_out_logits, held_out_labels)
        if best is None or validation_loss < best[2].validation_loss:
            logits = features @ kernel + bias
            fitted = FittedClassifier(
                float(strength),
                cross_entropy(logits, labels),
                _accuracy(logits, labels),
                validation_loss,
                _accuracy(held_out_logits, held_out_labels),
            )
            best = kernel, bias, fitted
    assert best is not None  # there are strengths
    kernel, bias, fitted = best
    return kernel.astype(np.float32), bias.astype(np.float32), fitted


class _FrozenNet:
    """A net up to its classifier, and what it makes of images there."""

    def __init__(self, model: keras.Model) -> None:
        self._layer = classifier(model)
        self.classes = self._layer.weights[0].shape[-1]
        maps = keras.Model(model.input, self._layer.input)
        self._maps = tf.function(lambda x: tf.cast(maps(x, training=False), tf.float32))

    def features(
        self, images: Images, indices: NDArray[np.int64], what: str, *, mirror: bool = False
    ) -> NDArray[np.float32]:
        """Return what the classifier takes of the images at `indices`: [images, features]."""
        batches = self._batches(images, indices, what, mirror=mirror)
        return np.concatenate([taken.mean(axis=1) for taken in batches])

    def set_classifier(
        self, kernel: NDArray[np.float32], bias: NDArray[np.float32], images: Images
    ) -> None:
        """Give the classifier these weights.

        A ReLU behind it (SqueezeNet has one, folded in the layer itself) would cut negative logits
        off. So the bias of all classes is raised until there are none on `images`, which changes no
        probability.
        """
        readers = [node.layer for node in self._layer.outbound_nodes]
        is_folded = self._layer.activation is keras.activations.relu
        if is_folded or any(isinstance(reader, keras.layers.ReLU) for reader in readers):
            batches = self._batches(images, np.arange(len(images)), "classifier")
            bias = bias - min(0.0, *(float((taken @ kernel + bias).min()) for taken in batches))
        self._layer.set_weights([kernel.reshape(self._layer.weights[0].shape), bias])

    def _batches(
        self, images: Images, indices: NDArray[np.int64], what: str, *, mirror: bool = False
    ) -> Iterator[NDArray[np.float32]]:
        """Yield what the classifier takes of some images: [images, places, channels]."""
        with progress_bar(what, len(indices)) as advance:
            for start in range(0, len(indices), IMAGES_AT_ONCE):
                pixels = images.take(indices[start : start + IMAGES_AT_ONCE])
                maps = self._maps(to_network(pixels[:, :, ::-1] if mirror else pixels)).numpy()
                yield maps.reshape(len(pixels), -1, maps.shape[-1])
                advance(len(pixels))


def _accuracy(logits: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> float:
    return float(np.mean(logits.argmax(axis=1) == labels))
