"""Quantization-aware training: fold BatchNorm, then train with 8-bit rounding, zeros kept.

Source: Jacob et al. 2017, arXiv:1712.05877.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgenets.models.backend import keras
from edgenets.models.codes import Codes, KernelCodes
from edgenets.models.fold import fold_batch_norm
from edgenets.models.folder import Model
from edgenets.quantize.layers import assign_kernels
from edgenets.quantize.settings import QatSettings
from edgenets.quantize.stages.rounding import trained_codes, with_rounding
from edgenets.training.data import TrainingData
from edgenets.training.fit import fit
from edgenets.training.settings import FitSettings


def train_quantized(
    model: Model,
    data: TrainingData,
    settings: QatSettings,
    *,
    seed: int,
    checkpoint: Path,
    key: str,
    teacher: keras.Model | None = None,
    log_dir: Path | None = None,
) -> Model:
    """Return a folded copy of `model` trained to bear 8-bit rounding.

    Weights that are zero stay zero, and shared weights, of which the model has the codes, stay
    shared. Without codes the result is an ordinary float model without BatchNorm, whose weights
    have learned to be rounded.

    Raises:
        EdgenetsError: a layer of the model cannot be folded or rounded.
    """
    return train_rounded(
        model,
        fold_batch_norm(model.net),
        model.kernels,
        data,
        settings,
        seed=seed,
        checkpoint=checkpoint,
        key=key,
        teacher=teacher,
        description="qat",
        log_dir=log_dir,
    )


def train_rounded(
    model: Model,
    folded: keras.Model,
    kernels: Mapping[str, KernelCodes],
    data: TrainingData,
    settings: FitSettings,
    *,
    seed: int,
    checkpoint: Path,
    key: str,
    teacher: keras.Model | None,
    description: str,
    log_dir: Path | None,
) -> Model:
    """Train `folded`, made of `model`, changing it, with 8-bit rounding; see `train_quantized`."""
    rounding = with_rounding(folded, kernels)
    history = fit(
        rounding,
        data,
        settings,
        seed=seed,
        checkpoint=checkpoint,
        key=key,
        teacher=teacher,
        description=description,
        log_dir=log_dir,
    )
    # tfmot's wrappers put the rounded kernels into the layers; their own lists have the variables.
    trained = {weight.name: weight for weight in rounding.weights}
    for weight in folded.weights:
        weight.assign(trained[weight.name])
    kernels = trained_codes(rounding)
    assign_kernels(folded, kernels)
    codes = Codes(kernels, {}) if kernels else None
    return model.after(settings.model_dump(mode="json"), folded, history, codes)
