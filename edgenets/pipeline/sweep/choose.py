"""Which points of a space are tried: all, some at random, or what a model of the last ones prefers.

Each choice depends on the config and on the trials before it alone, so that a sweep which was
interrupted chooses the same.

Source: Ozaki et al. 2022, Multiobjective tree-structured Parzen estimator, in Optuna.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from edgenets.pipeline.sweep.space import Point, SweepConfig, points_of
from edgenets.pipeline.sweep.store import ENDED, Trial, directions, objectives

TRIES = 20
"""Proposals that were tried already are refused so often; then a new point is taken at random."""


def next_generation(config: SweepConfig, trials: Sequence[Trial]) -> list[Point]:
    """Return the points that are tried next, together; none where the sweep is complete."""
    tried = {trial.point.key for trial in trials}
    points = list(points_of(config))
    left = [point for point in points if point.key not in tried]
    room = min(len(left), (config.trials or len(points)) - len(trials))
    if config.search == "tpe":
        chosen: list[Point] = []
        for _ in range(min(room, config.generation)):
            point = _propose(config, points, trials, left, len(trials) + len(chosen))
            chosen.append(point)
            left.remove(point)
        return chosen
    if trials:  # a grid and points at random are one generation
        return []
    if config.search == "random":
        left = [left[i] for i in np.random.default_rng(config.seed).permutation(len(left))]
    return left[:room]


def _propose(
    config: SweepConfig,
    points: Sequence[Point],
    trials: Sequence[Trial],
    left: Sequence[Point],
    number: int,
) -> Point:
    """Return the point of `left` that the estimator proposes as the trial of this number."""
    axes = _Axes(points)
    known = [axes.frozen(config, trial) for trial in trials if trial.state in ENDED]
    for attempt in range(TRIES):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                seed=config.seed + number * TRIES + attempt, n_startup_trials=config.generation
            )
        study = optuna.create_study(directions=directions(config), sampler=sampler)
        study.add_trials(known)
        point = axes.suggest(study.ask())
        if point is not None and point.key in {each.key for each in left}:
            return point
    return left[int(np.random.default_rng((config.seed, number)).integers(len(left)))]


class _Axes:
    """A list of points as Optuna's parameters: the net and which arguments it is given, then their
    values, then the recipe."""

    def __init__(self, points: Sequence[Point]) -> None:
        self.points = {point.key: point for point in points}
        self.recipes = list(dict.fromkeys(point.recipe for point in points))
        self.values: dict[str, dict[str, list[Any]]] = {}
        self.nets: dict[str, str] = {}
        for point in points:
            self.nets[_kind(point)] = point.net
            own = self.values.setdefault(_kind(point), {})
            for argument, value in point.arguments.items():
                values = own.setdefault(argument, [])
                if value not in values:
                    values.append(value)
        for own in self.values.values():
            for values in own.values():
                if all(isinstance(value, int | float) for value in values):
                    values.sort()

    def suggest(self, trial: optuna.Trial) -> Point | None:
        """Return the point that a trial asks for; None where it is not in the space."""
        kind = trial.suggest_categorical("net", list(self.values))
        arguments = {}
        for argument, values in self.values[kind].items():
            name, distribution = _axis(kind, argument, values)
            arguments[argument] = values[int(trial._suggest(name, distribution))]
        recipe = trial.suggest_categorical("recipe", self.recipes)
        return self.points.get(Point(self.nets[kind], arguments, recipe).key)

    def frozen(self, config: SweepConfig, trial: Trial) -> optuna.trial.FrozenTrial:
        """Return a trial that has ended as Optuna has it."""
        point, kind = trial.point, _kind(trial.point)
        parameters: dict[str, Any] = {"net": kind, "recipe": point.recipe}
        distributions: dict[str, BaseDistribution] = {
            "net": CategoricalDistribution(list(self.values)),
            "recipe": CategoricalDistribution(self.recipes),
        }
        for argument, value in point.arguments.items():
            values = self.values[kind][argument]
            name, distributions_of = _axis(kind, argument, values)
            parameters[name], distributions[name] = values.index(value), distributions_of
        finished = trial.state == "finished"
        return create_trial(
            state=TrialState.COMPLETE if finished else TrialState.PRUNED,
            values=objectives(config, trial.measured, trial.counted) if finished else None,
            params=parameters,
            distributions=distributions,
            constraints={"outside": float(trial.state in ("outside", "failed"))},
        )


def _kind(point: Point) -> str:
    """Return what points have in common that differ in values alone."""
    return " ".join((point.net, *point.arguments))


def _axis(kind: str, argument: str, values: list[Any]) -> tuple[str, BaseDistribution]:
    """Return the name and distribution of an axis of a net: the place of a value among them."""
    if all(isinstance(value, int | float) for value in values):
        return f"{kind}.{argument}", IntDistribution(0, len(values) - 1)
    return f"{kind}.{argument}", CategoricalDistribution(list(range(len(values))))
