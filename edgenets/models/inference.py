"""A model's answers: compiled, on images of the shape it takes, batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets.data.dataset import Images
from edgenets.data.pixels import to_network
from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras, tf
from edgenets.units import format_shape

EVALUATION_BATCH = 256
DIRECT_BATCH = 32
Inference = Callable[[NDArray[np.float32]], Any]


def compile_inference(model: keras.Model) -> Inference:
    """Return the function from network inputs `[batch, height, width, 3]` to float32 logits.

    It refuses images of another shape with an EdgenetsError.
    """
    signature = tf.TensorSpec([None, *model.input_shape[1:]], tf.float32)
    logits = tf.function(
        lambda x: all_logits(model, x, training=False)[0],
        input_signature=[signature],
        autograph=False,
    )

    def infer(images: NDArray[np.float32]) -> tf.Tensor:
        check_images(model, images)
        return logits(images)

    return infer


def direct_inference(model: keras.Model) -> Inference:
    """Return the function of `compile_inference`, which it is for few images: nothing is traced.

    The layers are called one after the other, on few images at a time: each has its output in
    memory. Their answers differ by roundings of float32.
    """

    def infer(images: NDArray[np.float32]) -> tf.Tensor:
        check_images(model, images)
        starts = range(0, len(images), DIRECT_BATCH)
        parts = [images[start : start + DIRECT_BATCH] for start in starts]
        return tf.concat([all_logits(model, part, training=False)[0] for part in parts], axis=0)

    return infer


def check_images(model: keras.Model, images: NDArray[Any]) -> None:
    """Check that `images` have the height, width and channels that `model` takes.

    Raises:
        EdgenetsError: they have not.
    """
    wanted, received = model.input_shape[1:], images.shape[1:]
    if received != wanted:
        raise EdgenetsError(
            f"{model.name} takes images of {format_shape(wanted)} (height, width, RGB), "
            f"got {format_shape(received)}; resize or convert them, or build "
            "the net for their resolution"
        )


def predict_logits(inference: Inference, images: Images | NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the logits `[images, classes]` of every prepared image, in order."""
    take = images.take if isinstance(images, Images) else images.__getitem__
    batches = np.array_split(np.arange(len(images)), -(-len(images) // EVALUATION_BATCH))
    return np.concatenate([inference(to_network(take(batch))).numpy() for batch in batches])


def all_logits(model: keras.Model, images: tf.Tensor, *, training: bool) -> list[tf.Tensor]:
    """Return the float32 logits of every output of the model."""
    outputs = tf.nest.flatten(model(images, training=training))
    return [tf.cast(logits, tf.float32) for logits in outputs]
