"""A sweep on a Ray cluster: each piece of work is a task, on whatever node has room for it.

The nodes share the sweep's folder and the images by a file system that all have, or have storage in
common (`away.py`). A task that is lost with its node is begun again elsewhere, and goes on from the
trial's last checkpoint.
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any, Protocol

from edgenets.errors import EdgenetsError
from edgenets.packages import missing_package
from edgenets.pipeline.sweep.search import perform, plan_work, require_tools
from edgenets.pipeline.sweep.store import Store
from edgenets.pipeline.sweep.work import Work

try:
    import grpc
    import ray
    from ray.exceptions import RayError
except ImportError as error:
    raise missing_package("ray") from error

CPUS_OF_A_TRIAL = 1
MOST_LOSSES = 20
"""How often a task is begun again whose node or process was lost, before the sweep ends."""
CONNECT_SECONDS = 10
LOOK_SECONDS = 1.0
"""How often it is asked what is done."""


class Nodes(Protocol):
    """How pieces of work get to nodes, and what comes of them gets back."""

    def begin(self, work: Work) -> Any:
        """Have a piece of work done by a task; return the task."""

    def end(self, work: Work, result: Any) -> None:
        """Take what the task returned.

        Raises:
            EdgenetsError: it failed, and not for its trial's sake.
        """


def search_on_cluster(
    store: Store, address: str, seconds: float | None, nodes: Nodes | None = None
) -> None:
    """Let a Ray cluster work on a sweep until nothing is left to do, or no more work may begin.

    Args:
        store: the sweep.
        address: of the cluster's head, such as "10.0.0.1:6379" or "ray://10.0.0.1:10001"; "auto"
            for the one that this machine is of.
        seconds: after which no more work is begun.
        nodes: by default they have the sweep's folder and the images under the same path.

    Raises:
        EdgenetsError: the cluster cannot be reached or was lost, a node sees no folder or storage,
            or a task failed for another reason than its trial's.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    connected_here = not ray.is_initialized()
    if connected_here:
        _connect(address)
    try:
        _search(store, nodes or _SharingAFolder(store), deadline)
    except RayError as error:
        raise EdgenetsError(
            f"the Ray cluster {address} did not do a sweep's task: "
            f"{' '.join(str(error).split())[:300]}; what is done is kept, the same command goes on"
        ) from error
    finally:
        if connected_here:
            ray.shutdown()


def _connect(address: str) -> None:
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", address)
    try:
        _require_server(address)
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, RayError, RuntimeError, ValueError) as error:
        raise EdgenetsError(
            f"no Ray cluster is reached at {address} ({' '.join(str(error).split())[:200]}); start "
            "one with `ray start --head`, and pass the address that it says, or leave --ray out"
        ) from error


def _require_server(address: str) -> None:
    """Check that something answers there as Ray does, by gRPC: Ray itself asks for minutes.

    Raises:
        OSError: nothing does.
        ValueError: it is no address, or something else answers.
    """
    if address == "auto":
        return
    place = address.removeprefix("ray://")
    host, colon, port = place.rpartition(":")
    if not colon or not port.isdecimal():
        raise ValueError("an address is HOST:PORT, ray://HOST:PORT or the word auto")
    socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    if os.environ.get("RAY_USE_TLS", "0") != "0":
        return
    with grpc.insecure_channel(place) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=CONNECT_SECONDS)
        except grpc.FutureTimeoutError:
            raise ValueError("what listens there is no Ray") from None


def _search(store: Store, nodes: Nodes, deadline: float | None) -> None:
    running: dict[Any, Work] = {}
    while True:
        may_begin = deadline is None or time.monotonic() < deadline
        for work in plan_work(store) if may_begin else ():
            if deadline is not None and len(running) >= ray.cluster_resources().get("CPU", 1):
                break  # what waits for a node would begin after the time
            if work not in running.values():
                running[nodes.begin(work)] = work
        if not running:
            return
        done, _ = ray.wait(list(running), num_returns=1, timeout=LOOK_SECONDS)
        for task in done:
            nodes.end(running.pop(task), ray.get(task))


class _SharingAFolder:
    """Nodes that have the sweep's folder, and note in it what they have done."""

    def __init__(self, store: Store) -> None:
        self._folder = str(store.folder.absolute())

    def begin(self, work: Work) -> Any:
        return _task.remote(self._folder, work)

    def end(self, work: Work, result: str) -> None:
        if result:
            raise EdgenetsError(result)


# A lost node is no fault of the task's.
@ray.remote(num_cpus=CPUS_OF_A_TRIAL, max_retries=MOST_LOSSES)
def _task(folder: str, work: Work) -> str:
    """Do a piece of work on a node; return why it cannot be done there, or nothing."""
    try:
        if not Path(folder).is_dir():
            raise EdgenetsError(
                f"there is no folder {folder}; pass --out in a file system that all nodes share "
                "under the same path, or storage with --storage"
            )
        store = Store(Path(folder))  # which looks for the images, too
        require_tools(store.config)
        while not perform(store, Work(*work)):  # a process that was lost still has the lock
            time.sleep(LOOK_SECONDS)
    except EdgenetsError as error:
        return f"on the node {ray.util.get_node_ip_address()}: {error}"
    return ""
