"""What is seen of a training: a line for each epoch, events for TensorBoard, a table at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from edgenets.errors import EdgenetsError
from edgenets.intervals import wilson_interval
from edgenets.models.backend import tf
from edgenets.progress import say
from edgenets.units import format_interval, format_percent, format_seconds

# Marks a value as one of TensorBoard's scalars. `tf.summary.scalar` would take this mark from the
# package tensorboard, which is needed only where the events are looked at.
SCALAR = tf.compat.v1.SummaryMetadata(
    plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
)


class EpochLog:
    """Tells of the epochs of one training as they end.

    Args:
        name: of the training.
        epochs: how many there will be.
        held_out: how many images their accuracy is of.
        log_dir: events are written to its subfolder `name`, if it is given.

    Raises:
        EdgenetsError: the folder cannot be written.
    """

    def __init__(self, name: str, epochs: int, held_out: int, log_dir: Path | None = None) -> None:
        self._name, self._epochs, self._held_out = name, epochs, held_out
        self._seconds: list[float] = []
        self._last = time.monotonic()
        self._events = None if log_dir is None else _open_events(log_dir / name)

    def tell(self, epoch: int, values: Mapping[str, float]) -> None:
        """Tell of `epoch`, with the keys that `fit` returns; 0 is what was before the first."""
        now = time.monotonic()
        if epoch:
            self._seconds.append(now - self._last)
        self._last = now
        left = median(self._seconds) * (self._epochs - epoch) if self._seconds else 0.0
        say(epoch_line(self._name, epoch, self._epochs, values, self._held_out, left))
        if self._events is not None:
            with self._events.as_default(step=epoch):
                for key, value in values.items():
                    tf.summary.write(key, value, metadata=SCALAR)
            self._events.flush()


def epoch_line(
    name: str,
    epoch: int,
    epochs: int,
    values: Mapping[str, float],
    held_out: int,
    seconds_left: float,
) -> str:
    """Return what an epoch came to, in one line; 0 seconds left are none or not known.

    >>> values = {"loss": 0.8123, "validation_accuracy": 0.78}
    >>> epoch_line("train", 3, 30, values, held_out=50, seconds_left=41.2)
    'train 3/30: loss 0.812, held-out top-1 78.00 % (64.8 to 87.2 %), 41.2 s left'
    """
    accuracy = values["validation_accuracy"]
    interval = format_interval(wilson_interval(accuracy, held_out))
    left = f", {format_seconds(seconds_left)} left" if seconds_left else ""
    return (
        f"{name} {epoch}/{epochs}: loss {values['loss']:.3f}, held-out top-1 "
        f"{format_percent(accuracy)} ({interval}){left}"
    )


def history_csv(history: Mapping[str, Sequence[float]]) -> str:
    """Return a training's history as a table with one row an epoch.

    >>> print(history_csv({"epoch": [1, 2], "loss": [2.5, 1.25]}), end="")
    epoch,loss
    1,2.5
    2,1.25
    """
    rows = [tuple(history), *zip(*history.values(), strict=True)]
    return "".join(",".join(map(str, row)) + "\n" for row in rows)


def _open_events(folder: Path) -> tf.summary.SummaryWriter:
    try:
        return tf.summary.create_file_writer(str(folder))
    except tf.errors.OpError as error:
        raise EdgenetsError(
            f"events must be written to a folder, which {folder} cannot be; pass another --log-dir"
        ) from error
