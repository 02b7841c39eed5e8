"""Softmax, cross-entropy and KL divergence."""

from __future__ import annotations

import numpy as np
import pytest

from edgenets.models.logits import cross_entropy, log_softmax, mean_divergence, softmax

LOGITS = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


def test_divergence_of_equal_answers_is_zero_and_of_others_more():
    assert mean_divergence(LOGITS, LOGITS + 7) == pytest.approx(0, abs=1e-6)
    assert mean_divergence(LOGITS, -LOGITS) > 0.1


def test_divergence_is_finite_for_answers_that_are_certain_of_another_class():
    certain = np.float32([[200, -200]])
    assert mean_divergence(certain, -certain) == pytest.approx(400)


def test_logarithms_and_probabilities_agree():
    np.testing.assert_allclose(np.exp(log_softmax(LOGITS)), softmax(LOGITS), rtol=1e-14)
    np.testing.assert_allclose(softmax(LOGITS).sum(axis=1), 1, rtol=1e-14)


def test_cross_entropy_is_the_divergence_from_certain_answers():
    labels = LOGITS.argmin(axis=1)
    certain = np.where(np.arange(3) == labels[:, np.newaxis], 1000, 0).astype(np.float32)
    assert cross_entropy(LOGITS, labels) == pytest.approx(mean_divergence(certain, LOGITS))
