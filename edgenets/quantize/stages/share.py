"""Share weights: let each kernel of the int8 file use few distinct codes, and train through that.

Source: Han et al. 2015, arXiv:1510.00149, section 3, here on the integers of the folded net.
"""

from __future__ import annotations

from pathlib import Path

from edgenets.models.backend import keras
from edgenets.models.fold import fold_batch_norm
from edgenets.models.folder import Model
from edgenets.quantize.layers import check_patterns, override_for
from edgenets.quantize.settings import ShareSettings
from edgenets.quantize.stages.codebook import share_codes
from edgenets.quantize.stages.int8 import quantize_kernels
from edgenets.quantize.stages.qat import train_rounded
from edgenets.training.data import TrainingData


def share_weights(
    model: Model,
    data: TrainingData,
    settings: ShareSettings,
    *,
    seed: int,
    checkpoint: Path,
    key: str,
    teacher: keras.Model | None = None,
    log_dir: Path | None = None,
) -> Model:
    """Return a folded copy of `model` with shared weights and their codes.

    Codes that the kernels have already are shared among fewer.

    Every kernel of the result is its codes times their scales, with at most as many distinct codes
    as the settings say, and zero wherever it was.

    Raises:
        EdgenetsError: a pattern matches no layer, or a layer cannot be folded or rounded.
    """
    check_patterns(model.net, settings.layers)
    folded = fold_batch_norm(model.net)
    shared = {
        name: share_codes(kernel, (override_for(name, settings.layers) or settings).clusters)
        for name, kernel in (model.kernels or quantize_kernels(folded)).items()
    }
    return train_rounded(
        model,
        folded,
        shared,
        data,
        settings,
        seed=seed,
        checkpoint=checkpoint,
        key=key,
        teacher=teacher,
        description="share",
        log_dir=log_dir,
    )
