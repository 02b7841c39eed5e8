"""What logits say of classes: probabilities, cross-entropy and KL divergence, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.floating[Any]]


def softmax(logits: Logits) -> NDArray[np.float64]:
    """Return the probabilities of classes: exp(logits) / sum(exp(logits)), [..., classes].

    >>> softmax(np.float32([1000, 1000]))
    array([0.5, 0.5])
    """
    powers = np.exp(_shifted(logits))
    probabilities: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities


def log_softmax(logits: Logits) -> NDArray[np.float64]:
    """Return the logarithms of the classes' probabilities, [..., classes].

    >>> log_softmax(np.float32([1000, 0]))
    array([    0., -1000.])
    """
    shifted = _shifted(logits)
    logarithms: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return logarithms


def cross_entropy(logits: Logits, labels: NDArray[np.int64]) -> float:
    """Return the mean of -log softmax at the labels, in nats.

    Args:
        logits: [images, classes].
        labels: [images].

    >>> round(cross_entropy(np.float32([[0, 0], [0, 0]]), np.array([0, 1])), 6)
    0.693147
    """
    of_label = np.take_along_axis(log_softmax(logits), labels[:, np.newaxis], axis=1)
    return float(-of_label.mean())


def mean_divergence(exact: Logits, given: Logits) -> float:
    """Return the mean Kullback-Leibler divergence in nats of given answers from exact ones.

    Args:
        exact, given: logits, [images, classes].

    >>> even, uneven = np.float32([[0, 0]]), np.log(np.float32([[0.25, 0.75]]))
    >>> round(mean_divergence(even, uneven), 4)  # log(4 / 3) / 2
    0.1438
    """
    p, q = log_softmax(exact), log_softmax(given)
    return max(0.0, float((np.exp(p) * (p - q)).sum(axis=1).mean()))


def _shifted(logits: Logits) -> NDArray[np.float64]:
    shifted: NDArray[np.float64] = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return shifted
