"""The config of a sweep, and the points of its space: which net, which arguments, which recipe.

Every list and range is a finite axis, so that the space is a finite list of points in an order that
is always the same. Loads no TensorFlow: a mistake is told at once.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple

import pydantic

from edgenets.errors import EdgenetsError
from edgenets.export.targets import GENERIC
from edgenets.models.registry import BASELINES, NETS, complete_arguments
from edgenets.pipeline.config import RunConfig, check_config
from edgenets.pipeline.sweep.constraints import (
    Constraint,
    Figure,
    find_figure,
    parse_constraint,
)
from edgenets.quantize.recipe import DEFAULT_RECIPE, Recipe
from edgenets.settings import Settings

MOST_POINTS = 100_000
BENCHMARK = {"min_seconds": 0.1, "per_op": False}
"""Of a trial, where other trials run beside it and a latency says little."""


class Halving(Settings):
    """Successive halving: of those trained for a part of the epochs the best go on.

    Source: Jamieson and Talwalkar 2016, arXiv:1502.07943.
    """

    factor: int = pydantic.Field(3, ge=2)  # one in so many goes on, for as many times the epochs
    rungs: int = pydantic.Field(2, ge=0)  # how often is chosen before the end; 0: all are trained

    @property
    def parts(self) -> list[float]:
        """The part of the epochs that a net is trained for at each rung.

        >>> Halving(factor=2, rungs=2).parts
        [0.25, 0.5]
        """
        return [float(self.factor) ** -rung for rung in range(self.rungs, 0, -1)]


class Condition(Settings):
    """What arguments a point must have that has certain others."""

    when: dict[str, Any]
    then: dict[str, Any]

    def allows(self, point: Point) -> bool:
        """Return whether a point keeps it; one without the arguments of `when` does."""
        values = {"net": point.net, "recipe": point.recipe, **point.arguments}
        if any(values.get(key) not in _values(value) for key, value in self.when.items()):
            return True
        return all(values.get(key) in _values(value) for key, value in self.then.items())


NamedRecipe = Annotated[
    Annotated[str, pydantic.Tag("name")]
    | Annotated[dict[str, Recipe], pydantic.Field(min_length=1), pydantic.Tag("own")],
    pydantic.Discriminator(lambda recipe: "name" if isinstance(recipe, str) else "own"),
]
"""One of edgenets' own, or the stages of some under names."""


class SweepConfig(Settings):
    """All that a sweep depends on, but for the images and the edgenets version."""

    nets: tuple[dict[str, Any], ...] = pydantic.Field(min_length=1)
    recipes: tuple[NamedRecipe, ...] = pydantic.Field((DEFAULT_RECIPE,), min_length=1)
    targets: tuple[str, ...] = pydantic.Field((GENERIC.name,), min_length=1)
    conditions: tuple[Condition, ...] = ()
    constraints: tuple[str, ...] = ()
    search: Literal["grid", "random", "tpe"] = "grid"
    trials: pydantic.PositiveInt | None = None  # at most; by default as many as there are points
    generation: pydantic.PositiveInt = 9  # of tpe: trials that are chosen and halved together
    halving: Halving = Halving()
    minimise: tuple[str, ...] = pydantic.Field(("stored",), min_length=1)
    seed: int = pydantic.Field(0, ge=0, lt=2**31)
    run: dict[str, Any] = pydantic.Field(default_factory=dict)  # as the config of `edgenets run`

    @pydantic.field_serializer("recipes")
    def _with_stages(self, recipes: tuple[str | dict[str, Recipe], ...]) -> list[Any]:
        """Dump each stage by itself: in the union, pydantic warns of whole numbers for floats."""
        return [
            each if isinstance(each, str) else {name: self.recipe(name) for name in each}
            for each in recipes
        ]

    @property
    def bounds(self) -> list[Constraint]:
        """The constraints, parsed."""
        return [parse_constraint(text, self.targets) for text in self.constraints]

    @property
    def costs(self) -> list[Figure]:
        """What a point has as little as possible of."""
        return [find_figure(word) for word in self.minimise]

    @property
    def images(self) -> list[str]:
        """The folders of images that its runs read."""
        data = self.run.get("data", {})
        named = [data.get("source", "digits"), data.get("unlabelled")]
        return [name for name in named if name not in ("digits", None)]

    @property
    def recipe_names(self) -> list[str]:
        """What the recipes are called."""
        return [
            name for each in self.recipes for name in ([each] if isinstance(each, str) else each)
        ]

    def recipe(self, name: str) -> Any:
        """Return the stages of a recipe, or its name if it is one of edgenets' own."""
        own = [each[name] for each in self.recipes if isinstance(each, dict) and name in each]
        return [stage.model_dump(mode="json") for stage in own[0]] if own else name


class Point(NamedTuple):
    """One net with one way to make it small."""

    net: str
    arguments: dict[str, Any]
    recipe: str

    def __str__(self) -> str:
        """Return it as a person writes it."""
        given = " ".join(f"{key}={value}" for key, value in self.arguments.items())
        return f"{self.net} {given} {self.recipe}"

    @property
    def key(self) -> str:
        """A text that only equal points have."""
        return json.dumps([*self], sort_keys=True)

    @property
    def net_key(self) -> str:
        """A text that points have which are one net until it is compressed."""
        return self._replace(recipe="").key


def points_of(config: SweepConfig) -> Iterator[Point]:
    """Yield every point of the space that keeps the conditions, each once, in order.

    Raises:
        EdgenetsError: a net or argument is unknown or does not fit, or there is no point, or there
            are more than anyone can count.
    """
    seen: set[str] = set()
    for entry, recipe in itertools.product(config.nets, config.recipe_names):
        for point in _points_of_entry(entry, recipe):
            allowed = all(condition.allows(point) for condition in config.conditions)
            if allowed and point.key not in seen:
                seen.add(point.key)
                if len(seen) > MOST_POINTS:
                    raise EdgenetsError(
                        f"the space must have at most {MOST_POINTS} points; shorten a list"
                    )
                yield point
    if not seen:
        raise EdgenetsError("the conditions leave no point of the space; loosen one")


def run_config(config: SweepConfig, point: Point, target: str) -> RunConfig:
    """Return the config of the run that a point is for a target.

    Raises:
        EdgenetsError: a key of `run` is unknown, or a value does not fit.
    """
    run = config.run
    values = {
        "benchmark": BENCHMARK,
        "seed": config.seed,
        **run,
        "model": {"name": point.net, **point.arguments},
        "compress": config.recipe(point.recipe),
        "export": {**run.get("export", {}), "target": target},
    }
    return check_config(values, lambda place: "run" if place[0] in run else "the space")


def _points_of_entry(entry: dict[str, Any], recipe: str) -> Iterator[Point]:
    if "net" not in entry:
        raise EdgenetsError(f"net is missing in {entry}; add one that `edgenets list` shows")
    for net in _values(entry["net"]):
        if net in BASELINES:
            raise EdgenetsError(f"{net} is a baseline, which is not trained; take another net")
        axes = {key: _values(value) for key, value in entry.items() if key != "net"}
        for argument, values in axes.items():
            for value in values:  # on its own: which one does not fit is then clear
                complete_arguments(str(net), {argument: value})
        for chosen in itertools.product(*axes.values()):
            arguments = dict(zip(axes, chosen, strict=True))
            complete = complete_arguments(str(net), arguments)
            yield Point(
                net, {key: complete[key] for key in NETS[net].arguments if key in axes}, recipe
            )


def _values(value: Any) -> list[Any]:
    """Return the values of an axis: of a list, of a range, or the only one.

    >>> _values({"from": 0.25, "to": 0.75, "step": 0.25}), _values([1, 2]), _values("int8")
    ([0.25, 0.5, 0.75], [1, 2], ['int8'])
    """
    if isinstance(value, list | tuple):
        if not value:
            raise EdgenetsError("a list of values must have at least one; add one, or leave it out")
        return list(value)
    if not isinstance(value, dict):
        return [value]
    numbers = [value[key] for key in ("from", "to", "step") if key in value]
    is_range = len(value) == len(numbers) == 3 and all(isinstance(n, int | float) for n in numbers)
    if not is_range or not (numbers[0] <= numbers[1] and numbers[2] > 0):
        raise EdgenetsError(
            "a range must be {from: LOW, to: HIGH, step: STEP}, such as {from: 0.25, to: 1.0, "
            f"step: 0.25}}, got {value}"
        )
    low, high, step = numbers
    return [round(low + i * step, 9) for i in range(int((high - low) / step + 1e-9) + 1)]
