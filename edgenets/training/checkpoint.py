"""Training state in one file, replaced as a whole after every epoch; the one before it is kept.

It holds the model's variables, the optimizer's, the best epoch's weights and the history: with it a
training that was killed goes on as if nothing had happened. Its last bytes are the SHA-256 of the
others, so that no changed bit is trained on: then the training goes on from the epoch before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from edgenets.errors import EdgenetsError
from edgenets.files import read_bytes, rename, replacing
from edgenets.models.backend import keras
from edgenets.progress import say

PREVIOUS = ".previous"  # at the end of its name: the checkpoint of the epoch before
DIGEST_BYTES = hashlib.sha256().digest_size
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
    """Write the state to `path` atomically, and keep the one that is there as the previous one.

    Args:
        path: a safetensors file, and behind it 32 bytes: its SHA-256.
        key: says which training it belongs to.
        progress: how far that has come.
        variables: what an epoch changes.
        best: the weights that may be kept.
    """
    tensors = {f"variable/{i}": variable.numpy() for i, variable in enumerate(variables)}
    tensors.update({f"best/{i}": array for i, array in enumerate(best)})
    metadata = {"key": key, "progress": json.dumps(asdict(progress))}
    tensors = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    content = safetensors.numpy.save(tensors, metadata)
    with replacing(path) as partial:
        with partial.open("wb") as file:
            file.write(content)
            file.write(hashlib.sha256(content).digest())
        if path.exists():
            rename(path, path.with_name(path.name + PREVIOUS))


def load_checkpoint(
    path: Path, key: str, variables: Sequence[Any]
) -> tuple[Progress, Arrays] | None:
    """Set `variables` from the newest sound checkpoint and return its progress and best weights.

    A damaged one is removed, which a word tells.

    Returns:
        None, and nothing was set, if there is no sound one.

    Raises:
        EdgenetsError: it cannot be read, or belongs to another training.
    """
    for name in checkpoint_names(path.name):
        generation = path.with_name(name)
        if not generation.exists():
            continue
        if (state := _read(generation)) is not None:
            return _restore(state, generation, key, variables)
        generation.unlink()
        say(
            f"the checkpoint {generation} was damaged and is removed: the training goes on from an "
            "earlier epoch, or from its beginning"
        )
    return None


def checkpoint_names(name: str) -> tuple[str, str]:
    """Return the names of the files that a checkpoint may have, the newest one first."""
    return name, name + PREVIOUS


def remove_checkpoint(path: Path) -> None:
    """Remove what `save_checkpoint` wrote to `path`, if it is there."""
    for name in checkpoint_names(path.name):
        path.with_name(name).unlink(missing_ok=True)


class _State(NamedTuple):
    """What a checkpoint holds."""

    tensors: dict[str, NDArray[Any]]
    key: str
    progress: Progress


def _read(path: Path) -> _State | None:
    """Return what is in a checkpoint; None if any bit of it is not as it was written."""
    content = read_bytes(path)
    body, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        return None
    length = int.from_bytes(body[:8], "little")
    metadata = json.loads(body[8 : 8 + length])["__metadata__"]
    progress = Progress(**json.loads(metadata["progress"]))
    return _State(safetensors.numpy.load(body), metadata["key"], progress)


def _restore(
    state: _State, path: Path, key: str, variables: Sequence[Any]
) -> tuple[Progress, Arrays]:
    tensors = state.tensors
    shapes = {
        name: tensor.shape for name, tensor in tensors.items() if not name.startswith("best/")
    }
    wanted = {f"variable/{i}": tuple(variable.shape) for i, variable in enumerate(variables)}
    if state.key != key or shapes != wanted:
        raise EdgenetsError(
            f"the checkpoint {path} belongs to a training with other settings, data or versions "
            "of packages; remove it to start again, or repeat the old command to go on"
        )
    for i, variable in enumerate(variables):
        variable.assign(tensors[f"variable/{i}"])
    best = [tensors[f"best/{i}"] for i in range(len(tensors) - len(variables))]
    return state.progress, best


def training_variables(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> list[Any]:
    """Return every variable that an epoch changes."""
    return [*model.variables, *optimizer.variables]
