"""The stage `rate` on SqueezeNet with the weights of Deep Compression's paper."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

from edgenets.export.measure.classifier import Classifier
from edgenets.models.fold import fold_batch_norm
from edgenets.models.folder import Model
from edgenets.models.inference import compile_inference, predict_logits
from edgenets.models.logits import mean_divergence
from edgenets.models.weights.initial import load_weights
from edgenets.pipeline.rate_search import prepare

PRICE = 5.4e-7


@pytest.mark.slow
def test_squeezenet_takes_a_seven_hundredth_of_alexnet(shared_data: Path):
    """Calibrated on 100 images of imagenet500, measured on the other 400; docs/evidence/rate.md."""
    weights = str(shared_data / "squeezenet_deep_compression.net")
    loaded = load_weights(weights, "squeezenet", {}, seed=0)
    folded = Model(fold_batch_norm(loaded.net), loaded.spec)
    table = importlib.import_module("squeezenet_table2")  # pytest puts benchmarks on the path
    calibration, evaluation, _ = table.open_images(str(shared_data / "imagenet500"), loaded.spec)
    assert (len(calibration), len(evaluation)) == (100, 400)
    found = prepare(folded, calibration, calibration, flip=True, seed=0)(PRICE)
    exact = predict_logits(compile_inference(folded.net), evaluation)
    given = Classifier(found.content).logits(evaluation)
    assert found.package_bytes <= 343_000
    assert mean_divergence(exact, given) <= 0.085
    assert np.mean(exact.argmax(axis=1) == given.argmax(axis=1)) >= 0.86
