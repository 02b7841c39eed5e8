"""Quantization-aware training: train with 8-bit rounding in the forward pass, zeros kept.

Source: Jacob et al. 2017, arXiv:1712.05877, through tfmot's scheme that preserves pruning.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import pydantic

from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras, tfmot
from edgenets.quantize.layers import clone_with_weights
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
    """Return a copy of `model` trained to bear 8-bit rounding, and the history of its training.

    Weights that are zero stay zero. The result is an ordinary float model: its weights have learned
    to be rounded, and the export measures the activations' ranges anew on calibration images.
    """
    quantize = tfmot.quantization.keras
    try:
        wrapped = quantize.quantize_apply(
            quantize.quantize_annotate_model(clone_with_weights(model)),
            scheme=tfmot.experimental.combine.Default8BitPrunePreserveQuantizeScheme(),
        )
    except (RuntimeError, ValueError) as error:
        raise EdgenetsError(
            f"tfmot cannot quantize {model.name} in training ({' '.join(str(error).split())}); "
            "leave the stage qat out"
        ) from error
    _check_quantized(wrapped)
    history = fit(
        wrapped,
        data,
        settings,
        seed=seed,
        checkpoint=checkpoint,
        key=key,
        description="qat",
    )
    return _without_rounding(model, wrapped), history


def _check_quantized(wrapped: keras.Model) -> None:
    """Refuse a model of which tfmot silently left a kernel in float."""
    for wrapper in wrapped.layers:
        layer = getattr(wrapper, "layer", wrapper)
        if hasattr(layer, "kernel_initializer") and not wrapper._weight_vars:
            raise EdgenetsError(
                f"tfmot does not quantize {layer.name} of {wrapped.name} in training; its layers "
                "must stand in the order convolution, BatchNorm, ReLU"
            )


def _without_rounding(original: keras.Model, wrapped: keras.Model) -> keras.Model:
    """Return a copy of `original` with the weights that tfmot's wrappers hold, by their names."""
    trained = {weight.name: weight for weight in wrapped.weights}
    result = keras.models.clone_model(original)
    for weight in result.weights:
        weight.assign(trained[weight.name])
    return result
