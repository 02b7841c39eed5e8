"""Read and write a config as YAML; a mistake is an error that names its line.

Assignments from the command line (`--set KEY=VALUE`) are applied before the whole is checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from edgenets.errors import EdgenetsError, unknown_name
from edgenets.files import read_bytes
from edgenets.pipeline.config import Place, RunConfig, check_config, default_net
from edgenets.quantize.recipe import DEFAULT_RECIPE, RECIPES, Recipe


def load_config(path: Path | None, assignments: Iterable[str] = ()) -> RunConfig:
    """Read a config file, apply `KEY=VALUE` assignments such as `train.epochs=5`, and check it.

    Args:
        path: the YAML file; None for the defaults.
        assignments: dotted keys (list items by number) and YAML values.

    Raises:
        EdgenetsError: the file cannot be read or is not YAML; a key is unknown or a value does not
            fit. The message names the file's line or the assignment.
    """
    name = str(path) if path else "config"
    text = read_bytes(path).decode("utf-8", "replace") if path else ""
    values, root = parse_yaml(text, name)
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise EdgenetsError(f"{name} must hold keys and values, such as `seed: 0`")
    assignments = tuple(assignments)
    of_file = values.get("model")
    assigned = {_assign(values, assignment): assignment for assignment in assignments}
    model = values.get("model")
    if of_file is None and isinstance(model, dict) and "name" not in model:
        values["model"] = {**default_net(values), **model}  # another net brings its own defaults

    def locate(place: Place) -> str:
        depth, line = find_line(root, place)
        for keys, assignment in assigned.items():
            if place[: len(keys)] == keys or (keys[: len(place)] == place and depth < len(place)):
                return f"--set {assignment}"
        return f"{name} line {line}" if root else name

    return check_config(values, locate)


def load_recipe(
    recipe: str, values: dict[str, Any], first: Sequence[dict[str, Any]] = ()
) -> RunConfig:
    """Return the config that `values` and a recipe fill.

    Args:
        recipe: a recipe's name, or a YAML file with a list of stages as under `compress`.
        values: all other keys.
        first: stages before those of the recipe.

    Raises:
        EdgenetsError: there is no such recipe, or it or a value does not fit.
    """
    if recipe in RECIPES:
        stages = [*first, *RECIPES[recipe]] if first else recipe
        return check_config({**values, "compress": stages}, lambda place: f"--recipe {recipe}")
    if Path(recipe).suffix not in (".yaml", ".yml"):
        raise EdgenetsError(f"{unknown_name('recipe', recipe, RECIPES)}; or pass a .yaml file")
    stages, root = parse_yaml(read_bytes(Path(recipe)).decode("utf-8", "replace"), recipe)
    if not isinstance(stages, list):
        raise EdgenetsError(f"{recipe} must hold a list of stages, such as `- stage: prune`")

    def locate(place: Place) -> str:
        keys = place[1:]
        if keys and isinstance(keys[0], int):
            keys = (keys[0] - len(first), *keys[1:])
        return f"{recipe} line {find_line(root, keys)[1]}"

    return check_config({**values, "compress": [*first, *stages]}, locate)


def dump_recipe(recipe: Recipe) -> str:
    """Return a recipe as YAML with every default written out; `load_recipe` reads it."""
    return yaml.safe_dump([stage.model_dump(mode="json") for stage in recipe], sort_keys=False)


def dump_config(config: RunConfig) -> str:
    """Return `config` as YAML with every default written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _assign(values: dict[str, Any], assignment: str) -> Place:
    dotted, equals, text = assignment.partition("=")
    keys = tuple(map(_key, dotted.split(".")))
    if not equals or not dotted:
        raise EdgenetsError(f"--set needs KEY=VALUE, such as train.epochs=5, got {assignment!r}")
    value, _ = parse_yaml(text, f"the value of --set {assignment}")
    if keys[0] == "compress" and len(keys) > 1 and not isinstance(values.get("compress"), list):
        recipe = RECIPES.get(str(values.get("compress", DEFAULT_RECIPE)), ())
        values["compress"] = [stage.model_dump() for stage in recipe]
    if keys[0] == "model" and "model" not in values:
        values["model"] = {}
    inner: Any = values
    try:
        for key in keys[:-1]:
            inner = inner.setdefault(key, {}) if isinstance(inner, dict) else inner[key]
        inner[keys[-1]] = value
    except (TypeError, IndexError, AttributeError) as error:
        raise EdgenetsError(
            f"--set {assignment}: there is no such key; give one such as train.epochs, "
            "or a stage's by its number, such as compress.0.sparsity"
        ) from error
    return keys


def _key(part: str) -> int | str:
    """Return a key, or the number of an item in a list, which has fewer than a billion."""
    return int(part) if part.isdecimal() and len(part) < 10 else part


def parse_yaml(text: str, name: str) -> tuple[Any, Any]:
    """Return the value of a YAML text and its tree of nodes, which knows the lines."""
    try:
        root = yaml.compose(text, yaml.SafeLoader)
        _refuse_duplicates(root, name)
        return yaml.safe_load(text), root
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        raise EdgenetsError(f"{name}{line} is not valid YAML: {reason}") from error


def _refuse_duplicates(root: Any, name: str) -> None:
    """Refuse a key that is there twice, of which YAML would silently take the last."""
    nodes, seen = [root], set()
    while nodes:
        node = nodes.pop()
        if not isinstance(node, yaml.CollectionNode) or id(node) in seen:  # of an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            nodes += node.value
            continue
        lines: dict[str, int] = {}
        for key, value in node.value:
            nodes.append(value)
            if not isinstance(key, yaml.ScalarNode):  # which YAML refuses as a key
                continue
            line = key.start_mark.line + 1
            if str(key.value) in lines:
                raise EdgenetsError(
                    f"{name} line {line}: the key {key.value!r} is there twice (first in line "
                    f"{lines[key.value]}); remove one"
                )
            lines[str(key.value)] = line


def find_line(node: Any, place: Place) -> tuple[int, int]:
    """Return how many keys of `place` the file has, and the line of the last of them."""
    line = node.start_mark.line + 1 if node else 1
    for depth, part in enumerate(place):
        if isinstance(node, yaml.MappingNode):
            inner = [pair for pair in node.value if pair[0].value == str(part)]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            inner = [(value, value) for value in node.value[part : part + 1]]
        else:
            inner = []
        if not inner:
            return depth, line
        line, node = inner[0][0].start_mark.line + 1, inner[0][1]
    return len(place), line
