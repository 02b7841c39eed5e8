"""The training loop: cosine learning rate, weight decay, label smoothing, best epoch, resumable.

Training, pruning, weight sharing and quantization-aware training all run through `fit`. Its result
depends on the model, the data, the settings and the seed alone: killed after any epoch and called
again it returns the same weights, bit for bit, on the same machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets.data.loading import UNLABELLED
from edgenets.errors import DivergedError, EdgenetsError
from edgenets.models.backend import keras, tf
from edgenets.models.inference import all_logits, check_images, compile_inference, predict_logits
from edgenets.models.weights.initial import classifier
from edgenets.progress import Advance, progress_bar, say
from edgenets.training.augment import as_network_input, augment, random_crops
from edgenets.training.checkpoint import (
    Arrays,
    Progress,
    checkpoint_names,
    load_checkpoint,
    save_checkpoint,
    training_variables,
)
from edgenets.training.data import TrainingData
from edgenets.training.distill import check_teacher, distilled_loss
from edgenets.training.epochs import EpochLog
from edgenets.training.optimizer import adamw
from edgenets.training.pointwise import pointwise_products
from edgenets.training.settings import UNTAUGHT, Distillation, FitSettings, Pace
from edgenets.training.workers import ALONE, Workers

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the way from frozen features to the last epoch
AUXILIARY_WEIGHT = 0.3  # of the loss of each further output: arXiv:1409.4842, section 5
Pixels = NDArray[np.uint8]


class Paused(Exception):
    """A training came as far as `fit` was asked to take it; its checkpoint is kept.

    Attributes:
        history: as `fit` returns it, up to here and without `kept`.
    """

    def __init__(self, history: dict[str, list[float]]) -> None:
        super().__init__("the training is paused")
        self.history = history


def make_repeatable(seed: int) -> None:
    """Seed Python, NumPy and TensorFlow, and let TensorFlow use repeatable kernels only."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def fit(
    model: keras.Model,
    data: TrainingData,
    settings: FitSettings,
    *,
    seed: int,
    checkpoint: Path,
    key: str,
    description: str,
    teacher: keras.Model | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    select_from_epoch: int = 1,
    begin: Callable[[], dict[str, float]] | None = None,
    log_dir: Path | None = None,
    pause: float | None = None,
    workers: Workers = ALONE,
) -> dict[str, list[float]]:
    """Train `model` in place and leave it with the weights of its best epoch.

    Args:
        model: images float32 [-1, 1] -> logits, or a list of logits of which the first ones count
            and the others, of auxiliary heads, help to train.
        data: what to learn from and what to choose the best epoch on.
        settings: epochs, learning rate and so on; what is left open is completed.
        seed: of the order of the images, their augmentation and dropout.
        checkpoint: where the state is kept while training; gone on from if it is there and whole,
            else from the one of the epoch before, which is kept beside it.
        key: names this training, so that another one's checkpoint is refused.
        description: shown at the progress bar and with each epoch.
        teacher: images -> logits, whose answers are learned from as `settings.distillation` says.
        callbacks: told of the beginning and end of the training, its epochs and its batches.
        select_from_epoch: the first epoch (from 1) that may be the best one, for a schedule that
            reaches its goal only then.
        begin: changes the model's weights before the first epoch, and returns their loss and
            accuracy on the images to learn from. What it leaves is epoch 0. Then no best epoch is
            chosen: the model is left with a mean of epoch 0 and the last one, see `_Loop.blend`.
        log_dir: events for TensorBoard are written to its subfolder `description`.
        pause: part of the epochs after which the training pauses: what it is does not change, and
            called again without, it goes on to the end as if it had not.
        workers: the processes that train it together, each with its own copy of all else. The
            first one's checkpoint is gone on from.

    Returns:
        By epoch: its number, loss, accuracy, validation_loss, validation_accuracy, learning_rate,
        and kept, its part in the weights that the model is left with.

    Raises:
        Paused: with `pause`, the training has come so far.
        EdgenetsError: the images do not fit the model, a loss became NaN or infinite, the memory
            is not enough, the checkpoint is not this training's, `log_dir` cannot be written, or
            another worker was lost.
    """
    loop = _Loop(model, data, settings, seed, callbacks, teacher, workers)
    epochs = loop.pace.epochs
    stop = epochs if pause is None else min(epochs, ceil(epochs * pause))
    say(f"{description}: {_pace_in_words(loop.pace, loop.steps)}")
    log = EpochLog(description, epochs, len(data.validation_images), log_dir)
    progress, best = Progress(), list[NDArray[Any]]()

    def keep(epoch: int, values: dict[str, float]) -> None:
        """Record an epoch and, if it is the best so far, its weights; write the checkpoint."""
        nonlocal best
        progress.epoch = epoch
        progress.record({"epoch": epoch, **values})
        score = _score(values)
        may_be_best = epoch >= select_from_epoch if begin is None else epoch == 0
        if may_be_best and score >= progress.best_score:
            progress.best_score, progress.best_epoch = score, epoch
            best = [weight.numpy() for weight in model.variables]
        save_checkpoint(checkpoint, key, progress, loop.variables, best)
        log.tell(epoch, values)

    for name in checkpoint_names(checkpoint.name):
        workers.take_file_from_first(checkpoint.with_name(name))
    if found := load_checkpoint(checkpoint, key, loop.variables):
        progress, best = found
    elif begin is not None:
        keep(0, {**begin(), **loop.validate(0), "learning_rate": 0.0})
    loop.callbacks.on_train_begin()
    with progress_bar(description, epochs * loop.steps) as advance:
        advance(progress.epoch * loop.steps)
        while progress.epoch < stop:
            try:
                with workers.lost_ones_named():
                    values = loop.run_epoch(progress.epoch, advance)
            except tf.errors.ResourceExhaustedError as error:
                raise EdgenetsError(
                    f"not enough memory to train with {loop.batch} images at a time; "
                    "pass a smaller batch size"
                ) from error
            keep(progress.epoch + 1, values)
    if pause is not None:
        raise Paused(until(progress.history, stop))
    loop.callbacks.on_train_end()
    kept = {progress.best_epoch: 1.0}
    if begin is not None and epochs:
        share = loop.blend(best)
        kept = {0: 1 - share, epochs: share}
        say(f"{description}: {share:.0%} of the way from the frozen features is kept")
    elif best:  # there is none after no epoch
        assign(model, best)
    history = progress.history
    if history:
        history["kept"] = [kept.get(int(epoch), 0.0) for epoch in history["epoch"]]
    return history


def first_part(history: dict[str, list[float]], part: float) -> dict[str, list[float]]:
    """Return the history of a whole training as it was when so much of it was done."""
    return until(history, ceil(part * max(history.get("epoch", [0.0]))))


def until(history: Mapping[str, list[float]], last: int) -> dict[str, list[float]]:
    """Return a history up to an epoch."""
    count = sum(epoch <= last for epoch in history.get("epoch", []))
    return {key: values[:count] for key, values in history.items()}


def assign(model: keras.Model, values: Arrays) -> None:
    """Set all variables of a model."""
    for variable, value in zip(model.variables, values, strict=True):
        variable.assign(value)


def _score(values: Mapping[str, float]) -> float:
    """Return by what weights are compared: accuracy, of which one in 1,000 of the loss is taken."""
    return values["validation_accuracy"] - 1e-3 * values["validation_loss"]


def _pace_in_words(pace: Pace, steps: int) -> str:
    return (
        f"{pace.epochs} epochs of {steps} steps of {pace.batch_size} images, learning rate "
        f"{pace.learning_rate:g}, BatchNorm {pace.batch_norm}"
    )


def pace_of(
    settings: FitSettings,
    model: keras.Model,
    images: int,
    *,
    transferred: bool = False,
    taught: bool = False,
) -> Pace:
    """Return the pace at which `model` is trained on so many images."""
    return settings.pace(
        images,
        has_batch_norm=bool(_batch_norms(model)),
        transferred=transferred,
        taught=taught,
        features=classifier(model).input_shape[-1],
    )


def batch_and_steps(images: int, pace: Pace) -> tuple[int, int]:
    """Return how many images a step takes, at most all, and how many whole steps an epoch has."""
    batch = min(pace.batch_size, images)
    return batch, images // batch


class _Loop:
    """The compiled step and the state of one training."""

    def __init__(
        self,
        model: keras.Model,
        data: TrainingData,
        settings: FitSettings,
        seed: int,
        callbacks: Sequence[keras.callbacks.Callback],
        teacher: keras.Model | None = None,
        workers: Workers = ALONE,
    ) -> None:
        if teacher is not None:
            check_teacher(teacher, model)
        for images in (data.images, data.validation_images):
            check_images(model, images.take([0]))
        self.sources = data.sources if settings.augment else None  # of crops
        if self.sources is not None:
            self.sources.take([0])  # prepared here, before another thread takes some
        make_repeatable(seed)
        self.model, self.data, self.settings, self.seed = model, data, settings, seed
        self.workers, self.own_seed = workers, workers.seed(seed)
        self.distillation = settings.distillation or Distillation()
        self.teacher = teacher if self.distillation.alpha else None
        nets = (model, self.teacher) if self.teacher else (model,)
        self.sides = list(dict.fromkeys(net.input_shape[1] for net in nets))  # of their images
        if self.teacher is None and np.any(data.labels == UNLABELLED):
            raise EdgenetsError(UNTAUGHT)
        self.pace = pace_of(settings, model, len(data.images))
        self.batch, self.steps = batch_and_steps(len(data.images), self.pace)
        if workers.count > self.batch:
            raise EdgenetsError(
                f"a batch of {self.batch} images cannot be divided among {workers.count} workers; "
                "pass a larger batch size, or fewer workers"
            )
        self.class_weights = tf.constant(data.class_weights(settings.class_weights))
        for layer in _batch_norms(model) if self.pace.batch_norm == "frozen" else ():
            # In Keras, one that is not trainable does in training what it does in inference.
            layer.trainable = False
        self.optimizer = adamw(model, settings, self.pace, self.steps)
        self.loss = keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=settings.label_smoothing
        )
        self.variables = training_variables(model, self.optimizer)
        self.callbacks = keras.callbacks.CallbackList(list(callbacks), model=model)
        # No layer decides by a tensor's value in Python, so AutoGraph would only take time.
        self.train_step = tf.function(self._train_step, autograph=False)
        self.teach = tf.function(self._teach, autograph=False)
        self.inference = compile_inference(model)
        _set_batch_norm_momentum(model, self.steps)

    def run_epoch(self, epoch: int, advance: Advance) -> dict[str, float]:
        """Train once on every image that fills a batch; return the epoch's losses, accuracies."""
        _reseed_dropout(self.model, self.own_seed, epoch)
        self.callbacks.on_epoch_begin(epoch)
        loss, correct, labelled = 0.0, 0.0, 0.0
        for step, (indices, images) in enumerate(self._batches(epoch)):
            self.callbacks.on_train_batch_begin(step)
            labels = self.data.labels[indices]
            step_seed = tf.constant([self.own_seed, epoch * self.steps + step])
            taught = tf.zeros([0]) if self.teacher is None else self.teach(images[-1], step_seed)
            step_loss, step_correct = self.train_step(images[0], taught, labels, step_seed)
            self.callbacks.on_train_batch_end(step)
            loss += float(step_loss) / self.steps
            correct += int(step_correct)
            labelled += np.count_nonzero(labels != UNLABELLED)
            advance(1, f"loss {float(step_loss):.3f}")
        totals = [np.float64(value) for value in (loss, correct, labelled)]
        loss, correct, labelled = map(float, self.workers.sum_now(totals))
        self._require_finite(loss, epoch)
        self._average_statistics()
        self.workers.require_equal(self.variables)
        self.callbacks.on_epoch_end(epoch)
        return {
            "loss": loss,
            "accuracy": correct / max(1, labelled),
            **self.validate(epoch),
            "learning_rate": float(self.optimizer.learning_rate),
        }

    def _average_statistics(self) -> None:
        """Give all workers the means of what BatchNorm saw of each one's images."""
        if self.pace.batch_norm == "trained":
            norms = _batch_norms(self.model)
            self.workers.average([v for norm in norms for v in norm.non_trainable_variables])

    def validate(self, epoch: int) -> dict[str, float]:
        """Return loss and accuracy on the images that the best epoch is chosen by."""
        logits = predict_logits(self.inference, self.data.validation_images)
        truth = self.data.validation_labels
        loss = float(self._loss(logits, truth))
        self._require_finite(loss, epoch)
        accuracy = float(np.mean(logits.argmax(axis=1) == truth))
        return {"validation_loss": loss, "validation_accuracy": accuracy}

    def blend(self, begun: Arrays) -> float:
        """Move the weights back towards those that the training began with, as far as that helps.

        A mean of both often does better on new images than either, and its held-out accuracy
        depends less on chance than that of the best of many epochs.

        Returns:
            Which part of the way is left: of `SHARES`, the best one on the held-out images.

        Source: Wortsman et al. 2022, arXiv:2109.01903 (WiSE-FT).
        """
        ended = [variable.numpy() for variable in self.model.variables]

        def move(share: float) -> None:
            pairs = zip(begun, ended, strict=True)
            assign(self.model, [(1 - share) * first + share * last for first, last in pairs])

        scores = {}
        for share in SHARES:
            move(share)
            scores[share] = _score(self.validate(self.pace.epochs - 1))
        best = max(SHARES, key=lambda share: scores[share])
        move(best)
        return best

    def _require_finite(self, loss: float, epoch: int) -> None:
        if not np.isfinite(loss):
            raise DivergedError(
                f"the loss became {loss} in epoch {epoch + 1}; "
                f"pass a lower learning rate than {self.pace.learning_rate}"
            )

    def _batches(self, epoch: int) -> Iterator[tuple[NDArray[np.int64], list[Pixels]]]:
        """Yield the epoch's batches in its own order, the next one prepared while one is used.

        Each is its indices and its images: the net's, and last the teacher's, which may be those.
        """
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.data.images))
        batches = order[: self.steps * self.batch].reshape(self.steps, self.batch)
        chosen = [self.workers.share(batch) for batch in batches]
        with ThreadPoolExecutor(max_workers=1) as pool:
            following = pool.submit(self._take, chosen[0], (self.own_seed, epoch, 0))
            for step, indices in enumerate(chosen):
                images = following.result()
                if step + 1 < self.steps:
                    seed = (self.own_seed, epoch, step + 1)
                    following = pool.submit(self._take, chosen[step + 1], seed)
                yield indices, images

    def _take(self, indices: NDArray[np.int64], seed: tuple[int, ...]) -> list[Pixels]:
        """Return some images, or crops of them, for the net and last for its teacher."""
        if self.sources is None:
            return [self.data.images.take(indices)]
        strength, flip = self.settings.augment, self.data.flip
        return random_crops(
            self.sources.take(indices), seed, self.sides, strength=strength, flip=flip
        )

    def _teach(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        assert self.teacher is not None  # is not called without one
        views, (side, _) = self._views(images, seed), self.teacher.input_shape[1:3]
        if views.shape[1] != side:  # of small images that are not cropped
            views = tf.image.resize(views, (side, side), antialias=True)
        return all_logits(self.teacher, views, training=False)[0]

    def _views(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Return random views in [-1, 1]: of one seed the same ones at every resolution."""
        if self.sources is not None:  # they are views already
            return as_network_input(images)
        return augment(images, seed, strength=self.settings.augment, flip=self.data.flip)

    def _train_step(
        self, images: tf.Tensor, taught: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        views = self._views(images, seed)
        with tf.GradientTape() as tape:
            with pointwise_products(self.model):
                logits, *auxiliary = all_logits(self.model, views, training=True)
            loss = self._loss(logits, labels)
            if self.teacher is not None:
                loss = distilled_loss(self.distillation, loss, logits, taught)
            loss = tf.add_n([loss, *self.model.losses])
            for head in auxiliary:
                loss += AUXILIARY_WEIGHT * self._loss(head, labels)
            if self.workers.count > 1:  # its part of the mean over the batch
                loss *= labels.shape[0] / self.batch
        weights = self.model.trainable_variables
        gradients = self.workers.sum(tape.gradient(loss, weights))
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        return loss, tf.reduce_sum(tf.cast(tf.argmax(logits, axis=1) == labels, tf.int32))

    def _loss(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Return the weighted sum of the labelled images' losses by the number of all images."""
        of_label = tf.gather(self.class_weights, tf.maximum(labels, 0))
        weights = tf.where(labels != UNLABELLED, of_label, 0.0)
        return self.loss(tf.one_hot(labels, logits.shape[1]), logits, weights)


def _set_batch_norm_momentum(model: keras.Model, steps: int) -> None:
    """Let moving statistics follow the weights within half an epoch, as short trainings need."""
    momentum = min(0.99, max(0.9, 1 - 2 / steps))
    for layer in _batch_norms(model):
        layer.momentum = momentum


def _batch_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    return [m for m in model.submodules if isinstance(m, keras.layers.BatchNormalization)]


def _reseed_dropout(model: keras.Model, seed: int, epoch: int) -> None:
    """Give every dropout the state it has at the start of this epoch, resumed or not."""
    dropouts = [m for m in model.submodules if isinstance(m, keras.layers.Dropout)]
    for i, dropout in enumerate(dropouts):
        generator = dropout._random_generator._generator
        if generator is not None:
            generator.reset_from_key_counter(
                key=np.uint64(seed), counter=np.array([epoch, i], np.uint64)
            )
