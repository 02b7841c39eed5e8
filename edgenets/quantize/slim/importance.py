"""What a net's answers mind of each channel: Fisher information of a gate that stands at it.

A gate multiplies a channel by 1 wherever a layer mixes it with others. What the logarithm of an
answer's probability changes with all gates of a channel is added up; the mean of half its square
over images is, in second order, the Kullback-Leibler divergence in nats that removing the channel
causes. Answers are drawn from the net's own, so that images need no labels.

Source: Theis et al. 2018, arXiv:1801.05787; for coupled channels Liu et al. 2021, arXiv:2108.00708.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgenets.data.pixels import to_network
from edgenets.models.backend import keras, tf
from edgenets.models.coupling import Group, filters_of, number_filters, trace_channels
from edgenets.models.graph import call_layer, walk

BATCH = 50


def measure_importance(
    model: keras.Model, groups: Sequence[Group], images: NDArray[np.uint8], seed: int
) -> list[NDArray[np.float64]]:
    """Return what removing each channel of each group costs, in nats: `[channels]` by group.

    Args:
        model: whose answers count.
        groups: of its channels.
        images: prepared, `[images, height, width, 3]`.
        seed: draws the answers.
    """
    numbers, traced = number_filters(model), trace_channels(model)
    sizes = [group.size for group in groups]
    starts = np.cumsum([0, *sizes])
    gate_of = np.full(sum(map(len, numbers.values())), starts[-1])  # the last: of no group
    for group, start in zip(groups, starts, strict=False):
        for name, filters in group.filters.items():
            gate_of[numbers[name][filters]] = start + np.arange(group.size)[:, None]
    total = np.zeros(starts[-1] + 1)
    for i, start in enumerate(range(0, len(images), BATCH)):
        batch = tf.convert_to_tensor(to_network(images[start : start + BATCH]))
        changes = np.zeros((len(total), len(batch)))
        for name, of_channel in _gradients(model, batch, (seed, i)).items():
            np.add.at(changes, gate_of[traced[name].inputs[0]], of_channel.T)
        total += np.square(changes).sum(axis=1)
    return np.split(total[:-1] / (2 * len(images)), starts[1:-1])


def _gradients(
    model: keras.Model, batch: tf.Tensor, seed: tuple[int, int]
) -> dict[str, NDArray[np.float32]]:
    """Return what the gates of the channels that a layer reads change: [images, channels]."""
    read: dict[str, tf.Tensor] = {}
    with tf.GradientTape(watch_accessed_variables=False) as tape:

        def visit(layer: keras.layers.Layer, inputs: list[tf.Tensor]) -> tf.Tensor:
            if filters_of(layer):
                inputs = [tf.identity(inputs[0])]  # which this layer alone reads
                tape.watch(inputs[0])
                read[layer.name] = inputs[0]
            return call_layer(layer, inputs) if inputs else batch

        *_, (_, logits) = walk(model, visit)
        answers = tf.random.stateless_categorical(logits, 1, seed)[:, 0]
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=answers, logits=logits)
    gradients = tape.gradient(losses, read)  # each image has its own
    return {
        name: tf.reduce_sum(value * gradients[name], range(1, len(value.shape) - 1)).numpy()
        for name, value in read.items()
    }
