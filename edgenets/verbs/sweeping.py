"""The verb of many runs: `sweep`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from edgenets.errors import ArgumentError, EdgenetsError
from edgenets.results.result import html_table
from edgenets.results.sweep import SweepTrial, sweep_table
from edgenets.verbs.arguments import (
    PathOrName,
    optional_path,
    positive_number,
    source_of,
    speaking_python,
    whole_number,
)


class SweepTrials(tuple[SweepTrial, ...]):
    """The trials of a sweep, for each target one.

    Attributes:
        folder: of the sweep, with sweep.html.
    """

    folder: Path
    _result: dict[str, Any]

    def __new__(cls, result: dict[str, Any], folder: Path) -> SweepTrials:
        """Make them from the content of a sweep.json."""
        trials = super().__new__(cls, map(SweepTrial.from_json, result["trials"]))
        trials.folder, trials._result = folder, result
        return trials

    def __getnewargs__(self) -> tuple[dict[str, Any], Path]:
        """Return what pickling makes them of again."""
        return self._result, self.folder

    def front(self, cost: str = "stored_bytes", gain: str = "top1") -> tuple[SweepTrial, ...]:
        """Return the finished trials of which each is surely more accurate than any cheaper one.

        ```python
        for trial in en.sweep("sweep.yaml").front("stored_bytes", "top1"):
            print(trial.stored_bytes, trial.top1, trial.net, trial.arguments)
        ```

        Args:
            cost: a figure, such as "stored_bytes", "size_bytes", "macs", "instructions", "cycles".
            gain: "top1".

        Returns:
            Target by target, the cheapest first.

        Raises:
            EdgenetsError: there is no such figure.
        """
        from edgenets.pipeline.sweep.constraints import find_figure
        from edgenets.pipeline.sweep.summary import front_of_target

        if gain != "top1":
            raise EdgenetsError(f"trials are compared by their top1, not by {gain!r}; pass top1")
        key = find_figure(cost).key
        rows = self._result["trials"]
        targets = dict.fromkeys(row["target"] for row in rows)
        return tuple(self[i] for name in targets for i in front_of_target(rows, name, key))

    def to_json(self) -> dict[str, Any]:
        """Return the JSON value that `edgenets sweep --json` prints: sweep.json."""
        return self._result

    def _repr_html_(self) -> str:
        return html_table(*sweep_table(self._result), str(self.folder))


@speaking_python()
def sweep(
    config: PathOrName | None = None,
    *,
    data: PathOrName | None = None,
    target: str | None = None,
    hours: float | None = None,
    out: PathOrName | None = None,
    workers: int = 1,
    ray: str | None = None,
    storage: str | None = None,
) -> SweepTrials:
    """Try many nets, each as a run of its own, and return them with the front of the best.

    ```python
    trials = en.sweep("sweep.yaml", out="runs/sweep")
    smallest = trials.front("stored_bytes", "top1")[0]
    smallest.top1, smallest.stored_bytes, smallest.run
    ```

    What a net costs is counted before it is trained, and one outside the constraints never is. Run
    again with the same folder, it goes on; several processes may work in it.

    Args:
        config: a YAML file with the space, the constraints and the search; without one a usual
            sweep is done, or the one of `out` is gone on with.
        data: without a file: a folder of images, or the word "digits".
        target: without a file: the device that files are for.
        hours: after which no more work is begun.
        out: the sweep's folder; by default runs/ and the config's name, or runs/sweep.
        workers: processes of this machine.
        ray: address of a Ray cluster, or "auto", which does the work in place of `workers`.
        storage: URL of storage that the cluster's nodes reach, such as "s3://bucket/sweep", in
            place of a file system with `out` and the images that they share.

    Raises:
        EdgenetsError: a key, net, figure or target is unknown, no point is within the constraints,
            `out` or `storage` cannot be written or holds another sweep, or Ray cannot be reached.
    """
    from edgenets.files import read_json
    from edgenets.pipeline.sweep.config import load_sweep
    from edgenets.pipeline.sweep.usual import usual_sweep

    path = optional_path(config)
    folder = Path("runs", path.stem if path else "sweep") if out is None else Path(out)
    if path is not None and (data is not None or target is not None):
        raise ArgumentError(f"{path} says which data and targets; leave --data and --target out")
    workers = whole_number("workers", workers, 1)
    positive_number("hours", hours)
    if workers > 1 and ray is not None:
        raise ArgumentError("pass --workers of this machine, or --ray with a cluster's address")
    if storage is not None:
        if ray is None:
            raise ArgumentError("--storage is for the nodes of a Ray cluster; pass --ray, too")
        from edgenets.pipeline.sweep.away import open_storage

        open_storage(storage, folder)
    settings = load_sweep(path) if path else None
    if settings is None and not (_is_sweep(folder) and data is None and target is None):
        settings = usual_sweep(None if data is None else source_of(data), target)
    from edgenets.pipeline.sweep.search import RESULT, require_tools, search, write_results
    from edgenets.pipeline.sweep.store import Store

    if settings is not None:  # before the folder is this sweep's
        require_tools(settings)
    store = Store(folder, settings)
    if settings is None:
        require_tools(store.config)
    seconds = None if hours is None else 3600 * hours
    if ray is not None:
        from edgenets.pipeline.sweep.cluster import search_on_cluster

        if storage is None:
            search_on_cluster(store, ray, seconds)
        else:
            from edgenets.pipeline.sweep.away import SharingStorage

            nodes = SharingStorage(store, storage)
            search_on_cluster(store, ray, seconds, nodes)
            nodes.tell_what_was_moved()
    elif workers > 1:
        from edgenets.pipeline.sweep.worker import search_together

        search_together(folder, workers, seconds)
    else:
        search(store, deadline=None if seconds is None else time.monotonic() + seconds)
    write_results(store)
    return SweepTrials(read_json(folder / RESULT), folder)


def _is_sweep(folder: Path) -> bool:
    return (folder / "sweep.yaml").is_file()
