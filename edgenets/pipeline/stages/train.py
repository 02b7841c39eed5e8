"""The stage that trains the float model, with a teacher or without."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from edgenets.data.folder import first_few
from edgenets.errors import EdgenetsError
from edgenets.export.write.checked_file import float_file
from edgenets.files import write_bytes
from edgenets.models.backend import keras
from edgenets.models.folder import History, Model, Spec, build_model
from edgenets.models.inception_v1 import with_auxiliary_heads
from edgenets.models.registry import complete_arguments
from edgenets.models.weights.initial import replace_classes
from edgenets.pipeline.config import RunConfig
from edgenets.pipeline.stages.inputs import RunImages, preparation_of
from edgenets.pipeline.stages.measure import measure_model
from edgenets.pipeline.stages.places import CHECKPOINT, FLOAT_FILE, HISTORY, Record
from edgenets.profile import profile
from edgenets.training.epochs import history_csv
from edgenets.training.fit import fit, make_repeatable, pace_of
from edgenets.training.transfer import fit_classifier, freeze_layers, measure
from edgenets.training.workers import ALONE, Workers


def train_stage(
    images: RunImages,
    initial: Model | None,
    log_dir: Path | None,
    pause: float | None,
    folder: Path,
    previous: Path,
    key: str,
) -> Record:
    """Train a new model; write its folder and, for comparison, its float32 `.tflite`."""
    model = train_model(images, initial, folder / CHECKPOINT, key, log_dir, pause)
    model.save(folder)
    history = write_history(folder, model.spec.history.get("train"))
    content = float_file(model.net, model.spec)
    write_bytes(folder / FLOAT_FILE, content)
    cost = profile(model.net)
    return {
        **measure_model(images, model, content),
        "history": history,
        "macs": cost.macs,
        "layers": [layer._asdict() for layer in cost.layers],
    }


def write_history(folder: Path, history: History | None) -> History | None:
    """Write a training's history as a table into `folder`, and return it; None if it had none."""
    if history:
        write_bytes(folder / HISTORY, history_csv(history).encode())
    return history or None


def train_model(
    images: RunImages,
    initial: Model | None,
    checkpoint: Path,
    key: str,
    log_dir: Path | None = None,
    pause: float | None = None,
    workers: Workers = ALONE,
) -> Model:
    """Train the config's net from its first weights, or go on from the checkpoint.

    Trained weights of other classes first get a classifier on their frozen features. `pause` is as
    for `edgenets.training.fit.fit`.
    """
    config, data = images.config, images.training
    first = initial_model(config, initial, images.dataset.classes)
    spec = first.spec
    # Variables are float32 under either policy; a saved model is always rebuilt in float32.
    keras.mixed_precision.set_global_policy(config.train.precision)
    try:
        model = build_model(spec)
        heads = spec.name == "inception_v1" and config.train.auxiliary_heads
        trained = with_auxiliary_heads(model) if heads else model
    finally:
        keras.mixed_precision.set_global_policy("float32")
    model.set_weights(first.net.get_weights())
    pace = pace_of(
        config.train,
        model,
        len(data.images),
        transferred=initial is not None,
        taught=config.train.teacher is not None,
    )
    distillation = config.train.distillation_for(transferred=initial is not None)
    settings = config.train.model_copy(update={**pace._asdict(), "distillation": distillation})
    begin = None
    if initial:
        transfer = config.train.transfer
        freeze_layers(model, transfer.frozen_part(len(data.images)))
        if transfer.classifier and set(initial.spec.labels) != set(spec.labels):
            begin = partial(fit_classifier, model, data, settings, seed=config.seed)
        elif pace.epochs:
            begin = partial(measure, model, data, config.seed)
    teacher = None
    if config.train.teacher:
        teacher = load_teacher(Path(config.train.teacher), images.dataset.classes)
    history = fit(
        trained,
        data,
        settings,
        seed=config.seed,
        checkpoint=checkpoint,
        key=key,
        description="train",
        teacher=teacher,
        begin=begin,
        log_dir=log_dir,
        pause=pause,
        workers=workers,
    )
    first.net.set_weights(model.get_weights())
    spec = replace(spec, seeded_split=images.dataset.seeded_split)
    if history:
        spec = replace(spec, history={"train": history}, training=pace._asdict())
    return Model(first.net, spec)


def load_teacher(folder: Path, classes: tuple[str, ...]) -> keras.Model:
    """Load the model that a training learns from.

    Raises:
        EdgenetsError: it cannot be loaded, or knows other classes.
    """
    teacher = Model.load(folder)
    if teacher.spec.labels != classes:
        raise EdgenetsError(
            f"the teacher {folder} must know the images' classes ({first_few(classes)}), it knows "
            f"{first_few(teacher.spec.labels)}; train one on these images"
        )
    return teacher.net


def initial_model(config: RunConfig, initial: Model | None, labels: tuple[str, ...]) -> Model:
    """Return the config's net as its training begins, for the classes `labels`."""
    make_repeatable(config.seed)
    if initial is not None:
        return replace_classes(initial, labels)
    name = config.model["name"]
    arguments = complete_arguments(name, {**config.arguments, "classes": len(labels)})
    spec = Spec(name, arguments, labels, preparation_of(config), config.seed)
    return Model(build_model(spec), spec)
