from __future__ import annotations

import numpy as np

from edgenets.models.backend import keras, tf
from edgenets.training.optimizer import FusedAdamW


def steps_of(kind: type[keras.optimizers.Optimizer]) -> list[np.ndarray]:
    """Return two variables and the optimizer's own after three steps at falling rates."""
    random = np.random.default_rng(0)
    kernel = tf.Variable(random.normal(size=(3, 4)).astype(np.float32), name="kernel")
    bias = tf.Variable(random.normal(size=4).astype(np.float32), name="bias")
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    optimizer = kind(schedule, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build([kernel, bias])

    @tf.function
    def step(by_kernel: tf.Tensor, by_bias: tf.Tensor) -> None:
        optimizer.apply_gradients([(by_kernel, kernel), (by_bias, bias)])

    for _ in range(3):
        gradients = (random.normal(size=shape).astype(np.float32) for shape in ((3, 4), 4))
        step(*gradients)
    return [variable.numpy() for variable in (kernel, bias, *optimizer.variables)]


def test_fused_steps_are_those_of_keras():
    # 1 - 0.999 is in the kernel a difference of float32 numbers: right to 6e-8 / 1e-3.
    for fused, wanted in zip(steps_of(FusedAdamW), steps_of(keras.optimizers.AdamW), strict=True):
        np.testing.assert_allclose(fused, wanted, rtol=6e-5, atol=1e-5)
