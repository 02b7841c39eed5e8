"""Prune: set the smallest weights to zero step by step while training the others.

Source: Zhu and Gupta 2017, arXiv:1710.01878 (polynomial schedule), through tfmot.
"""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import ClassVar, Literal

import pydantic

from edgenets.models.backend import keras, tfmot
from edgenets.quantize.layers import copy_model, restore_weights
from edgenets.train.fit import FitSettings, TrainingData, batch_and_steps, fit

SCHEDULE_STEPS = 20
"""How many times the sparsity is raised, as far as there are steps, to its final value."""


class PruneSettings(FitSettings):
    """How far and how fast 1x1 convolutions and dense layers are pruned."""

    stage: Literal["prune"] = "prune"
    sparsity: float = pydantic.Field(0.65, gt=0, lt=1)
    ramp: float = pydantic.Field(0.6, gt=0, le=1)  # share of the epochs until it is reached
    epochs: pydantic.PositiveInt = 10
    warmup_epochs: pydantic.NonNegativeFloat = 0.5

    usual_learning_rate: ClassVar[float] = 2e-3


def prune(
    model: keras.Model,
    data: TrainingData,
    settings: PruneSettings,
    *,
    seed: int,
    checkpoint: Path,
    key: str,
) -> tuple[keras.Model, dict[str, list[float]]]:
    """Return a pruned, fine-tuned copy of `model` and the history of its training.

    Every kernel that `is_compressible` names keeps at most round((1 - sparsity) * size) weights;
    the others are trained but not pruned. The best epoch is chosen among those at the final
    sparsity.
    """
    _, steps = batch_and_steps(data, settings)
    ramp_steps = max(1, int(settings.epochs * steps * settings.ramp))
    frequency = max(1, ramp_steps // SCHEDULE_STEPS)
    end_step = ramp_steps // frequency * frequency  # tfmot acts at multiples only
    schedule = tfmot.sparsity.keras.PolynomialDecay(
        initial_sparsity=0.0,
        final_sparsity=settings.sparsity,
        begin_step=0,
        end_step=end_step,
        frequency=frequency,
    )
    wrapped = copy_model(
        model, lambda layer: tfmot.sparsity.keras.prune_low_magnitude(layer, schedule)
    )
    history = fit(
        wrapped,
        data,
        settings,
        seed=seed,
        checkpoint=checkpoint,
        key=key,
        description="prune",
        callbacks=[tfmot.sparsity.keras.UpdatePruningStep()],
        select_from_epoch=min(settings.epochs, ceil(end_step / steps) + 1),
    )
    return restore_weights(model, tfmot.sparsity.keras.strip_pruning(wrapped)), history
