"""Time how many images a second the nets train on, at 32 and at 96 pixels.

python benchmarks/train_speed.py [--precision mixed_bfloat16] [NET ...]

Each figure is the median step of one training as `edgenets train` runs it, on random images, 64 at
a time, after the steps in which TensorFlow traces and warms up. ShuffleNet V1 comes twice more,
with other forms of its grouped convolutions: Keras's `Conv2D(groups=...)`, which Keras compiles by
XLA on CPUs, and the same operation uncompiled, as the export has it.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgenets.data.dataset import Split
from edgenets.data.images import Preparation
from edgenets.models.backend import keras
from edgenets.models.grouped import GroupedPointwise, with_native_groups
from edgenets.models.registry import NETS, create
from edgenets.training.data import TrainingData
from edgenets.training.fit import fit
from edgenets.training.settings import FitSettings

Change = Callable[[keras.Model], keras.Model]


def with_keras_groups(model: keras.Model) -> keras.Model:
    """Return a copy of `model` whose grouped pointwise convolutions are Keras's own."""

    def native(layer: keras.layers.Layer) -> keras.layers.Layer:
        kind = keras.layers.Conv2D if isinstance(layer, GroupedPointwise) else type(layer)
        return kind.from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=native)


TRAINED: dict[str, tuple[str, Change]] = {
    **{name: (name, lambda model: model) for name, net in NETS.items() if net.family != "baseline"},
    "shufflenet_v1, Conv2D(groups)": ("shufflenet_v1", with_keras_groups),
    "shufflenet_v1, uncompiled": ("shufflenet_v1", with_native_groups),
}
OUTPUT_STRIDES = {32: 8, 96: 32}  # by resolution
CLASSES, BATCH = 10, 64
WARM_UP_STEPS, STEPS = 3, 8


class StepTimes(keras.callbacks.Callback):
    """When each step of the training ended."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Note the time."""
        self.ends.append(time.perf_counter())


def random_data(resolution: int, images: int) -> TrainingData:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (images, resolution, resolution, 3), np.uint8)
    labels = rng.integers(0, CLASSES, images)
    preparation = Preparation(resolution, resolution)
    train = Split(tuple(pixels), labels)
    one = train.subset(np.array([0]))
    return TrainingData(
        train.load(preparation), labels, one.load(preparation), one.labels, flip=True
    )


def images_per_second(name: str, resolution: int, precision: str) -> float:
    net, change = TRAINED[name]
    keras.mixed_precision.set_global_policy(precision)
    model = change(
        create(
            net,
            resolution=resolution,
            classes=CLASSES,
            output_stride=OUTPUT_STRIDES[resolution],
        )
    )
    times = StepTimes()
    with tempfile.TemporaryDirectory() as folder:
        fit(
            model,
            random_data(resolution, BATCH * (WARM_UP_STEPS + STEPS)),
            FitSettings(epochs=1, batch_size=BATCH),
            seed=0,
            checkpoint=Path(folder) / "checkpoint",
            key="speed",
            description=f"{name} at {resolution}",
            callbacks=[times],
        )
    steps = [end - start for start, end in itertools.pairwise(times.ends[WARM_UP_STEPS - 1 :])]
    return BATCH / statistics.median(steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nets", nargs="*", default=list(TRAINED), metavar="NET")
    parser.add_argument("--precision", default="float32", choices=["float32", "mixed_bfloat16"])
    chosen = parser.parse_args()
    print("| net | images/s at 32 px | at 96 px |")
    print("|---|---|---|")
    for name in chosen.nets:
        speeds = [images_per_second(name, side, chosen.precision) for side in OUTPUT_STRIDES]
        print(f"| {name} | {speeds[0]:.0f} | {speeds[1]:.0f} |", flush=True)


if __name__ == "__main__":
    main()
