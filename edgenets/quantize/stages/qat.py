"""Quantization-aware training: fold BatchNorm, then train with 8-bit rounding, zeros kept.

Source: Jacob et al. 2017, arXiv:1712.05877.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgenets.models.backend import keras
from edgenets.models.codes import KernelCodes
from edgenets.models.fold import fold_batch_norm
from edgenets.quantize.layers import Compressed, assign_kernels
from edgenets.quantize.settings import QatSettings
from edgenets.quantize.stages.rounding import trained_codes, with_rounding
from edgenets.training.data import TrainingData
from edgenets.training.fit import fit
from edgenets.training.settings import FitSettings


def train_quantized(
    model: keras.Model,
    kernels: Mapping[str, KernelCodes],
    data: TrainingData,
    settings: QatSettings,
    *,
    seed: int,
    checkpoint: Path,
    key: str,
    teacher: keras.Model | None = None,
    log_dir: Path | None = None,
) -> Compressed:
    """Return a folded copy of `model` trained to bear 8-bit rounding, and its training's history.

    Weights that are zero stay zero, and shared weights, of which `kernels` has the codes, stay
    shared. Without codes the result is an ordinary float model without BatchNorm, whose weights
    have learned to be rounded.

    Raises:
        EdgenetsError: a layer of the model cannot be folded or rounded.
    """
    return train_rounded(
        fold_batch_norm(model),
        kernels,
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
) -> Compressed:
    """Train `folded`, changing it, with 8-bit rounding; see `train_quantized`."""
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
    return Compressed(folded, kernels, history)
