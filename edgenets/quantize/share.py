"""Share weights: let each kernel use few distinct values, and train those values.

Source: Han et al. 2015, arXiv:1510.00149, section 3: k-means with linear initialisation, each
centroid moved by the sum of its members' gradients; through tfmot, which also keeps the zeros.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import pydantic

from edgenets.models.backend import keras, tfmot, tfmot_clustering
from edgenets.quantize.layers import copy_model, restore_weights
from edgenets.train.fit import FitSettings, TrainingData, fit


class ShareSettings(FitSettings):
    """How many values each 1x1 convolution and dense kernel may use."""

    stage: Literal["share"] = "share"
    clusters: int = pydantic.Field(32, ge=2)  # zero included
    epochs: pydantic.PositiveInt = 4
    warmup_epochs: pydantic.NonNegativeFloat = 0
    # Decay would pull kernels away from their centroids without being seen by the loss.
    weight_decay: pydantic.NonNegativeFloat = 0

    usual_learning_rate: ClassVar[float] = 2e-4


def share_weights(
    model: keras.Model,
    data: TrainingData,
    settings: ShareSettings,
    *,
    seed: int,
    checkpoint: Path,
    key: str,
) -> tuple[keras.Model, dict[str, list[float]]]:
    """Return a fine-tuned copy of `model` with shared weights and the history of its training.

    Every kernel that `is_compressible` names holds at most `clusters` distinct values and is zero
    wherever it was; the others are trained but not shared. This holds for the float kernels:
    folding BatchNorm and scaling per channel give the int8 file more distinct integers.
    """
    clustering = tfmot.clustering.keras
    wrapped = copy_model(
        model,
        lambda layer: tfmot_clustering.cluster_weights(
            layer,
            number_of_clusters=settings.clusters,
            cluster_centroids_init=clustering.CentroidInitialization.LINEAR,
            preserve_sparsity=True,
        ),
    )
    history = fit(
        wrapped,
        data,
        settings,
        seed=seed,
        checkpoint=checkpoint,
        key=key,
        description="share",
    )
    return restore_weights(model, clustering.strip_clustering(wrapped)), history
