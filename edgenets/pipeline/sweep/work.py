"""A piece of work on a trial of a sweep: what is done, how, and what is noted of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from edgenets.data.folder import existing_folder
from edgenets.data.opened import last_dataset_kept
from edgenets.errors import EdgenetsError
from edgenets.files import KEPT, MEND, disk_failure
from edgenets.pipeline.sweep.constraints import broken
from edgenets.pipeline.sweep.space import SweepConfig, run_config
from edgenets.pipeline.sweep.store import Store, Trial
from edgenets.pipeline.sweep.trial import (
    Row,
    count_trial,
    finish_trial,
    take_training,
    train_trial,
)
from edgenets.progress import say
from edgenets.units import format_bytes, format_percent

LOG = "log"


class Work(NamedTuple):
    """A piece of work on a trial.

    Attributes:
        number: of the trial.
        rungs: how many it has passed, by which is seen whether the piece is still to be done.
        do: "count", "train" or "finish".
        part: of "train": of the epochs.
    """

    number: int
    rungs: int
    do: str
    part: float | None = None


class Outcome(NamedTuple):
    """What came of a piece of work.

    Attributes:
        rows: of "count" and "finish" for each target; of "train" the one of the rung.
        failed: the sentence that says why the trial cannot be brought to its end, or nothing.
        seconds: that it took.
    """

    rows: list[Row]
    failed: str
    seconds: float


def trial_ahead(trials: Sequence[Trial], trial: Trial) -> Trial | None:
    """Return a trial of the same net whose training has come farther; None if there is none."""
    for other in trials:
        ahead = len(other.rungs) > len(trial.rungs) or other.state == "finished"
        if ahead and other.point.net_key == trial.point.net_key:
            return other
    return None


def attempt(
    config: SweepConfig, trial: Trial, work: Work, folder: Path, ahead: Path | None
) -> Outcome:
    """Do a piece of work in a trial's folder, whose log gets what is said.

    Args:
        config: of the sweep.
        trial, work: what is to be done, and is not done.
        folder: the trial's.
        ahead: that of a trial of the same net, whose training is taken over; None: there is none.

    Raises:
        EdgenetsError: what failed is the disk or the network, and no fault of the trial.
    """
    for source in config.images:  # gone ones fail every trial
        existing_folder(source)
    began = time.monotonic()
    rows, failed = list[Row](), ""
    try:
        with (
            (folder / LOG).open("a") as log,
            contextlib.redirect_stderr(log),
            last_dataset_kept(),
        ):
            rows = _rows_of(config, trial, work, folder, ahead)
    except EdgenetsError as error:
        if any(isinstance(cause, OSError) for cause in _causes(error)):  # a full disk, a network
            raise
        failed = str(error)
    except OSError as error:  # of the log
        raise disk_failure(f"cannot work in {folder}", error, KEPT, MEND) from error
    return Outcome(rows, failed, time.monotonic() - began)


def _causes(error: BaseException) -> Iterator[BaseException]:
    while error.__cause__ is not None:
        error = error.__cause__
        yield error


def note(store: Store, trial: Trial, work: Work, outcome: Outcome) -> None:
    """Note what came of a piece of work, and tell it."""
    rows = outcome.rows
    if outcome.failed:
        store.set_failed(trial, outcome.failed)
        told = f"failed: {outcome.failed}"
    elif work.do == "count":
        reason = [] if inside_targets(store.config, rows) else breaking(store.config, rows)
        store.set_counted(trial, rows, reason)
        told = "stored " + ", ".join(
            f"{format_bytes(row['stored_bytes'])} for {row['target']}" for row in rows
        )
        told += f"; outside {' and '.join(reason)}" if reason else ""
    elif work.do == "train":
        store.set_rung(trial, rows[0])
        told = f"held-out score {rows[0]['score']:.4f} after {rows[0]['epochs']} epochs"
    else:
        store.set_finished(trial, rows)
        told = ", ".join(
            f"top-1 {format_percent(row['top1'])}, stored {format_bytes(row['stored_bytes'])} for "
            f"{row['target']}"
            for row in rows
        )
    say(f"{trial.name} {trial.point}: {told} ({outcome.seconds:.0f} s)")


def inside_targets(config: SweepConfig, counted: Sequence[Row]) -> list[str]:
    """Return the targets for which a point is within the constraints."""
    return [row["target"] for row in counted if not broken(config.bounds, row)]


def breaking(config: SweepConfig, counted: Sequence[Row]) -> list[str]:
    """Return the constraints that a point breaks for any target."""
    return list(dict.fromkeys(text for row in counted for text in broken(config.bounds, row)))


def _rows_of(
    config: SweepConfig, trial: Trial, work: Work, folder: Path, ahead: Path | None
) -> list[Row]:
    if work.do == "count":
        return count_trial(config, trial.point)
    targets = inside_targets(config, trial.counted)
    if ahead is not None:
        own = run_config(config, trial.point, targets[0])
        take_training(ahead, own, folder / targets[0])
    if work.part is not None:
        return [train_trial(config, trial.point, folder, targets[0], work.part)]
    return finish_trial(config, trial.point, folder, targets)
