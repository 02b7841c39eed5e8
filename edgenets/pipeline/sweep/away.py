"""A sweep's trials on nodes of a Ray cluster that share no folder, but storage that all reach.

Here the sweep's folder is that of the process which began it: it alone notes what is known. A node
gets a trial's folder from the storage, works on it, and leaves it there; a copy of the finished
ones, and of the sweep's state in the storage, is always up to date.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import ray

import edgenets
from edgenets.cache import cache_folder
from edgenets.data.places import folders_here
from edgenets.errors import EdgenetsError
from edgenets.files import locked_folder, make_folder, read_bytes, write_bytes
from edgenets.pipeline.sweep.cluster import CPUS_OF_A_TRIAL, MOST_LOSSES
from edgenets.pipeline.sweep.page import PAGE
from edgenets.pipeline.sweep.search import RESULT, pending, require_tools, write_results
from edgenets.pipeline.sweep.space import SweepConfig
from edgenets.pipeline.sweep.storage import IMAGES, Storage, fetch_images, put_images
from edgenets.pipeline.sweep.store import CONFIG, JOURNAL, TRIALS, Store, Trial
from edgenets.pipeline.sweep.work import Outcome, Work, attempt, note, trial_ahead
from edgenets.progress import say
from edgenets.units import format_bytes


def open_storage(url: str, folder: Path) -> None:
    """Check that storage is this sweep's; bring the sweep back of a folder that is lost.

    Args:
        url: of the storage.
        folder: of the sweep; where it holds none, and the storage does, it gets its state.

    Raises:
        EdgenetsError: the storage cannot be used, or holds another sweep.
    """
    storage = Storage(url)
    there = storage.read_file(CONFIG)
    if there is None:
        return
    if not (folder / CONFIG).exists():
        say(f"the sweep of {url} is gone on with")
        write_bytes(folder / JOURNAL, storage.read_file(JOURNAL) or b"")
        write_bytes(folder / CONFIG, there)
    elif there != read_bytes(folder / CONFIG):
        raise EdgenetsError(f"{url} holds another sweep; pass another place with --storage")


class Job(NamedTuple):
    """What every task of a sweep gets.

    Attributes:
        url: of the storage.
        config: of the sweep.
        images: the name of each folder of images there.
        version: of edgenets.
    """

    url: str
    config: SweepConfig
    images: Mapping[str, str]
    version: str

    @property
    def key(self) -> str:
        """A text that only tasks of the same sweep have."""
        text = self.url + self.config.model_dump_json()
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class SharingStorage:
    """Nodes that reach the same storage.

    Args:
        store: the sweep.
        url: of the storage, which is this sweep's.
    """

    def __init__(self, store: Store, url: str) -> None:
        self._store, self._storage = store, Storage(url)
        self._moved = list[tuple[str, int]]()
        self._keep()

    @cached_property
    def _job(self) -> Job:
        """What tasks get; images are sent for the first of them, when there is a cluster."""
        config = self._store.config
        images = {name: put_images(self._storage, name) for name in config.images}
        return Job(self._storage.url, config, images, edgenets.__version__)

    def begin(self, work: Work) -> Any:
        """Have a piece of work done by a task; return the task."""
        trials = self._store.trials()
        ahead = trial_ahead(trials, trials[work.number])
        taken = None if ahead is None else _stored_name(ahead)
        return _task.remote(self._job, trials[work.number], work, taken)

    def end(self, work: Work, result: tuple[Outcome | str, list[tuple[str, int]]]) -> None:
        """Note what a task has done.

        Raises:
            EdgenetsError: it failed, and not for its trial's sake.
        """
        outcome, moved = result
        self._moved += moved
        if isinstance(outcome, str):
            raise EdgenetsError(outcome)
        with self._store.choosing():
            trials = self._store.trials()
            if work not in pending(self._store.config, trials)[0]:  # another command has noted it
                return
            before = trials[work.number]
            note(self._store, before, work, outcome)
        write_results(self._store)
        self._keep()
        if not outcome.failed and work.rungs:  # nobody asks for it any more
            self._storage.remove_folder(_stored_name(before))

    def tell_what_was_moved(self) -> None:
        """Say how much went between nodes and storage."""
        images = [size for name, size in self._moved if name.startswith(IMAGES)]
        trials = [size for name, size in self._moved if not name.startswith(IMAGES)]
        say(
            f"nodes fetched images {len(images)} times, {format_bytes(sum(images))} in all, and "
            f"sent and fetched folders of trials {len(trials)} times, {format_bytes(sum(trials))}"
        )

    def _keep(self) -> None:
        """Have the finished trials in the sweep's folder, and its state in the storage."""
        for trial in self._store.trials():
            missing = [
                row for row in trial.measured if not (self._store.folder / row["run"]).exists()
            ]
            if trial.state == "finished" and missing:
                folder = self._store.folder_of(trial)
                shutil.rmtree(folder, ignore_errors=True)
                self._storage.fetch_folder(_stored_name(trial), folder)
        for name in (JOURNAL, RESULT, PAGE, CONFIG):
            if (self._store.folder / name).exists():
                self._storage.put_file(self._store.folder / name)


def _stored_name(trial: Trial) -> str:
    """Return the name under which a trial's folder is stored, as far as it has come."""
    if trial.state == "finished":
        return f"{TRIALS}/{trial.name}"
    return _name_at_rung(trial, len(trial.rungs))


def _name_at_rung(trial: Trial, rungs: int) -> str:
    return f"{TRIALS}/{trial.name}-{rungs}"


# A lost node is no fault of the task's.
@ray.remote(num_cpus=CPUS_OF_A_TRIAL, max_retries=MOST_LOSSES)
def _task(
    job: Job, trial: Trial, work: Work, ahead: str | None
) -> tuple[Outcome | str, list[tuple[str, int]]]:
    """Do a piece of work on a node; return what came of it or why it cannot be done there."""
    try:
        if edgenets.__version__ != job.version:
            raise EdgenetsError(
                f"a node has edgenets {edgenets.__version__}, and the sweep is of {job.version}; "
                "install the same version on all nodes"
            )
        require_tools(job.config)
        storage = Storage(job.url)
        return _do(job, storage, trial, Work(*work), ahead), storage.moved
    except EdgenetsError as error:
        return f"on the node {ray.util.get_node_ip_address()}: {error}", []


def _do(job: Job, storage: Storage, trial: Trial, work: Work, ahead: str | None) -> Outcome:
    images = {source: fetch_images(storage, source, name) for source, name in job.images.items()}
    # A task that was lost on this node may have left its folder, with newer epochs than the stored.
    place = cache_folder() / "sweeps" / job.key / f"{trial.name}-{work.rungs}"
    with locked_folder(place, wait=lambda: None), folders_here(images):
        folder, other = place / TRIALS / trial.name, place / "ahead"
        if work.rungs and not folder.exists():
            storage.fetch_folder(_stored_name(trial), folder)
        make_folder(folder)
        if ahead is not None:
            shutil.rmtree(other, ignore_errors=True)
            storage.fetch_folder(ahead, other)
        outcome = attempt(job.config, trial, work, folder, other if ahead else None)
        if not outcome.failed and work.do != "count":
            ended = work.do == "finish"
            name = f"{TRIALS}/{trial.name}" if ended else _name_at_rung(trial, work.rungs + 1)
            storage.put_folder(folder, name)
        shutil.rmtree(place)
    return outcome
