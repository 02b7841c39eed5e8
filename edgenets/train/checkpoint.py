"""Training state in one file, replaced as a whole after every epoch.

It holds the model's variables, the optimizer's, the best epoch's weights and the history: with it a
training that was killed goes on as if nothing had happened.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from edgenets.errors import EdgenetsError
from edgenets.files import read_bytes, write_bytes
from edgenets.models.backend import keras

Arrays = list[NDArray[Any]]


@dataclass
class Progress:
    """How far a training has come."""

    epoch: int = 0  # epochs finished
    best_epoch: int = 0  # the epoch whose weights are kept, from 1; 0 before the first
    best_score: float = float("-inf")
    history: dict[str, list[float]] = field(default_factory=dict)

    def record(self, values: dict[str, float]) -> None:
        """Append an epoch's values to the history."""
        for name, value in values.items():
            self.history.setdefault(name, []).append(value)


def save_checkpoint(
    path: Path, key: str, progress: Progress, variables: Sequence[Any], best: Arrays
) -> None:
    """Write the state to `path` atomically; `key` says which training it belongs to."""
    tensors = {f"variable/{i}": variable.numpy() for i, variable in enumerate(variables)}
    tensors.update({f"best/{i}": array for i, array in enumerate(best)})
    metadata = {"key": key, "progress": json.dumps(asdict(progress))}
    tensors = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    write_bytes(path, safetensors.numpy.save(tensors, metadata))


def load_checkpoint(path: Path, key: str, variables: Sequence[Any]) -> tuple[Progress, Arrays]:
    """Set `variables` from the checkpoint and return its progress and best weights.

    Raises:
        EdgenetsError: the file is damaged or belongs to another training.
    """
    content = read_bytes(path)
    try:
        tensors = safetensors.numpy.load(content)
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length])["__metadata__"]
        progress = Progress(**json.loads(metadata["progress"]))
        stored = metadata["key"]
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise EdgenetsError(
            f"the checkpoint {path} is damaged; remove it to start again"
        ) from error
    shapes = {
        name: tensor.shape for name, tensor in tensors.items() if not name.startswith("best/")
    }
    wanted = {f"variable/{i}": tuple(variable.shape) for i, variable in enumerate(variables)}
    if stored != key or shapes != wanted:
        raise EdgenetsError(
            f"the checkpoint {path} belongs to a training with other settings or data; "
            "remove it to start again, or repeat the old command to go on"
        )
    for i, variable in enumerate(variables):
        variable.assign(tensors[f"variable/{i}"])
    best = [tensors[f"best/{i}"] for i in range(len(tensors) - len(variables))]
    return progress, best


def training_variables(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> list[Any]:
    """Return every variable that an epoch changes."""
    return [*model.variables, *optimizer.variables]
