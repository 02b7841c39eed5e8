"""The stages of a run in order, each a function that makes its folder from the previous one's.

The functions do the work and know nothing of resuming, which `edgenets.pipeline.run` does for them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from edgenets.models.folder import Model
from edgenets.pipeline.config import RunConfig
from edgenets.pipeline.near import identity_of
from edgenets.pipeline.stages.compress import compress_stage
from edgenets.pipeline.stages.export import benchmark_stage, export_stage
from edgenets.pipeline.stages.inputs import RunImages, training_settings
from edgenets.pipeline.stages.places import Record
from edgenets.pipeline.stages.train import train_stage
from edgenets.quantize.recipe import AnyStage, Recipe
from edgenets.quantize.settings import NearSettings


class Stage(NamedTuple):
    """One step of a run."""

    name: str
    settings: Record  # what its result depends on, beside the stages before it
    work: Callable[[Path, Path, str], Record]  # (own folder, previous folder, key) -> measurements


def plan(
    config: RunConfig,
    images: RunImages,
    initial: Model | None,
    log_dir: Path | None = None,
    pause: float | None = None,
) -> list[Stage]:
    """Return the stages of a run in order.

    Args:
        config, images, initial: what the run begins with.
        log_dir: trainings write events for TensorBoard into it.
        pause: part of the first training's epochs after which it raises `Paused`.
    """
    settings = config.model_dump(mode="json")
    return [
        training_stage(images, initial, log_dir, pause),
        *compress_stages(config.compress, images, log_dir),
        Stage("export", settings["export"], partial(export_stage, config.export, images)),
        Stage("benchmark", settings["benchmark"], partial(benchmark_stage, config)),
    ]


def training_stage(
    images: RunImages, initial: Model | None, log_dir: Path | None, pause: float | None = None
) -> Stage:
    """Return the stage that trains the net of the images' config."""
    return Stage(
        "train",
        training_settings(images.config, initial),
        partial(train_stage, images, initial, log_dir, pause),
    )


def compress_stages(recipe: Recipe, images: RunImages, log_dir: Path | None = None) -> list[Stage]:
    """Return the stages of a recipe in order."""
    return [
        Stage(
            stage.stage,
            _settings_of(stage),
            partial(compress_stage, stage, images, log_dir),
        )
        for stage in recipe
    ]


def _settings_of(stage: AnyStage) -> Record:
    """Return what a stage's result depends on; a base by what it is, not by its place."""
    settings: Record = stage.model_dump(mode="json")
    if isinstance(stage, NearSettings):
        settings["base"] = identity_of(Path(stage.base))
    return settings
