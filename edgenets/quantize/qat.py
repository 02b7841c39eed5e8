"""Quantization-aware training: fold BatchNorm, then train with 8-bit rounding, zeros kept.

Source: Jacob et al. 2017, arXiv:1712.05877.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import pydantic

from edgenets.models.backend import keras
from edgenets.models.fold import fold_batch_norm
from edgenets.quantize.rounding import with_rounding
from edgenets.train.fit import FitSettings, TrainingData, fit


class QatSettings(FitSettings):
    """How long and how fast the rounded model is trained."""

    stage: Literal["qat"] = "qat"
    epochs: pydantic.PositiveInt = 4
    warmup_epochs: pydantic.NonNegativeFloat = 0

    usual_learning_rate: ClassVar[float] = 2e-4


def train_quantized(
    model: keras.Model,
    data: TrainingData,
    settings: QatSettings,
    *,
    seed: int,
    checkpoint: Path,
    key: str,
) -> tuple[keras.Model, dict[str, list[float]]]:
    """Return a folded copy of `model` trained to bear 8-bit rounding, and its training's history.

    Weights that are zero stay zero. The result is an ordinary float model without BatchNorm: its
    weights have learned to be rounded, and the export measures the activations' ranges anew on
    calibration images.

    Raises:
        EdgenetsError: a layer of the model cannot be folded or rounded.
    """
    folded = fold_batch_norm(model)
    rounding = with_rounding(folded)
    history = fit(
        rounding,
        data,
        settings,
        seed=seed,
        checkpoint=checkpoint,
        key=key,
        description="qat",
    )
    # tfmot's wrappers put the rounded kernels into the layers; their own lists have the variables.
    trained = {weight.name: weight for weight in rounding.weights}
    for weight in folded.weights:
        weight.assign(trained[weight.name])
    return folded, history
