"""A sweep's work, one piece after the other, by however many processes share its folder.

What is to be done follows from what is known of the trials, so that a process that is killed leaves
nothing but its own piece of work to be done again, from that piece's last checkpoint.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from math import ceil
from typing import Any

from edgenets.errors import EdgenetsError
from edgenets.export.devices.emulator import find_board
from edgenets.export.inspect.ethos_u.compiler import find_system
from edgenets.export.targets import find_target
from edgenets.files import locked_folder, write_json
from edgenets.pipeline.sweep.choose import next_generation
from edgenets.pipeline.sweep.constraints import FIGURES
from edgenets.pipeline.sweep.front import best
from edgenets.pipeline.sweep.page import write_page
from edgenets.pipeline.sweep.space import SweepConfig
from edgenets.pipeline.sweep.store import Store, Trial, costs
from edgenets.pipeline.sweep.summary import summarize
from edgenets.pipeline.sweep.trial import counts_instructions
from edgenets.pipeline.sweep.work import Work, attempt, note, trial_ahead
from edgenets.progress import say

RESULT = "sweep.json"
POLL_SECONDS = 0.5
"""How often a process that has nothing to do looks for what the others have done."""


def require_tools(config: SweepConfig) -> None:
    """Check that what counts a sweep's figures is at hand, before anything is done.

    Raises:
        EdgenetsError: the emulated board or Vela is needed and is not there.
    """
    targets = [find_target(name) for name in config.targets]
    if counts_instructions(config) and any(target.cpu for target in targets):
        find_board()
    asked = [*(bound.figure for bound in config.bounds), *config.costs]
    for target in targets:
        if FIGURES["cycles"] in asked and target.accelerator == "ethos_u":
            find_system(target)


def pending(config: SweepConfig, trials: Sequence[Trial]) -> tuple[list[Work], list[Trial]]:
    """Return what can be done now, and the trials that are stopped by what is known.

    Of the newest generation first all are counted; then all that are inside the constraints are
    trained to the first rung, the best of them to the second, and so on. Points that are one net
    until it is compressed come one after the other: the later ones take its training over.
    """
    newest = [t for t in trials if t.generation == trials[-1].generation] if trials else []
    if chosen := [trial for trial in newest if trial.state == "chosen"]:
        return [Work(trial.number, 0, "count") for trial in chosen], []
    running = [trial for trial in newest if trial.state != "outside"]
    stopped: list[Trial] = []
    for rung, part in enumerate(config.halving.parts):
        waiting = [t for t in running if len(t.rungs) <= rung and t.state == "inside"]
        if waiting:
            works = [Work(trial.number, rung, "train", part) for trial in _one_of_a_net(waiting)]
            return works, stopped
        # One that failed later on keeps its place, so that this choice is always the same.
        passed = [trial for trial in running if len(trial.rungs) > rung]
        running = promote(config, passed, rung)
        stopped += [t for t in passed if t not in running and t.state == "inside"]
    unfinished = [trial for trial in running if trial.state == "inside"]
    works = [Work(t.number, len(t.rungs), "finish") for t in _one_of_a_net(unfinished)]
    return works, stopped


def _one_of_a_net(trials: Sequence[Trial]) -> list[Trial]:
    first = {trial.point.net_key: trial for trial in reversed(trials)}
    return [trial for trial in trials if first[trial.point.net_key] is trial]


def promote(config: SweepConfig, trials: Sequence[Trial], rung: int) -> list[Trial]:
    """Return which trials go on after a rung: the best by their costs and held-out accuracy."""
    points = [[*costs(config, t.counted), -t.rungs[rung]["score"]] for t in trials]
    return [trials[i] for i in best(points, ceil(len(trials) / config.halving.factor))]


def search(store: Store, *, deadline: float | None = None) -> None:
    """Work on a sweep until nothing is left to do, or no more work may begin.

    Args:
        store: the sweep; other processes may work on it, too.
        deadline: of `time.monotonic`.

    Raises:
        EdgenetsError: no point of the space is within the constraints.
    """
    while deadline is None or time.monotonic() < deadline:
        works = plan_work(store)
        if not works:
            break
        if not any(perform(store, work) for work in works):  # other processes are at them
            time.sleep(POLL_SECONDS)
    write_results(store)


def plan_work(store: Store) -> list[Work]:
    """Return what can be done now; choose new points where all that were chosen are done.

    Raises:
        EdgenetsError: no point of the space is within the constraints.
    """
    with store.choosing():
        works, stopped = pending(store.config, store.trials())
        for trial in stopped:
            store.set_stopped(trial)
        if works:
            return works
        trials = store.trials()
        points = next_generation(store.config, trials)
        if not points:
            _require_some_inside(store.config, trials)
            return []
        generation = trials[-1].generation + 1 if trials else 0
        for point in points:
            store.add(point, generation)
        say(f"new points, to be counted, then trained as far as promising: {len(points)}")
        return pending(store.config, store.trials())[0]


def perform(store: Store, work: Work) -> bool:
    """Do a piece of work, unless another process is at it; return whether it was done or is done.

    A trial that fails is noted as such, with the sentence that says why.

    Raises:
        EdgenetsError: what failed is the disk or the network, and no fault of the trial.
    """
    trial = store.trials()[work.number]
    folder = store.folder_of(trial)
    lock = contextlib.ExitStack()
    try:
        lock.enter_context(locked_folder(folder))
    except EdgenetsError as error:
        if not isinstance(error.__cause__, BlockingIOError):  # it is no lock that hinders
            raise
        return False
    with lock:
        trials = store.trials()
        trial = trials[work.number]  # another process may have done it just now
        if work not in pending(store.config, trials)[0]:
            return True
        ahead = trial_ahead(trials, trial)
        taken = None if ahead is None else store.folder_of(ahead)
        note(store, trial, work, attempt(store.config, trial, work, folder, taken))
    if work.do == "finish":
        write_results(store)
    return True


def write_results(store: Store) -> dict[str, Any]:
    """Write sweep.json and sweep.html of what is known, and return the former's content."""
    with store.choosing():
        result = summarize(store.config, store.trials())
        write_json(store.folder / RESULT, result)
        write_page(result, store.folder)
    return result


def _require_some_inside(config: SweepConfig, trials: Sequence[Trial]) -> None:
    if any(trial.state in ("inside", "stopped", "finished") for trial in trials):
        return
    if failed := [trial for trial in trials if trial.state == "failed"]:
        raise EdgenetsError(
            f"no trial came to its end: {len(failed)} of {len(trials)} failed, the first "
            f"({failed[0].point}) because {failed[0].reason[0]}"
        )
    removed = {text: sum(text in trial.reason for trial in trials) for text in config.constraints}
    each = ", ".join(f"{text!r} removed {count}" for text, count in removed.items() if count)
    raise EdgenetsError(
        f"no point of the space is within the constraints: of {len(trials)} points {each}; loosen "
        "one, or add smaller nets"
    )
