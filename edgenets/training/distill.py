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


def check_teacher(teacher: keras.Model, student: keras.Model) -> None:
    """Check that a teacher knows as many classes.

    Raises:
        EdgenetsError: it knows another number.
    """
    classes, known = (tf.nest.flatten(net.output_shape)[-1] for net in (student, teacher))
    if known != classes:
        raise EdgenetsError(
            f"a teacher must know the {classes} classes that there are; {teacher.name} knows "
            f"{known}; pass another"
        )
