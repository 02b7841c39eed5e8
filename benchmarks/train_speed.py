"""Compare how fast nets train by `edgenets train` and by plain `model.fit`, at 32 and 96 pixels.

python benchmarks/train_speed.py [--parts] [--precision mixed_bfloat16] [NET ...]

Each training is a process of its own, on random images, 64 at a time; they take turns of two steps,
so that what else the machine does falls on all of them. Figures are medians of the turns after
TensorFlow has traced and warmed up. The plain one has Keras's AdamW and cross entropy, and neither
random views nor repeatable kernels. Beside images a second by the clock stands the processor time
of a step, which other programs lengthen less; the ratio is that of processor times.

With `--parts`, three more trainings tell what the difference is made of: `model.fit` with one of
the two things that make a step of `edgenets` cheaper, and `edgenets` without random views.

ShuffleNet V1 comes twice more, with other forms of its grouped convolutions: Keras's
`Conv2D(groups=...)`, which Keras compiles by XLA on CPUs, and the same operation uncompiled, as the
export has it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import queue
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgenets.data.dataset import Split
from edgenets.data.images import Preparation
from edgenets.models.backend import keras
from edgenets.models.grouped import GroupedPointwise, with_native_groups
from edgenets.models.registry import NETS, create
from edgenets.training.data import TrainingData
from edgenets.training.fit import fit
from edgenets.training.optimizer import FusedAdamW
from edgenets.training.pointwise import pointwise_products
from edgenets.training.settings import FitSettings


def with_keras_groups(model: keras.Model) -> keras.Model:
    """Return a copy of `model` whose grouped pointwise convolutions are Keras's own."""

    def native(layer: keras.layers.Layer) -> keras.layers.Layer:
        kind = keras.layers.Conv2D if isinstance(layer, GroupedPointwise) else type(layer)
        return kind.from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=native)


class Trained(NamedTuple):
    """A net as it is trained."""

    net: str
    width: float | None = None
    change: Callable[[keras.Model], keras.Model] = lambda model: model

    def create(self, resolution: int, output_stride: int) -> keras.Model:
        """Return the net, untrained."""
        width = {} if self.width is None else {"width": self.width}
        size = {"resolution": resolution, "output_stride": output_stride}
        return self.change(create(self.net, classes=CLASSES, **size, **width))


TRAINED = {
    "mobilenet_v1 0.25": Trained("mobilenet_v1", width=0.25),
    **{name: Trained(name) for name, net in NETS.items() if net.family != "baseline"},
    "shufflenet_v1, Conv2D(groups)": Trained("shufflenet_v1", change=with_keras_groups),
    "shufflenet_v1, uncompiled": Trained("shufflenet_v1", change=with_native_groups),
}
OUTPUT_STRIDES = {32: 8, 96: 32}  # by resolution
CLASSES, BATCH = 10, 64
TURN_STEPS, TURNS, WARM_UP_TURNS = 2, 6, 1  # the last turn does not count: others are ending
STEPS = TURNS * TURN_STEPS


class Turn(keras.callbacks.Callback):
    """Lets a training go on when it is its turn, and notes what a step of each turn took."""

    def __init__(self, own: Any, following: Any) -> None:
        super().__init__()
        self.own, self.following = own, following  # semaphores
        self.clock: list[float] = []
        self.processor: list[float] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Wait for the first turn."""
        self._begin()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """At the end of a turn, wait for the next."""
        turn, step = divmod(batch, TURN_STEPS)
        if step < TURN_STEPS - 1:
            return
        if WARM_UP_TURNS <= turn < TURNS - 1:
            self.clock.append((time.perf_counter() - self._began[0]) / TURN_STEPS)
            self.processor.append((time.process_time() - self._began[1]) / TURN_STEPS)
        self.following.release()
        if turn < TURNS - 1:
            self._begin()

    def _begin(self) -> None:
        self.own.acquire()
        self._began = time.perf_counter(), time.process_time()


def random_images(resolution: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images = BATCH * STEPS
    pixels = rng.integers(0, 256, (images, resolution, resolution, 3), np.uint8)
    return pixels, rng.integers(0, CLASSES, images)


def train_by_edgenets(model: keras.Model, turn: Turn, **settings: float) -> None:
    pixels, labels = random_images(model.input_shape[1])
    train = Split(tuple(pixels), labels)
    one = train.subset(np.array([0]))
    preparation = Preparation(*model.input_shape[1:3])
    data = TrainingData(
        train.load(preparation),
        labels,
        one.load(preparation),
        one.labels,
        flip=settings.get("augment") != 0,
    )
    with tempfile.TemporaryDirectory() as folder:
        fit(
            model,
            data,
            FitSettings(epochs=1, batch_size=BATCH, **settings),
            seed=0,
            checkpoint=Path(folder) / "checkpoint",
            key="speed",
            description=model.name,
            callbacks=[turn],
        )


def train_by_keras(
    model: keras.Model,
    turn: Turn,
    *,
    optimizer: type[keras.optimizers.Optimizer] = keras.optimizers.AdamW,
    products: bool = False,
) -> None:
    pixels, labels = random_images(model.input_shape[1])
    model.compile(optimizer(), keras.losses.CategoricalCrossentropy(from_logits=True))
    images, wanted = (
        pixels.astype(np.float32) / 127.5 - 1,
        np.eye(CLASSES, dtype=np.float32)[labels],
    )
    with pointwise_products(model) if products else nullcontext():
        model.fit(
            images,
            [wanted] * len(model.outputs),
            batch_size=BATCH,
            epochs=1,
            callbacks=[turn],
            verbose=0,
        )


Training = Callable[..., None]
TRAININGS: dict[str, tuple[Training, dict[str, Any]]] = {
    "model.fit": (train_by_keras, {}),
    "edgenets": (train_by_edgenets, {}),
}
PARTS: dict[str, tuple[Training, dict[str, Any]]] = {
    "model.fit, 1x1 as products": (train_by_keras, {"products": True}),
    "model.fit, fused AdamW": (train_by_keras, {"optimizer": FusedAdamW}),
    "edgenets without views": (train_by_edgenets, {"augment": 0.0}),
}


def train_all(
    training: str, names: Sequence[str], precision: str, own: Any, following: Any, results: Any
) -> None:
    """Train every net one way; put the median clock and processor time of a step in `results`."""
    keras.mixed_precision.set_global_policy(precision)
    train, options = (TRAININGS | PARTS)[training]
    for name in names:
        for resolution, output_stride in OUTPUT_STRIDES.items():
            model = TRAINED[name].create(resolution, output_stride)
            turn = Turn(own, following)
            train(model, turn, **options)
            medians = statistics.median(turn.clock), statistics.median(turn.processor)
            results.put((name, resolution, training, *medians))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nets", nargs="*", default=list(TRAINED), metavar="NET")
    parser.add_argument("--parts", action="store_true")
    parser.add_argument("--precision", default="float32", choices=["float32", "mixed_bfloat16"])
    chosen = parser.parse_args()
    trainings = [*TRAININGS, *(PARTS if chosen.parts else ())]
    context = multiprocessing.get_context("spawn")
    turns = [context.Semaphore(1 if i == 0 else 0) for i in range(len(trainings))]
    results = context.Queue()
    processes = [
        context.Process(
            target=train_all,
            args=(training, chosen.nets, chosen.precision, own, following, results),
            daemon=True,
        )
        for training, own, following in zip(trainings, turns, turns[1:] + turns[:1], strict=True)
    ]
    for process in processes:
        process.start()
    clock = " | ".join(f"{training}, images/s" for training in trainings)
    processor = " | ".join(f"{training}, ms" for training in trainings)
    print(f"| net | pixels | {clock} | {processor} | ratio |")
    print("|---" * (2 * len(trainings) + 3) + "|")
    for name in chosen.nets:
        for resolution in OUTPUT_STRIDES:
            print(row(name, resolution, trainings, results, processes), flush=True)


def row(
    name: str, resolution: int, trainings: Sequence[str], results: Any, processes: Sequence[Any]
) -> str:
    """Wait for what all trainings of a net took and return the line of the table."""
    took: dict[str, tuple[float, float]] = {}
    while len(took) < len(trainings):
        try:
            *of, training, clock, processor = results.get(timeout=1)
        except queue.Empty:
            if any(process.exitcode for process in processes):
                raise SystemExit("a training failed, see above") from None
            continue
        assert of == [name, resolution]  # in turns, none begins a net before all have ended one
        took[training] = clock, processor
    speeds = " | ".join(f"{BATCH / took[training][0]:.0f}" for training in trainings)
    steps = " | ".join(f"{1000 * took[training][1]:.1f}" for training in trainings)
    ratio = took["model.fit"][1] / took["edgenets"][1]
    return f"| {name} | {resolution} | {speeds} | {steps} | {ratio:.2f} |"


if __name__ == "__main__":
    main()
