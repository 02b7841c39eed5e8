"""With equal weights, the nets of Keras's release files compute what the Keras builds compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from edgenets.models.backend import keras, tf
from edgenets.models.registry import create

BUILDS = keras.applications
V3 = {"include_preprocessing": False}


def weights_from_input_to_output(model: keras.Model) -> Iterator[tf.Variable]:
    """Walk the graph depth first, branches in the order in which a layer joins them."""
    seen = set()

    def visit(layer: keras.layers.Layer) -> Iterator[tf.Variable]:
        if layer.name not in seen and not isinstance(layer, keras.layers.InputLayer):
            seen.add(layer.name)
            for tensor in layer.inbound_nodes[0].keras_inputs:
                yield from visit(tensor.node.layer)
            yield from (weight for weight in layer.weights if weight.dtype.is_floating)

    return visit(model.layers[-1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, build, arguments, width",
    [
        ("mobilenet_v1", BUILDS.MobileNet, {"alpha": 0.25}, 0.25),
        ("mobilenet_v2", BUILDS.MobileNetV2, {"alpha": 0.35}, 0.35),
        ("mobilenet_v3_large", BUILDS.MobileNetV3Large, {"alpha": 0.75, **V3}, 0.75),
        ("mobilenet_v3_small", BUILDS.MobileNetV3Small, {"alpha": 1.0, **V3}, 1.0),
        ("inception_v3", BUILDS.InceptionV3, {}, None),
        ("xception", BUILDS.Xception, {}, 1.0),
    ],
)
def test_net_computes_what_the_keras_build_computes(
    name: str, build: Callable[..., keras.Model], arguments: dict, width: float | None
):
    random = np.random.default_rng(0)
    theirs = build(
        weights=None, input_shape=(96, 96, 3), classes=7, classifier_activation=None, **arguments
    )
    ours = create(name, resolution=96, classes=7, **({} if width is None else {"width": width}))
    images = random.uniform(-1, 1, (4, 96, 96, 3)).astype(np.float32)
    for layer in theirs.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
            layer.beta.assign(random.uniform(-0.5, 0.5, layer.beta.shape))
    theirs(images, training=True)  # BatchNorm's statistics become those of the images
    pairs = zip(
        weights_from_input_to_output(theirs), weights_from_input_to_output(ours), strict=True
    )
    for source, target in pairs:
        target.assign(tf.reshape(source, target.shape))  # a 1x1 convolution may be a dense layer
    expected = theirs(images).numpy()
    assert np.ptp(expected, axis=0).all()
    np.testing.assert_allclose(ours(images), expected, rtol=0, atol=1e-4 * np.abs(expected).max())
