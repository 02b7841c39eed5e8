"""What a sweep found, as JSON: the content of sweep.json."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import edgenets
from edgenets.pipeline.sweep.constraints import broken
from edgenets.pipeline.sweep.front import accuracy_difference, front_of
from edgenets.pipeline.sweep.space import SweepConfig
from edgenets.pipeline.sweep.store import Trial
from edgenets.pipeline.sweep.trial import Row

COUNTED = ("params", "macs", "stored_bytes", "size_bytes", "arena_bytes", "instructions", "cycles")
MEASURED = ("top1", "ci95", "samples", "top1_drop", "right", "run")


def summarize(config: SweepConfig, trials: Sequence[Trial]) -> dict[str, Any]:
    """Return the content of sweep.json.

    Returns:
        trials: a row for each trial and target. Its `state`: "finished", or why it has no accuracy;
            `measured`, whether its figures are those of the final file or of the untrained one.
        front: indices of the rows on the fronts of the first cost, target by target.
        chosen: by target the last one of the front: none is surely more accurate.
        epochs: passes over the training images, of all trials together: a training that trials of
            one net have in common counts once.
        removed: by constraint, how many points were never trained because of it.
        broken: by constraint, how many trained files do not keep it.
    """
    rows = [row for trial in trials for row in _rows(config, trial)]
    cost = config.costs[0].key
    fronts = {target: front_of_target(rows, target, cost) for target in config.targets}
    for target, front in fronts.items():
        for row in rows:
            if row["target"] == target and row["state"] == "finished":
                row["alike"] = [i for i in front if rows[i] is not row and _alike(row, rows[i])]
    return {
        "trials": rows,
        "front": [i for front in fronts.values() for i in front],
        "chosen": {target: front[-1] for target, front in fronts.items() if front},
        "epochs": epochs_of(trials),
        "removed": {
            text: sum(text in trial.reason for trial in trials if trial.state == "outside")
            for text in config.constraints
        },
        "broken": {
            text: sum(row["measured"] and text in row["reason"] for row in rows)
            for text in config.constraints
        },
        "config": config.model_dump(mode="json"),
        "edgenets": edgenets.__version__,
    }


def epochs_of(trials: Sequence[Trial]) -> int:
    """Return how many passes over the training images all trials took together."""
    of_net: dict[str, int] = {}
    compressing = 0
    for trial in trials:
        train = max((row["train_epochs"] for row in trial.measured), default=_epochs(trial))
        compressing += _epochs(trial) - train
        of_net[trial.point.net_key] = max(of_net.get(trial.point.net_key, 0), train)
    return sum(of_net.values()) + compressing


def front_of_target(rows: Sequence[Row], target: str, cost: str) -> list[int]:
    """Return the front among the finished rows of a target, as indices of `rows`."""
    own = [i for i, r in enumerate(rows) if r["target"] == target and r["state"] == "finished"]
    return [own[i] for i in front_of([rows[i] for i in own], cost)]


def command_of(row: Row, folder: str) -> str:
    """Return the command that makes a row's file again, in a folder of its own."""
    config = shlex.quote(f"{folder}/{row['run']}/config.yaml")
    return f"edgenets run {config} --out {shlex.quote(f'runs/{_short(row)}')}"


def _rows(config: SweepConfig, trial: Trial) -> Iterator[Row]:
    """Yield a trial's rows; of one that is not counted, without figures."""
    measured = {row["target"]: row for row in trial.measured}
    counted = {row["target"]: row for row in trial.counted}
    for target in config.targets:
        known = measured.get(target) or counted.get(target) or {"target": target}
        reason = broken(config.bounds, known)
        state = "outside" if reason else trial.state
        if trial.state == "failed":
            state, reason = "failed", list(trial.reason)
        yield {
            "trial": trial.number,
            "net": trial.point.net,
            "arguments": trial.point.arguments,
            "recipe": trial.point.recipe,
            "target": target,
            "state": state,
            "reason": reason,
            "measured": target in measured,
            **{key: known.get(key) for key in (*COUNTED, *MEASURED)},
            "alike": [],
            "epochs": _epochs(trial),
        }


def _epochs(trial: Trial) -> int:
    """Return how many passes over the images a trial has taken."""
    if trial.measured:
        return max(row["epochs"] for row in trial.measured)
    return int(trial.rungs[-1]["epochs"]) if trial.rungs else 0


def _alike(row: Row, other: Row) -> bool:
    low, high = accuracy_difference(row, other)
    return low <= 0 <= high


def _short(row: Row) -> str:
    return f"{row['net']}-{row['trial']:04}-{row['target']}"
