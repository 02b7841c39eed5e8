"""AdamW with a cosine learning rate, in one kernel of TensorFlow for each variable."""

from __future__ import annotations

from typing import Any

from edgenets.models.backend import keras, tf
from edgenets.training.settings import FitSettings, Pace


class FusedAdamW(keras.optimizers.AdamW):
    """Keras's AdamW, which takes ten small operations for each variable, in one.

    It has the same variables and takes the same steps but for rounding.

    Source: Loshchilov and Hutter 2019, arXiv:1711.05101.
    """

    def update_step(self, gradient: Any, variable: tf.Variable) -> None:
        """Move a variable and the means of its gradient and of its square."""
        step = tf.cast(self.iterations + 1, variable.dtype)
        index = self._index_dict[self._var_key(variable)]
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].handle,
            v=self._velocities[index].handle,
            beta1_power=tf.pow(tf.cast(self.beta_1, variable.dtype), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, variable.dtype), step),
            lr=tf.cast(self.learning_rate, variable.dtype),
            beta1=tf.cast(self.beta_1, variable.dtype),
            beta2=tf.cast(self.beta_2, variable.dtype),
            epsilon=tf.cast(self.epsilon, variable.dtype),
            grad=tf.convert_to_tensor(gradient),
        )


def adamw(
    model: keras.Model, settings: FitSettings, pace: Pace, steps: int
) -> keras.optimizers.Optimizer:
    """Return the optimizer of a training of `pace.epochs` epochs of so many steps."""
    total = max(1, pace.epochs * steps)
    warmup = min(total - 1, round(settings.warmup_epochs * steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=pace.learning_rate / 100,
        warmup_target=pace.learning_rate,
        warmup_steps=warmup,
        decay_steps=total - warmup,
    )
    optimizer = FusedAdamW(schedule, weight_decay=settings.weight_decay)
    # Decay is for kernels; depthwise ones have too few weights to overfit (arXiv:1704.04861, 3.3).
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "depthwise"])
    optimizer.build(model.trainable_variables)
    return optimizer
