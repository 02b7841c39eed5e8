"""Recipes: which compression stages a model goes through, in which order, under a name.

A recipe is a list of stages, in YAML as under `compress` of a config of `edgenets run`.

Loads no TensorFlow.

Source: the order is that of Deep Compression, arXiv:1510.00149: prune, share weights, 8 bits.
"""

from __future__ import annotations

import itertools
from typing import Annotated, Any, get_args

import pydantic
from pydantic_core import PydanticCustomError

from edgenets.errors import unknown_name
from edgenets.quantize.settings import (
    Fp16Settings,
    Int8Settings,
    NearSettings,
    PruneSettings,
    QatSettings,
    RateSettings,
    ShareSettings,
    SlimSettings,
)
from edgenets.settings import Settings

AnyStage = (
    SlimSettings
    | PruneSettings
    | ShareSettings
    | QatSettings
    | Int8Settings
    | RateSettings
    | NearSettings
    | Fp16Settings
)
STAGE_SETTINGS: dict[str, type[Settings]] = {
    settings.model_fields["stage"].default: settings for settings in get_args(AnyStage)
}

RECIPES: dict[str, tuple[AnyStage, ...]] = {
    "slim": (SlimSettings(), Int8Settings()),
    "deep-compression": (PruneSettings(), ShareSettings(), Int8Settings()),
    "prune": (PruneSettings(), Int8Settings()),
    "share": (ShareSettings(), Int8Settings()),
    "qat": (QatSettings(), Int8Settings()),
    "int8": (Int8Settings(),),
    "rate": (RateSettings(),),
    "smallest": (RateSettings(epochs=None),),
    "fp16": (Fp16Settings(),),
    "prune-xnnpack": (PruneSettings(policy="xnnpack", sparsity=0.8),),
}
DEFAULT_RECIPE = "deep-compression"
UNDOING = {
    *(("share", "prune"), ("qat", "prune"), ("share", "fp16")),
    *((stage, "slim") for stage in ("prune", "share", "qat")),
}
"""Pairs of stages of which the second one must not come after the first."""
LAST = ("int8", "rate", "near", "fp16")
"""Stages that settle what the file holds."""


def _by_name(recipe: Any) -> Any:
    """Return the stages of a recipe that is given by its name."""
    if not isinstance(recipe, str):
        return recipe
    if recipe not in RECIPES:
        sentence = str(unknown_name("recipe", recipe, RECIPES))
        raise PydanticCustomError("recipe_name", "{sentence}", {"sentence": sentence})
    return RECIPES[recipe]


def _check_order(stages: tuple[AnyStage, ...]) -> tuple[AnyStage, ...]:
    names = [stage.stage for stage in stages]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name} is there twice; each stage may stand once")
    for first, then in itertools.combinations(names, 2):
        if first in LAST:
            raise ValueError(f"{then} after {first} would change its weights; let {first} be last")
        if (first, then) in UNDOING:
            hint = "leave one of them out" if then in LAST else f"let {then} stand first"
            raise ValueError(f"{then} after {first} would undo it; {hint}")
    return stages


Recipe = Annotated[
    tuple[Annotated[AnyStage, pydantic.Field(discriminator="stage")], ...],
    pydantic.BeforeValidator(_by_name),
    pydantic.AfterValidator(_check_order),
]
"""The stages of a recipe; from a config, or a recipe's name."""
