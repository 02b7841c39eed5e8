"""A sweep file: read, checked whole before anything is done, and written with its defaults.

Loads no TensorFlow: a mistake is told at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic
import yaml

from edgenets.errors import EdgenetsError, unknown_name
from edgenets.export.targets import Target, find_target
from edgenets.files import read_bytes
from edgenets.pipeline.config import RunConfig, require_runnable, sentence_of
from edgenets.pipeline.config_file import parse_yaml
from edgenets.pipeline.sweep.space import SweepConfig, points_of, run_config

PATHS = {
    *(("data", key) for key in ("source", "unlabelled")),
    *(("train", key) for key in ("weights", "labels", "teacher")),
}
"""The keys of a run's config that may name files."""


def load_sweep(path: Path) -> SweepConfig:
    """Read a sweep file and check it whole.

    Raises:
        EdgenetsError: it cannot be read, or a key, net, argument, recipe, target or constraint in
            it is unknown or does not fit.
    """
    values, _ = parse_yaml(read_bytes(path).decode("utf-8", "replace"), str(path))
    if not isinstance(values, dict):
        raise EdgenetsError(f"{path} must hold keys and values, such as `nets: [...]`")
    return check_sweep(values, str(path))


def check_sweep(values: dict[str, Any], name: str) -> SweepConfig:
    """Return the config that `values` fill; `name` is what messages call it. Errors as above."""
    try:
        config = SweepConfig.model_validate(values)
    except pydantic.ValidationError as error:
        raise EdgenetsError(f"{name}: {_sentence(error.errors()[0])}") from error
    try:
        targets = [find_target(target) for target in config.targets]
        _ = config.bounds
        _check_names(config)
        _check_costs(config, targets)
        _check_conditions(config)
        _check_run(config.run)
        runs = _runs_of_recipes(config)
        for run in runs.values():
            require_runnable(run)
    except EdgenetsError as error:
        raise EdgenetsError(f"{name}: {error}") from error
    if config.run.get("train", {}).get("epochs") == 0:
        raise EdgenetsError(f"{name}: run.train.epochs must be at least 1 in a sweep, got 0")
    return _with_absolute_paths(config, runs)


def dump_sweep(config: SweepConfig) -> str:
    """Return the config as YAML with every default written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _runs_of_recipes(config: SweepConfig) -> dict[str, RunConfig]:
    """Return by recipe the config of the last run that has it, with the paths of files absolute."""
    points = {point.recipe: point for point in points_of(config)}
    return {name: run_config(config, point, config.targets[0]) for name, point in points.items()}


def _check_run(run: dict[str, Any]) -> None:
    export = run.get("export", {})
    if not isinstance(export, dict):
        raise EdgenetsError(f"run.export must be keys and values, got {export!r}")
    for key, section in (("model", run), ("compress", run), ("target", export)):
        if key in section:
            name = f"run{'.export' if section is export else ''}.{key}"
            raise EdgenetsError(f"{name} is what the sweep chooses; leave it out of run")


def _check_names(config: SweepConfig) -> None:
    """Refuse a name that is there twice: of two recipes one would never be tried."""
    for kind, names, mend in (
        ("recipe", config.recipe_names, "give one another name, or leave it out"),
        ("target", config.targets, "leave one out"),
    ):
        for name in names:
            if names.count(name) > 1:
                raise EdgenetsError(f"the {kind} {name!r} is there twice; {mend}")


def _check_costs(config: SweepConfig, targets: Sequence[Target]) -> None:
    for word, figure in zip(config.minimise, config.costs, strict=True):
        if not figure.is_counted:
            raise EdgenetsError(
                f"{word} is known at a point's end alone, and cannot be minimised; constrain it"
            )
        without = [target.name for target in targets if not figure.applies(target)]
        if len(without) == len(targets) or (without and figure is config.costs[0]):
            raise EdgenetsError(
                f"minimise: {word} are not known for {', '.join(without)}; take another figure"
                f"{' first, by which the front is drawn' if len(without) < len(targets) else ''}"
            )


def _check_conditions(config: SweepConfig) -> None:
    known = dict.fromkeys(("recipe", *(key for entry in config.nets for key in entry)))
    for condition in config.conditions:
        for key in (*condition.when, *condition.then):
            if key not in known:
                raise unknown_name("key of a condition", key, known)


def _sentence(error: Any) -> str:
    """Return what is wrong with a value of a sweep file."""
    loc = error["loc"]
    if loc[0] != "recipes":
        return sentence_of(error, loc, SweepConfig)
    # Pydantic puts the kind of a recipe behind its number, and a stage's name behind that of it.
    place = (*loc[:1], *loc[3:5], *loc[6:])
    return sentence_of({**error, "loc": ("compress", *loc[4:])}, place)


def _with_absolute_paths(config: SweepConfig, runs: Mapping[str, RunConfig]) -> SweepConfig:
    """Let the sweep's folder mean the same files from every working directory."""
    absolute = next(iter(runs.values()))
    recipes = [
        each
        if isinstance(each, str)
        else {name: runs[name].compress if name in runs else each[name] for name in each}
        for each in config.recipes
    ]
    run = {
        section: {
            key: getattr(getattr(absolute, section), key) if (section, key) in PATHS else value
            for key, value in values.items()
        }
        if isinstance(values, dict)
        else values
        for section, values in config.run.items()
    }
    return config.model_copy(update={"run": run, "recipes": tuple(recipes)})
