"""Knowledge distillation: a net learns from another net's answers beside the labels.

Source: Hinton et al. 2015, arXiv:1503.02531.
"""

from __future__ import annotations

from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras, tf
from edgenets.training.settings import Distillation


def distilled_loss(
    settings: Distillation, labels_loss: tf.Tensor, logits: tf.Tensor, teacher_logits: tf.Tensor
) -> tf.Tensor:
    """Return the mean loss of a batch from that of its labels and both nets' logits.

    The teacher's part is multiplied by the square of the temperature, which keeps its gradients as
    large as the labels' (section 2 of the paper).
    """
    softened = tf.nn.softmax(teacher_logits / settings.temperature)
    cross_entropy = tf.nn.softmax_cross_entropy_with_logits(
        labels=softened, logits=logits / settings.temperature
    )
    taught = settings.temperature**2 * tf.reduce_mean(cross_entropy)
    return (1 - settings.alpha) * labels_loss + settings.alpha * taught


def check_teacher(teacher: keras.Model, student: keras.Model, images: tuple[int, ...]) -> None:
    """Check that a teacher takes the images that there are and knows as many classes.

    Args:
        teacher: images -> logits.
        student: the net that it teaches.
        images: height, width and channels of the images that it is given.

    Raises:
        EdgenetsError: the teacher takes others, or knows another number of classes.
    """
    classes = tf.nest.flatten(student.output_shape)[-1]
    taken, known = teacher.input_shape[1:], teacher.output_shape[-1]
    if (taken, known) != (images, classes):
        raise EdgenetsError(
            f"a teacher must take the images that there are for it, {images}, and know the "
            f"{classes} classes; {teacher.name} takes {taken} and knows {known}; pass another"
        )
