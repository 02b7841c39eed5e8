from __future__ import annotations

import numpy as np

from edgenets.models.backend import keras, tf, tfmot
from edgenets.training.pointwise import pointwise_products


def net() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((5, 6, 3))
    x = keras.layers.Conv2D(8, 1, activation="relu")(image)
    x = keras.layers.Conv2D(8, 3, padding="same")(x)
    strided = keras.layers.Conv2D(4, 1, strides=2, padding="same", use_bias=False, name="strided")
    # Layers within wrappers are found too.
    return keras.Model(image, tfmot.sparsity.keras.prune_low_magnitude(strided)(x))


def answers_and_gradients(model: keras.Model, images: np.ndarray) -> list[np.ndarray]:
    with tf.GradientTape() as tape:
        answers = model(images, training=False)
        loss = tf.reduce_sum(answers**2)
    gradients = tape.gradient(loss, model.trainable_variables)
    return [np.asarray(value) for value in (answers, *gradients)]


def kinds_of_operations(model: keras.Model) -> list[str]:
    graph = tf.function(lambda x: model(x, training=False), autograph=False)
    traced = graph.get_concrete_function(tf.TensorSpec([2, 5, 6, 3], tf.float32)).graph
    return sorted(op.type for op in traced.get_operations() if op.type in {"Conv2D", "MatMul"})


def test_products_give_the_answers_and_gradients_of_convolutions():
    model = net()
    images = np.random.default_rng(0).normal(size=(2, 5, 6, 3)).astype(np.float32)
    wanted = answers_and_gradients(model, images)
    with pointwise_products(model):
        found = answers_and_gradients(model, images)
    assert found[0].shape == (2, 3, 3, 4)
    for value, expected in zip(found, wanted, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)


def test_only_1x1_convolutions_become_products_and_only_for_a_while():
    model = net()
    with pointwise_products(model):
        assert kinds_of_operations(model) == ["Conv2D", "MatMul", "MatMul"]
    assert kinds_of_operations(model) == ["Conv2D", "Conv2D", "Conv2D"]
