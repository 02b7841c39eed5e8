"""Train one net by several processes, of this machine or of several."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from edgenets.errors import EdgenetsError
from edgenets.files import read_json
from edgenets.pipeline.child import start_child
from edgenets.pipeline.config import RunConfig
from edgenets.pipeline.worker import ERROR, train_as_worker

MODULE = "edgenets.pipeline.worker"
LOOK_SECONDS = 0.1  # between two looks whether all workers live
LONGEST_REASON = 300  # characters


def train_by_workers(
    config: RunConfig,
    out: Path,
    log_dir: Path | None = None,
    workers: int = 1,
    cluster: Path | None = None,
    worker: int = 0,
) -> dict[str, Any]:
    """Train the config's net into the model folder `out`, by one process or several.

    Args:
        config: the net, the images and how it is trained.
        out: the model folder.
        log_dir: events for TensorBoard are written into it.
        workers: how many processes of this machine train it together.
        cluster: file with the addresses of workers on several machines, of which this process is
            one, in place of `workers`.
        worker: which one, from 0.

    Returns:
        What `edgenets.pipeline.one_step.train_folder` returns.

    Raises:
        EdgenetsError: what `train_folder` raises; or a worker ended, and the others were ended.
    """
    if cluster is not None:
        if workers > 1:
            raise EdgenetsError(
                "workers are of this machine, those of a cluster of several; pass one of the two"
            )
        addresses = read_cluster(cluster)
        if worker not in range(len(addresses)):
            raise EdgenetsError(
                f"worker must be from 0 to {len(addresses) - 1}, for {cluster} names "
                f"{len(addresses)}, got {worker}"
            )
        return train_as_worker(config, out, addresses, worker, log_dir)
    if workers > 1:
        return _train_by_processes(config, out, workers, log_dir)
    from edgenets.pipeline.one_step import train_folder

    return train_folder(config, out, log_dir)


def _train_by_processes(
    config: RunConfig, out: Path, count: int, log_dir: Path | None
) -> dict[str, Any]:
    """Let processes train; the first one, in `out`, keeps the model, the others forget it."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
    task = {
        "config": config.model_dump(mode="json"),
        "addresses": addresses,
    }
    with tempfile.TemporaryDirectory(prefix="edgenets-") as name, ExitStack() as ending:
        above, workers = Path(name), list[_Worker]()
        for index in range(count):
            own = {"out": str(above / str(index)), "log_dir": None}
            if index == 0:
                own = {"out": str(out), "log_dir": None if log_dir is None else str(log_dir)}
            workers.append(_Worker(above, index, {**task, **own}))
            ending.callback(workers[-1].end)
        return _wait_for_first(workers)


def read_cluster(path: Path) -> list[str]:
    """Return the addresses in a cluster's file, {"worker": ["host:port", ...]}.

    The same in TensorFlow's `TF_CONFIG`, under "cluster", is taken as well.

    Raises:
        EdgenetsError: it cannot be read, or is not such.
    """
    content = read_json(path)
    spec = content.get("cluster", content) if isinstance(content, dict) else {}
    addresses = spec.get("worker") if isinstance(spec, dict) else None
    if (
        not isinstance(addresses, list)
        or len(addresses) < 2
        or not all(map(_is_address, addresses))
    ):
        raise EdgenetsError(
            f"{path} must name at least two workers as "
            '{"worker": ["host:port", "host:port"]}; correct it'
        )
    if len(set(addresses)) < len(addresses):
        raise EdgenetsError(f"{path} names a worker twice; give each an address of its own")
    return addresses


def _is_address(value: object) -> bool:
    host, _, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    return bool(host) and port.isascii() and port.isdigit() and 0 < int(port) < 65536


class _Worker:
    """A worker's process."""

    def __init__(self, folder: Path, index: int, task: dict[str, Any]) -> None:
        threads = max(1, (os.cpu_count() or 1) // len(task["addresses"]))
        self.index, self._answer = index, folder / f"{index}.json"
        # The first one shows its progress; what the others say is looked at if they fail.
        self._said: IO[bytes] = (folder / f"{index}.log").open("w+b")
        self.process = start_child(
            MODULE,
            {**task, "index": index, "answer": str(self._answer)},
            stdout=self._said,
            stderr=None if index == 0 else self._said,
            env={"TF_NUM_INTRAOP_THREADS": str(threads), **os.environ},
        )

    def answer(self) -> dict[str, Any]:
        """Return what it answered.

        Raises:
            EdgenetsError: it failed.
        """
        if self._answer.exists():
            answered: dict[str, Any] = json.loads(self._answer.read_bytes())
            if ERROR in answered:
                raise EdgenetsError(answered[ERROR])
            return answered
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").splitlines()
        # What one said last is why it ended, unless a signal ended it amid its work.
        is_reason = lines and (self.process.returncode or 0) > 0
        said = f" ({lines[-1].strip()[:LONGEST_REASON]})" if is_reason else ""
        raise EdgenetsError(
            f"worker {self.index} ended with status {self.process.returncode}{said}, and so all "
            "were ended; the same command goes on after the last finished epoch"
        )

    def end(self) -> None:
        """End it, if it has not ended."""
        self.process.kill()
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        self._said.close()


def _wait_for_first(workers: list[_Worker]) -> dict[str, Any]:
    """Return the first worker's answer; fail as soon as one has failed."""
    while True:
        ended = [worker for worker in workers if worker.process.poll() is not None]
        failed = [worker for worker in ended if worker.process.returncode]
        if failed:
            # One that was killed says nothing; those that lost it say only that they did.
            min(failed, key=lambda worker: worker.process.returncode).answer()
        if workers[0] in ended:
            return workers[0].answer()
        time.sleep(LOOK_SECONDS)


def free_ports(count: int) -> list[int]:
    """Return ports of this machine that nothing listens at, all different."""
    with ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
