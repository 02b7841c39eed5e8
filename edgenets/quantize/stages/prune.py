"""Prune: set the smallest weights to zero step by step while training the others.

Source: Zhu and Gupta 2017, arXiv:1710.01878 (polynomial schedule), through tfmot.
"""

from __future__ import annotations

from math import ceil
from pathlib import Path

from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras, tfmot
from edgenets.models.folder import Model
from edgenets.quantize.layers import (
    check_patterns,
    copy_model,
    kernel_of,
    override_for,
    prunable_layers,
    restore_weights,
)
from edgenets.quantize.settings import PruneSettings
from edgenets.training.data import TrainingData
from edgenets.training.fit import batch_and_steps, fit, pace_of

SCHEDULE_STEPS = 20
"""How many times the sparsity is raised, as far as there are steps, to its final value."""

XNNPACK = tfmot.sparsity.keras.PruneForLatencyOnXNNPack()
"""tfmot's policy for sparse inference: 1x1 convolutions, whatever their size (arXiv:1911.09723)."""


def prune(
    model: Model,
    data: TrainingData,
    settings: PruneSettings,
    *,
    seed: int,
    checkpoint: Path,
    key: str,
    teacher: keras.Model | None = None,
    log_dir: Path | None = None,
) -> Model:
    """Return a pruned, fine-tuned copy of `model`.

    Every kernel that `is_prunable` names keeps at most round((1 - sparsity) * size) weights, but
    for small ones; the others are trained but not pruned. The best epoch is chosen among those at
    the final sparsity.

    Raises:
        EdgenetsError: a pattern matches no layer, or the model has shared weights.
    """
    net = model.net
    if model.codes:
        raise EdgenetsError(
            f"{net.name} has shared weights, which pruning would make different ones; "
            "prune the model that it was made of"
        )
    check_patterns(net, settings.layers, prunable_layers(net))
    pace = pace_of(settings, net, len(data.images))
    _, steps = batch_and_steps(len(data.images), pace)
    ramp_steps = max(1, int(pace.epochs * steps * settings.ramp))
    frequency = max(1, ramp_steps // SCHEDULE_STEPS)
    end_step = ramp_steps // frequency * frequency  # tfmot acts at multiples only

    def wrap(layer: keras.layers.Layer) -> keras.layers.Layer:
        sparsity = sparsity_of(layer, settings)
        if not sparsity:
            return layer
        schedule = tfmot.sparsity.keras.PolynomialDecay(
            initial_sparsity=0.0 if settings.schedule == "polynomial" else sparsity,
            final_sparsity=sparsity,
            begin_step=0,
            end_step=end_step,
            frequency=frequency,
        )
        return tfmot.sparsity.keras.prune_low_magnitude(layer, schedule)

    wrapped = copy_model(net, wrap)
    history = fit(
        wrapped,
        data,
        settings,
        seed=seed,
        checkpoint=checkpoint,
        key=key,
        teacher=teacher,
        description="prune",
        log_dir=log_dir,
        callbacks=[tfmot.sparsity.keras.UpdatePruningStep()],
        select_from_epoch=min(pace.epochs, ceil(end_step / steps) + 1),
    )
    pruned = restore_weights(net, tfmot.sparsity.keras.strip_pruning(wrapped))
    return model.after(settings.model_dump(mode="json"), pruned, history)


def sparsity_of(layer: keras.layers.Layer, settings: PruneSettings) -> float:
    """Return which part of a layer's kernel is to be zero."""
    if override := override_for(layer.name, settings.layers):
        return override.sparsity
    if settings.policy == "xnnpack":
        return settings.sparsity if XNNPACK.allow_pruning(layer) else 0.0
    is_small = kernel_of(layer).shape.num_elements() < settings.dense_below
    return 0.0 if is_small else settings.sparsity
