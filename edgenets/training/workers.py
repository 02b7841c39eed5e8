"""One net trained by several processes: each takes a part of every batch, all take the same step.

The gradients of a step are summed over the workers by TensorFlow's collective operations, in which
each of n workers sends 2 (n - 1) / n of their bytes (Patarasuk and Yuan 2009, ring all-reduce). So
their weights stay equal, bit for bit. Nothing else travels but BatchNorm statistics, once an epoch,
and the checkpoint, where a training goes on. A batch is as large as with one worker.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets.errors import EdgenetsError
from edgenets.files import read_bytes, write_bytes
from edgenets.models.backend import tf
from edgenets.progress import quiet_stderr

SEEDS_APART = 2**20
"""Between the seeds that workers draw augmentation and dropout with."""


class Workers:
    """The workers of one training, as one of them sees them.

    ```python
    workers = Workers(["10.0.0.1:5000", "10.0.0.2:5000"], index=0)  # before any other TensorFlow
    total = workers.sum([gradient])
    ```

    Args:
        addresses: host:port of each, the same for all; one alone needs none.
        index: which of them this process is. The first one keeps the checkpoint and the model.
    """

    def __init__(self, addresses: Sequence[str] = (), index: int = 0) -> None:
        self.count, self.index = max(1, len(addresses)), index
        self._strategy = _connected(addresses, index) if self.count > 1 else None

    def share(self, batch: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return this worker's part of a batch's indices; parts differ by one image at most."""
        return np.array_split(batch, self.count)[self.index]

    def seed(self, seed: int) -> int:
        """Return the seed of this worker's augmentation and dropout; the first one's is `seed`."""
        return seed + self.index * SEEDS_APART

    def sum(self, values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Return the sums of some tensors of one type over all workers, which all call this."""
        if self._strategy is None:
            return list(values)
        summed: list[tf.Tensor] = self._strategy.run(_all_reduce, args=tuple(values))
        return summed

    def sum_now(self, values: Sequence[Any]) -> list[NDArray[Any]]:
        """Return the sums of some arrays over all workers, outside a compiled step."""
        if self._strategy is None:
            return [np.asarray(value) for value in values]
        summed = tf.function(self.sum)([tf.convert_to_tensor(value) for value in values])
        return [value.numpy() for value in summed]

    def take_file_from_first(self, path: Path) -> None:
        """Have the file at `path` that the first worker has at its own, or none."""
        if self._strategy is None:
            return
        content = read_bytes(path) if self.index == 0 and path.exists() else b""
        [size] = self.sum_now([len(content)])
        if size:  # TensorFlow 2.21 ends by SIGSEGV where there is nothing to sum
            own = np.frombuffer(content.ljust(size, b"\0"), np.uint8)
            [sent] = self.sum_now([own.astype(np.int32)])  # collective operations know no bytes
            if self.index:
                write_bytes(path, sent.astype(np.uint8).tobytes())
        elif self.index:
            path.unlink(missing_ok=True)

    def average(self, variables: Sequence[tf.Variable]) -> None:
        """Set variables to their means over all workers."""
        if self._strategy is None or not variables:
            return
        sums = self.sum_now([variable.numpy() for variable in variables])
        for variable, value in zip(variables, sums, strict=True):
            variable.assign(value / self.count)

    def require_equal(self, variables: Sequence[tf.Variable]) -> None:
        """Check that variables are the same in all workers, bit for bit.

        Raises:
            EdgenetsError: they are not.
        """
        if self._strategy is None:
            return
        checksums = np.zeros(self.count, np.int64)
        for variable in variables:
            checksums[self.index] = zlib.crc32(variable.numpy(), checksums[self.index])
        [of_all] = self.sum_now([checksums])
        if len(set(of_all.tolist())) > 1:
            raise EdgenetsError(
                "the weights of the workers are no longer the same; use machines of one kind, with "
                "the same versions of packages"
            )

    @contextmanager
    def lost_ones_named(self) -> Iterator[None]:
        """Say in a sentence that another worker ended, which TensorFlow reports as it may."""
        try:
            yield
        except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.InternalError) as e:
            if self._strategy is None:
                raise
            raise EdgenetsError(
                "another worker ended or cannot be reached; the same commands go on after the last "
                f"finished epoch (TensorFlow: {e.message.splitlines()[0][:200]})"
            ) from e


ALONE = Workers()


def _all_reduce(*values: tf.Tensor) -> list[tf.Tensor]:
    # Identities have the worker's device, by which the strategy finds who takes part.
    own = [tf.identity(value) for value in values]
    reduced = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, own)
    return list(reduced)


def _connected(addresses: Sequence[str], index: int) -> tf.distribute.Strategy:
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(addresses)}),
        task_type="worker",
        task_id=index,
        rpc_layer="grpc",
    )
    ring = tf.distribute.experimental.CommunicationOptions(
        implementation=tf.distribute.experimental.CommunicationImplementation.RING
    )
    with quiet_stderr():  # it reports missing GPU drivers
        return tf.distribute.MultiWorkerMirroredStrategy(resolver, ring)
