"""A sweep on a Ray cluster: each piece of work is a task, on whatever node has room for it.

The nodes share the sweep's folder and the images, by a file system that all have. A task that is
lost with its node is begun again elsewhere, and goes on from the trial's last checkpoint.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

from edgenets.errors import EdgenetsError
from edgenets.packages import missing_package
from edgenets.pipeline.sweep.search import Work, perform, plan_work, write_results
from edgenets.pipeline.sweep.store import Store

try:
    import ray
    from ray.exceptions import RayError
except ImportError as error:
    raise missing_package("ray") from error

CPUS_OF_A_TRIAL = 1
CONNECT_SECONDS = 10
LOOK_SECONDS = 1.0
"""How often it is asked what is done."""


def search_on_cluster(store: Store, address: str, seconds: float | None) -> None:
    """Let a Ray cluster work on a sweep until nothing is left to do, or no more work may begin.

    Args:
        store: the sweep, in a folder that every node has under the same path.
        address: of the cluster's head, such as "10.0.0.1:6379" or "ray://10.0.0.1:10001"; "auto"
            for the one that this machine is of.
        seconds: after which no more work is begun.

    Raises:
        EdgenetsError: the cluster cannot be reached or was lost, no node sees the folder, or a
            task failed for another reason than its trial's.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    connected_here = not ray.is_initialized()
    if connected_here:
        _connect(address)
    try:
        _search(store, deadline)
    except RayError as error:
        raise EdgenetsError(
            f"the Ray cluster {address} did not do a sweep's task: "
            f"{' '.join(str(error).split())[:300]}; what is done is kept, the same command goes on"
        ) from error
    finally:
        if connected_here:
            ray.shutdown()


def _connect(address: str) -> None:
    try:
        _require_listener(address)
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, RayError, RuntimeError, ValueError) as error:
        raise EdgenetsError(
            f"no Ray cluster is reached at {address} ({' '.join(str(error).split())[:200]}); start "
            "one with `ray start --head`, and pass the address that it says, or leave --ray out"
        ) from error


def _require_listener(address: str) -> None:
    """Check that something listens there: Ray itself asks for minutes.

    Raises:
        OSError: nothing does.
        ValueError: it is no address.
    """
    if address == "auto":
        return
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        raise ValueError("an address is HOST:PORT, ray://HOST:PORT or the word auto")
    socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()


def _search(store: Store, deadline: float | None) -> None:
    folder = str(store.folder.absolute())
    running: dict[Any, Work] = {}
    while True:
        may_begin = deadline is None or time.monotonic() < deadline
        for work in plan_work(store) if may_begin else ():
            if work not in running.values():
                running[_task.remote(folder, work)] = work
        if not running:
            return
        done, _ = ray.wait(list(running), num_returns=1, timeout=LOOK_SECONDS)
        for task in done:
            work = running.pop(task)
            if told := ray.get(task):
                raise EdgenetsError(told)
        if done:
            write_results(store)


# A lost node is no fault of the task's: it is tried again however often.
@ray.remote(num_cpus=CPUS_OF_A_TRIAL, max_retries=-1)
def _task(folder: str, work: Work) -> str:
    """Do a piece of work on a node; return why it cannot be done there, or nothing."""
    try:
        if not Path(folder).is_dir():
            return (
                f"the node {ray.util.get_node_ip_address()} has no folder {folder}; pass --out in "
                "a file system that all nodes share under the same path"
            )
        store = Store(Path(folder))
        while not perform(store, Work(*work)):  # a process that was lost still has the lock
            time.sleep(LOOK_SECONDS)
    except EdgenetsError as error:
        return str(error)
    return ""
