"""A choice by layer as a recipe, and the int8 file that it gives before any training: its draft.

What a package takes depends on all bytes of its file; a draft has those of the final file but for
what training moves.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from statistics import mode

from edgenets.export.metadata import with_description
from edgenets.export.write import tflite
from edgenets.export.write.codes import read_grids, set_codes
from edgenets.files import sha256_bytes
from edgenets.flatbuffer import File
from edgenets.models.backend import keras
from edgenets.models.codes import Codes
from edgenets.models.fold import fold_batch_norm
from edgenets.models.folder import Model
from edgenets.pipeline.figures import Figure
from edgenets.pipeline.stages.inputs import RunImages
from edgenets.quantize.budget.choice import MOST_CLUSTERS, Choice
from edgenets.quantize.budget.sensitivity import compress_untrained
from edgenets.quantize.layers import prunable_layers
from edgenets.quantize.recipe import AnyStage, Recipe
from edgenets.quantize.settings import (
    Int8Settings,
    PruneOverride,
    PruneSettings,
    ShareOverride,
    ShareSettings,
)
from edgenets.quantize.stages.prune import sparsity_of


class Drafts:
    """The int8 files that choices give without training.

    Attributes:
        prunable: names of the layers that a choice may prune.
    """

    def __init__(self, model: Model, images: RunImages, base: Recipe) -> None:
        """Prepare the drafts of a model without shared weights; `base` is as in chosen_recipe."""
        self.model, self.images, self.base = model, images, base
        pruning = next((stage for stage in base if isinstance(stage, PruneSettings)), None)
        layers = prunable_layers(model.net) if pruning else []
        self.prunable = [layer.name for layer in layers if pruning and sparsity_of(layer, pruning)]

    def figure(self, choice: Choice, figure: Figure) -> int:
        """Return a figure of a choice's file."""
        draft = self.model
        for stage in self.recipe(choice):
            draft = draft.after(stage.model_dump(mode="json"), self._folded)
        kernels = compress_untrained(self.model.net, self._folded, choice)
        if figure.target.rewrites:  # the net is another, and so is the file
            grids = read_grids(self._int8_file, self._folded)
            return figure.of_model(Model(self._folded, draft.spec, Codes(kernels, grids)))
        file = File(self._int8_file)
        set_codes(file, self._folded, Codes(kernels, {}))
        described = with_description(file, draft.spec, sha256_bytes(file.content))
        return figure.of_file(described.content)

    def recipe(self, choice: Choice) -> Recipe:
        """Return the recipe of a choice."""
        return chosen_recipe(self.base, choice, self.prunable)

    @cached_property
    def _folded(self) -> keras.Model:
        return fold_batch_norm(self.model.net)

    @cached_property
    def _int8_file(self) -> bytes:
        """The file without any compression, into which other codes are put."""
        settings = next(stage for stage in self.base if isinstance(stage, Int8Settings))
        calibration = self.images.calibration(settings.calibration_images)
        return tflite.to_int8(self._folded, self.model.spec, calibration)


def chosen_recipe(base: Recipe, choice: Choice, prunable: Collection[str]) -> Recipe:
    """Return `base` with the sparsities and numbers of shared values of a choice.

    A stage that has nothing to do any more is left out. What most layers have is the stage's
    setting, and the others are named.

    Args:
        prunable: the layers that the recipe prunes if none is named.
    """
    stages: list[AnyStage] = []
    for stage in base:
        if isinstance(stage, PruneSettings):
            sparsities = {name: choice[name].sparsity for name in prunable}
            if not any(sparsities.values()):
                continue
            usual = mode(filter(None, sparsities.values()))
            dense_or_other = {
                name: PruneOverride(sparsity=sparsity)
                for name, sparsity in sparsities.items()
                if sparsity != usual
            }
            stage = stage.model_copy(update={"sparsity": usual, "layers": dense_or_other})
        elif isinstance(stage, ShareSettings):
            clusters = {name: option.clusters for name, option in choice.items()}
            if set(clusters.values()) == {MOST_CLUSTERS}:
                continue
            most = mode(clusters.values())
            other = {name: ShareOverride(clusters=k) for name, k in clusters.items() if k != most}
            stage = stage.model_copy(update={"clusters": most, "layers": other})
        stages.append(stage)
    return tuple(stages)
