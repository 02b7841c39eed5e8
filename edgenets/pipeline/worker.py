"""One of several processes that train a net; see `edgenets.pipeline.workers`.

Writes its answer to the file that its task names.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from edgenets.errors import EdgenetsError
from edgenets.files import write_json
from edgenets.models import WORKER
from edgenets.pipeline.child import take_task
from edgenets.pipeline.config import RunConfig

ERROR = "error"


def main() -> None:
    """Do the task that this process has; the exit status is 1 if it failed."""
    task = take_task()
    try:
        answer = train_as_worker(
            RunConfig.model_validate(task["config"]),
            Path(task["out"]),
            task["addresses"],
            task["index"],
            Path(task["log_dir"]) if task["log_dir"] else None,
        )
    except EdgenetsError as error:
        answer = {ERROR: str(error)}
    write_json(Path(task["answer"]), answer)
    sys.exit(ERROR in answer)


def train_as_worker(
    config: RunConfig, out: Path, addresses: list[str], index: int, log_dir: Path | None = None
) -> dict[str, Any]:
    """Train the config's net together with the workers at `addresses`, which do the same.

    Args:
        config: the same for all.
        out: this worker's own model folder; all get the same model.
        addresses: host:port of each worker.
        index: which of them this process is, from 0. The first one's checkpoint is gone on from.
        log_dir: events for TensorBoard are written into it.

    Returns:
        What `edgenets.pipeline.one_step.train_folder` returns.

    Raises:
        EdgenetsError: as there, or another worker was lost.
    """
    os.environ[WORKER] = str(index)
    from edgenets.training.workers import Workers

    workers = Workers(addresses, index)
    from edgenets.pipeline.one_step import train_folder

    return train_folder(config, out, log_dir, workers)
