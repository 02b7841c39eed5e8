"""The state of a sweep: its folder, with Optuna's journal of the trials and a folder for each.

A trial is one line of the journal when it is chosen, and one for each thing that becomes known of
it. Processes that share the folder read each other's lines; who works on a trial has its folder's
lock, which ends with the process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import edgenets
from edgenets.errors import EdgenetsError
from edgenets.files import check_output, locked_folder, write_bytes
from edgenets.packages import missing_package
from edgenets.pipeline.sweep.config import dump_sweep, load_sweep
from edgenets.pipeline.sweep.journal import journal_used, open_journal
from edgenets.pipeline.sweep.space import Point, SweepConfig
from edgenets.pipeline.sweep.trial import Row

try:
    import optuna
    from optuna.trial import FrozenTrial, TrialState, create_trial
except ImportError as error:
    raise missing_package("optuna") from error

optuna.logging.set_verbosity(optuna.logging.WARNING)

CONFIG, JOURNAL, TRIALS = "sweep.yaml", "sweep.journal", "trials"
VERSION = "edgenets"
Direction = Literal["minimize", "maximize"]
State = Literal["chosen", "inside", "outside", "stopped", "finished", "failed"]
ENDED: tuple[State, ...] = ("outside", "stopped", "finished", "failed")


@dataclass(frozen=True)
class Trial:
    """What is known of a point.

    Attributes:
        number: of the trial, from 0, in the order in which points were chosen.
        generation: number of those that are chosen and halved together.
        state: "chosen" until it is counted; then "outside" the constraints or "inside"; then
            "stopped" at a rung, "finished" or "failed".
        counted: for each target the figures of the untrained file.
        measured: once finished, for each target that is inside, those of the final file.
        rungs: what `train_trial` returned at each rung that it has passed.
        reason: the constraints that an outside one breaks; the sentence of a failed one.
    """

    number: int
    generation: int
    point: Point
    state: State
    counted: tuple[Row, ...]
    measured: tuple[Row, ...]
    rungs: tuple[Row, ...]
    reason: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its folder's name."""
        return f"{self.number:04}"


class Store:
    """A sweep's folder.

    Attributes:
        folder, config: of the sweep.
    """

    def __init__(self, folder: Path, config: SweepConfig | None = None) -> None:
        """Open the folder of a sweep, or make it.

        Args:
            folder: of the sweep.
            config: of the sweep; by default the one that is there.

        Raises:
            EdgenetsError: the folder cannot be written, holds a sweep of another config or by
                another version of edgenets, or no sweep and there is no config.
        """
        self.folder = folder
        with locked_folder(folder, wait=lambda: None):
            self.config = self._check_config(config)
            check_output(folder / JOURNAL)
            with journal_used(folder / JOURNAL):
                self._study = optuna.create_study(
                    storage=open_journal(folder / JOURNAL),
                    study_name="sweep",
                    directions=directions(self.config),
                    load_if_exists=True,
                )
            self._check_version()

    def trials(self) -> list[Trial]:
        """Return all trials in the order in which they were chosen."""
        with self._journal():
            found = self._study.get_trials(deepcopy=False)
            return [_trial(number, each) for number, each in enumerate(found)]

    @contextmanager
    def choosing(self) -> Iterator[None]:
        """Keep other processes from choosing points while the block runs."""
        with locked_folder(self.folder, wait=lambda: None):
            yield

    def folder_of(self, trial: Trial) -> Path:
        """Return a trial's folder."""
        return self.folder / TRIALS / trial.name

    def add(self, point: Point, generation: int) -> None:
        """Add a trial of a point."""
        attributes = {"point": [*point], "generation": generation}
        with self._journal():
            self._study.add_trial(create_trial(state=TrialState.RUNNING, user_attrs=attributes))

    def set_counted(self, trial: Trial, rows: list[Row], reason: list[str]) -> None:
        """Note what a trial costs, and the constraints that keep it outside."""
        self._note(trial, "counted", rows)
        if reason:
            self._end(trial, "outside", reason)
        else:
            self._note(trial, "state", "inside")

    def set_rung(self, trial: Trial, rung: Row) -> None:
        """Note how a trial did at the next rung."""
        self._note(trial, "rungs", [*trial.rungs, rung])

    def set_finished(self, trial: Trial, rows: list[Row]) -> None:
        """Note what was measured at a trial's end."""
        self._note(trial, "measured", rows)
        self._note(trial, "state", "finished")
        self._tell(trial, TrialState.COMPLETE, objectives(self.config, rows, trial.counted))

    def set_stopped(self, trial: Trial) -> None:
        """Note that a trial is not among the best at its last rung."""
        self._end(trial, "stopped", [])

    def set_failed(self, trial: Trial, sentence: str) -> None:
        """Note why a trial cannot be brought to its end."""
        self._end(trial, "failed", [sentence])

    def _end(self, trial: Trial, state: State, reason: list[str]) -> None:
        self._note(trial, "reason", reason)
        self._note(trial, "state", state)  # last: it is what counts
        self._tell(trial, TrialState.FAIL if state == "failed" else TrialState.PRUNED)

    def _note(self, trial: Trial, key: str, value: Any) -> None:
        with self._journal():
            frozen = self._study.get_trials(deepcopy=False)[trial.number]
            self._study._storage.set_trial_user_attr(frozen._trial_id, key, value)

    def _tell(self, trial: Trial, state: TrialState, values: list[float] | None = None) -> None:
        with self._journal():
            self._study.tell(trial.number, values, state=state, skip_if_finished=True)

    def _journal(self) -> AbstractContextManager[None]:
        return journal_used(self.folder / JOURNAL)

    def _check_config(self, config: SweepConfig | None) -> SweepConfig:
        path = self.folder / CONFIG
        if not path.exists():
            if config is None:
                raise EdgenetsError(
                    f"{self.folder} holds no sweep; pass SWEEP.yaml, or --data and --target"
                )
            if (self.folder / JOURNAL).exists():
                raise EdgenetsError(
                    f"{self.folder} holds {JOURNAL} but no {CONFIG}; restore it, or pass another "
                    "folder with --out"
                )
            write_bytes(path, dump_sweep(config).encode())
            return config
        stored = load_sweep(path)
        if config is not None and config != stored:
            old, new = stored.model_dump(mode="json"), config.model_dump(mode="json")
            key = next(key for key in new if old[key] != new[key])
            raise EdgenetsError(
                f"{self.folder} holds a sweep whose {key!r} differs ({old[key]!r} there, "
                f"{new[key]!r} here); pass another folder with --out, or remove it to start again"
            )
        return stored

    def _check_version(self) -> None:
        with self._journal():
            made_by = self._study.user_attrs.get(VERSION)
            if made_by is None:
                self._study.set_user_attr(VERSION, edgenets.__version__)
        if made_by not in (None, edgenets.__version__):
            raise EdgenetsError(
                f"{self.folder} holds a sweep of edgenets {made_by}, and this is "
                f"{edgenets.__version__}, whose figures may be others; go on with that version, or "
                "pass another folder with --out"
            )


def directions(config: SweepConfig) -> list[Direction]:
    """Return what is done with each objective: costs are minimised, held-out accuracy is not."""
    costs: list[Direction] = ["minimize"] * len(config.minimise)
    return [*costs, "maximize"]


def objectives(config: SweepConfig, rows: Sequence[Row], counted: Sequence[Row]) -> list[float]:
    """Return the objectives of a finished trial: the least of each cost, the held-out accuracy.

    A cost that no target has for which it is inside the constraints is as it was counted.
    """
    return [*costs(config, rows, counted), max(row["held_out"] for row in rows)]


def costs(config: SweepConfig, rows: Sequence[Row], counted: Sequence[Row] = ()) -> list[float]:
    """Return the least of each cost of a trial's rows; 0 where no target has such a figure."""

    def values(key: str, rows: Sequence[Row]) -> list[float]:
        return [row[key] for row in rows if row.get(key) is not None]

    return [
        float(min(values(cost.key, rows) or values(cost.key, counted), default=0))
        for cost in config.costs
    ]


def _trial(number: int, frozen: FrozenTrial) -> Trial:
    known = frozen.user_attrs
    net, arguments, recipe = known["point"]
    return Trial(
        number=number,
        generation=known["generation"],
        point=Point(net, arguments, recipe),
        state=known.get("state", "chosen"),
        counted=tuple(known.get("counted", ())),
        measured=tuple(known.get("measured", ())),
        rungs=tuple(known.get("rungs", ())),
        reason=tuple(known.get("reason", ())),
    )
