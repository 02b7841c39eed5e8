"""The stages of a run: each makes its folder from the previous one's and measures what it made.

The functions here do the work and know nothing of resuming, which `edgenets.pipeline.run` does for
all of them alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets import flatbuffer
from edgenets.data.census import describe, warnings_of_images
from edgenets.data.dataset import Dataset, Images, Skipped
from edgenets.data.folder import first_few
from edgenets.data.images import Preparation
from edgenets.data.loading import UNLABELLED
from edgenets.data.sources import open_dataset
from edgenets.data.splits import balanced_sample
from edgenets.errors import EdgenetsError
from edgenets.export.formats import FP16, INT8
from edgenets.export.inspect.metadata import layer_names
from edgenets.export.measure.accuracy import classify, score
from edgenets.export.measure.benchmark import benchmark_file
from edgenets.export.measure.classifier import Classifier
from edgenets.export.measure.mistakes import describe_mistakes, worst_mistakes
from edgenets.export.report.layer_errors import measure_error
from edgenets.export.report.layer_errors_plot import draw_errors
from edgenets.export.targets import find_target
from edgenets.export.write.checked_file import Exported, export_checked, float_file
from edgenets.export.write.codes import read_grids
from edgenets.files import write_bytes, write_json
from edgenets.flatbuffer import File
from edgenets.models.backend import keras
from edgenets.models.codes import Codes, KernelCodes
from edgenets.models.fold import fold_batch_norm, is_folded
from edgenets.models.folder import (
    History,
    Spec,
    build_model,
    load_model,
    load_spec,
    load_whole,
    save_model,
)
from edgenets.models.inception_v1 import with_auxiliary_heads
from edgenets.models.inference import compile_inference, predict_logits
from edgenets.models.registry import complete_arguments
from edgenets.models.weights.initial import load_weights, replace_classes
from edgenets.pipeline.config import ExportSettings, RunConfig
from edgenets.pipeline.rate_search import code_to_goal
from edgenets.profile import profile
from edgenets.progress import say, warn
from edgenets.quantize.layers import (
    Compressed,
    assign_kernels,
    is_prunable,
    kernel_axes,
    kernel_of,
)
from edgenets.quantize.package.epk import pack
from edgenets.quantize.recipe import AnyStage, Recipe
from edgenets.quantize.settings import Fp16Settings, Int8Settings, RateSettings
from edgenets.quantize.sizes.counts import count_nonzero, distinct_values, sparsity, stored_bytes
from edgenets.quantize.stages.fp16 import round_weights
from edgenets.quantize.stages.int8 import quantize_kernels
from edgenets.quantize.stages.prune import prune
from edgenets.quantize.stages.qat import train_quantized
from edgenets.quantize.stages.share import share_weights
from edgenets.training.data import TrainingData
from edgenets.training.epochs import history_csv
from edgenets.training.fit import fit, make_repeatable, pace_of
from edgenets.training.settings import FROZEN_BELOW
from edgenets.training.transfer import fit_classifier, freeze_layers, measure

CHECKPOINT = "checkpoint.safetensors"
FLOAT_FILE = "model_float32.tflite"
INT8_FILE = "model.tflite"
PACKAGE_FILE = "model.epk"  # of the int8 file
BENCHMARK_FILE = "benchmark.json"
ERROR_PLOT = "int8_error.svg"
HISTORY = "history.csv"  # of a stage that trains
CROPPED_FROM = 64  # pixels of a side; smaller images show one thing, close by
# Of those that choose the best epoch: neither calibrated on nor tested on.
ERROR_IMAGES, DIVERGENCE_IMAGES = 64, 500
COMPRESS: dict[str, Callable[..., Compressed]] = {
    "prune": prune,
    "share": share_weights,
    "qat": train_quantized,
}

Record = dict[str, Any]  # a stage's measurements, as JSON
Initial = tuple[keras.Model, Spec]  # a net with trained weights to begin with


class Stage(NamedTuple):
    """One step of a run."""

    name: str
    settings: Record  # what its result depends on, beside the stages before it
    work: Callable[[Path, Path, str], Record]  # (own folder, previous folder, key) -> measurements


class RunImages:
    """The images of a run; a split is decoded when a stage first asks for it."""

    def __init__(self, dataset: Dataset, preparation: Preparation, config: RunConfig) -> None:
        self.dataset, self.preparation, self.config = dataset, preparation, config
        self.warnings = warnings_of_images(dataset)

    @cached_property
    def training(self) -> TrainingData:
        """The training images, without those that the best epoch is chosen on."""
        settings = self.config.data
        flip = self.dataset.flip if settings.flip is None else settings.flip
        return TrainingData.from_split(
            self.dataset.train,
            self.preparation,
            validation_fraction=settings.validation_fraction,
            flip=flip,
            seed=self.config.seed,
            unlabelled=self.dataset.unlabelled,
            sources=self._sources() if flip else None,
            validation=self.dataset.validation,
        )

    def _sources(self) -> Preparation | None:
        """Return how photographs are prepared that crops are cut from; None for small images."""
        resolution, teacher = self.preparation.resolution, self.config.train.teacher
        if resolution < CROPPED_FROM:
            return None
        if teacher:
            resolution = max(resolution, load_spec(Path(teacher))[0].preparation.resolution)
        return Preparation(2 * resolution, 2 * resolution)

    @cached_property
    def test(self) -> Images:
        """The test images: measured on, never trained on or chosen by."""
        return self.dataset.test.load(self.preparation)

    def calibration(self, count: int, *, unlabelled: bool = False) -> NDArray[np.uint8]:
        """Return labelled training images, the same number of each class as far as possible.

        With `unlabelled`, images without a label make up for what there is less than `count`.
        """
        labels = self.training.labels
        labelled = np.flatnonzero(labels != UNLABELLED)
        chosen = labelled[balanced_sample(labels[labelled], count, self.config.seed)]
        if unlabelled:
            others = np.flatnonzero(labels == UNLABELLED)
            random = np.random.default_rng(self.config.seed)
            more = random.permutation(others)[: count - len(chosen)]
            chosen = np.concatenate([chosen, np.sort(more)])
        return self.training.images.take(chosen)

    def validation(self, count: int) -> NDArray[np.uint8]:
        """Return images that the best epoch is chosen on, as many of each class as possible."""
        chosen = balanced_sample(self.training.validation_labels, count, self.config.seed)
        return self.training.validation_images.take(chosen)

    def score(self, logits: NDArray[np.float32]) -> Record:
        """Return the accuracy of the test images' logits."""
        return score(logits, self.dataset.test.labels, self.dataset.classes)

    def mistakes(self, logits: NDArray[np.float32]) -> list[Record]:
        """Return the worst mistakes in the test images' logits, with the pictures."""
        test, root = self.dataset.test, Path(self.config.data.source)
        worst = worst_mistakes(logits, test.labels)
        return describe_mistakes(worst, test, self.test, self.dataset.classes, root)


def open_training(config: RunConfig) -> tuple[RunImages, Initial | None]:
    """Open the images of a training and the weights that it begins with, None for random ones.

    The images' config is as `load_initial` returns it.

    Raises:
        EdgenetsError: the images cannot be used for training, or there are no such weights.
    """
    dataset = open_data(config)
    config, initial = load_initial(config)
    if initial is not None:
        return RunImages(dataset, initial[1].preparation, config), initial
    preparation = Preparation.default(config.model["name"], config.model["resolution"])
    return RunImages(dataset, preparation, config), None


def open_data(config: RunConfig) -> Dataset:
    """Open the config's images; say what is amiss with them.

    Raises:
        EdgenetsError: they cannot be used for training.
    """
    data = config.data
    dataset = open_dataset(
        data.source, seed=config.seed, strict=data.strict, test_fraction=data.test_fraction
    )
    if data.unlabelled is not None:
        dataset = dataset.with_unlabelled(data.unlabelled, strict=data.strict)
    say_left_out(dataset.skipped)
    say(describe(dataset))
    warn(warnings_of_images(dataset))
    return dataset


def say_left_out(skipped: Iterable[Skipped]) -> None:
    """Tell the user which files were left out, and why."""
    for file in skipped:
        say(f"left out {file.path}: {file.reason}")


def load_initial(config: RunConfig) -> tuple[RunConfig, Initial | None]:
    """Return the config with all its net's arguments, and the trained weights that it begins with.

    The weights tell the arguments that the config leaves out; None stands for random ones. The
    config that is returned names the weights, and says what their SHA-256 is.

    Raises:
        EdgenetsError: there are no such weights, or they are of another net, or were others when
            the config was written.
    """
    train, weights = config.train, config.weights
    if weights == "none":
        return config.model_copy(
            update={"train": train.model_copy(update={"weights": "none"})}
        ), None
    try:
        model, spec = load_weights(
            weights,
            config.model["name"],
            config.arguments,
            seed=config.seed,
            input_range=train.input_range,
            labels=Path(train.labels) if train.labels else None,
        )
    except EdgenetsError as error:
        if train.weights != "auto":
            raise
        raise EdgenetsError(
            f"{error}, or begin with random weights: --weights none (run: --set train.weights=none)"
        ) from error
    sha256 = spec.initial_weights["sha256"]
    if train.weights_sha256 not in (None, sha256):
        raise EdgenetsError(
            f"the weights {weights} must have the SHA-256 {train.weights_sha256}, as when the "
            f"config was written, got {sha256}; restore them, or begin another run, without "
            "weights_sha256 in its config"
        )
    recorded = train.model_copy(update={"weights": weights, "weights_sha256": sha256})
    return config.model_copy(update={"model": spec.net, "train": recorded}), (model, spec)


def training_settings(config: RunConfig, initial: Initial | None) -> Record:
    """Return what a training depends on beside the images; weights by content, not by place."""
    settings = config.model_dump(mode="json", include={"model", "data", "train", "seed"})
    for key in ("weights", "weights_sha256", "input_range", "labels"):
        del settings["train"][key]
    if config.train.teacher:
        settings["train"]["teacher"] = load_spec(Path(config.train.teacher))[1]
    if initial is None:
        return settings
    _, spec = initial
    return {**settings, "weights": {**spec.initial_weights, "labels": spec.labels}}


def plan(
    config: RunConfig, images: RunImages, initial: Initial | None, log_dir: Path | None = None
) -> list[Stage]:
    """Return the stages of a run in order.

    Args:
        config, images, initial: what the run begins with.
        log_dir: trainings write events for TensorBoard into it.
    """
    settings = config.model_dump(mode="json")
    return [
        Stage(
            "train",
            training_settings(config, initial),
            partial(train_stage, images, initial, log_dir),
        ),
        *compress_stages(config.compress, images, log_dir),
        Stage("export", settings["export"], partial(export_stage, config.export, images)),
        Stage("benchmark", settings["benchmark"], partial(benchmark_stage, config)),
    ]


def compress_stages(recipe: Recipe, images: RunImages, log_dir: Path | None = None) -> list[Stage]:
    """Return the stages of a recipe in order."""
    return [
        Stage(
            stage.stage,
            stage.model_dump(mode="json"),
            partial(compress_stage, stage, images, log_dir),
        )
        for stage in recipe
    ]


def train_stage(
    images: RunImages,
    initial: Initial | None,
    log_dir: Path | None,
    folder: Path,
    previous: Path,
    key: str,
) -> Record:
    """Train a new model; write its folder and, for comparison, its float32 `.tflite`."""
    model, spec = train_model(images, initial, folder / CHECKPOINT, key, log_dir)
    save_model(folder, model, spec)
    history = write_history(folder, spec.history.get("train"))
    content = float_file(model, spec)
    write_bytes(folder / FLOAT_FILE, content)
    cost = profile(model)
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
    initial: Initial | None,
    checkpoint: Path,
    key: str,
    log_dir: Path | None = None,
) -> tuple[keras.Model, Spec]:
    """Train the config's net from its first weights, or go on from the checkpoint.

    Trained weights of other classes first get a classifier on their frozen features.
    """
    config, data = images.config, images.training
    result, spec = initial_model(config, initial, images.dataset.classes)
    # Variables are float32 under either policy; a saved model is always rebuilt in float32.
    keras.mixed_precision.set_global_policy(config.train.precision)
    try:
        model = build_model(spec)
        heads = spec.name == "inception_v1" and config.train.auxiliary_heads
        trained = with_auxiliary_heads(model) if heads else model
    finally:
        keras.mixed_precision.set_global_policy("float32")
    model.set_weights(result.get_weights())
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
        if transfer.classifier and set(initial[1].labels) != set(spec.labels):
            begin = partial(fit_classifier, model, data, settings, seed=config.seed)
        elif pace.epochs:
            begin = partial(measure, model, data)
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
    )
    result.set_weights(model.get_weights())
    spec = replace(spec, seeded_split=images.dataset.seeded_split)
    if not history:
        return result, spec
    return result, replace(spec, history={"train": history}, training=pace._asdict())


def load_teacher(folder: Path, classes: tuple[str, ...]) -> keras.Model:
    """Load the model that a training learns from.

    Raises:
        EdgenetsError: it cannot be loaded, or knows other classes.
    """
    teacher, spec = load_model(folder)
    if spec.labels != classes:
        raise EdgenetsError(
            f"the teacher {folder} must know the images' classes ({first_few(classes)}), it knows "
            f"{first_few(spec.labels)}; train one on these images"
        )
    return teacher


def initial_model(
    config: RunConfig, initial: Initial | None, labels: tuple[str, ...]
) -> tuple[keras.Model, Spec]:
    """Return the config's net as its training begins, for the classes `labels`, and its spec."""
    make_repeatable(config.seed)
    if initial is not None:
        return replace_classes(*initial, labels)
    name = config.model["name"]
    arguments = complete_arguments(name, {**config.arguments, "classes": len(labels)})
    preparation = Preparation.default(name, arguments["resolution"])
    spec = Spec(name, arguments, labels, preparation, config.seed)
    return build_model(spec), spec


def compress_stage(
    settings: AnyStage,
    images: RunImages,
    log_dir: Path | None,
    folder: Path,
    previous: Path,
    key: str,
) -> Record:
    """Compress the previous stage's model; write the new folder."""
    model, spec, codes = load_whole(previous)
    if isinstance(settings, Int8Settings):
        return _settle_integers(settings, images, folder, model, spec, codes)
    if isinstance(settings, RateSettings):
        return _settle_rate(settings, images, folder, model, spec)
    if isinstance(settings, Fp16Settings):
        return _settle_halves(settings, images, folder, model, spec)
    data = images.training
    transferred = bool(spec.initial_weights) and len(data.images) < FROZEN_BELOW
    trained = model if settings.stage == "prune" else fold_batch_norm(model)
    pace = pace_of(settings, trained, len(data.images), transferred=transferred)
    distillation = settings.distillation_for(transferred)
    settings = settings.model_copy(update={**pace._asdict(), "distillation": distillation})
    compressed = COMPRESS[settings.stage](
        model,
        codes.kernels if codes else {},
        data,
        settings,
        seed=images.config.seed,
        checkpoint=folder / CHECKPOINT,
        key=key,
        teacher=_first_model(previous) if distillation.alpha else None,
        log_dir=log_dir,
    )
    model, kernels, history = compressed
    spec = spec.with_stage(settings.model_dump(mode="json"), history, folded=is_folded(model))
    save_model(folder, model, spec, Codes(kernels, {}) if kernels else None)
    return {
        **measure_model(images, model, float_file(model, spec), kernels),
        "history": write_history(folder, history),
    }


def _first_model(stage: Path) -> keras.Model:
    """Return the model before any compression: the first stage's beside the folder `stage`."""
    (first,) = stage.parent.glob("01-*")
    return load_model(first)[0]


def _settle_integers(
    settings: Int8Settings,
    images: RunImages,
    folder: Path,
    model: keras.Model,
    spec: Spec,
    codes: Codes | None,
) -> Record:
    """Give a model all the integers of its int8 file, which is checked; write the new folder."""
    folded = fold_batch_norm(model)
    spec = spec.with_stage(settings.model_dump(mode="json"), {}, folded=True)
    spec = replace(spec, keep_float=settings.keep_float)
    shared = codes.kernels if codes else {}
    kernels = {
        name: shared.get(name, kernel)
        for name, kernel in quantize_kernels(folded).items()
        if name in shared or not spec.keeps_float(name)
    }
    calibration = images.calibration(settings.calibration_images)
    exported = export_checked(INT8, folded, spec, calibration, Codes(kernels, {}))
    error = _write_error(folder, images, exported.named, folded)
    assign_kernels(folded, kernels)
    save_model(folder, folded, spec, Codes(kernels, read_grids(exported.named, folded)))
    stored = stored_bytes(exported.content)
    return {**_measure_export(images, exported, folded, stored), "error": error}


def _settle_rate(
    settings: RateSettings, images: RunImages, folder: Path, model: keras.Model, spec: Spec
) -> Record:
    """Give a model integers whose package is small; write the new folder."""
    folded = fold_batch_norm(model)
    spec = replace(
        spec.with_stage(settings.model_dump(mode="json"), {}, folded=True), keep_float=()
    )
    calibration = images.calibration(settings.calibration_images, unlabelled=True)
    held_out = images.validation(DIVERGENCE_IMAGES)
    flip = images.training.flip
    found = code_to_goal(
        folded, spec, settings, calibration, held_out, flip=flip, seed=images.config.seed
    )
    if found.agreement < INT8.minimum_agreement:
        say(
            f"only {found.agreement:.1%} of the answers are those that the net gave before; pass a "
            "lower price, a lower max_kl or more calibration images"
        )
    # The file is held against the net that it is of; what the coding changed is `divergence`.
    coded = found.coded.model
    exported = export_checked(INT8, coded, spec, calibration, found.codes)
    error = _write_error(folder, images, exported.named, found.folded)
    save_model(folder, coded, spec, found.codes)
    return {
        **_measure_export(images, exported, coded, stored_bytes(exported.content)),
        "error": error,
        "price": found.price,
        "package_bytes": found.package_bytes,
        "divergence": {"kl": found.kl, "agreement": found.agreement, "images": len(held_out)},
    }


def _write_error(folder: Path, images: RunImages, file: File, folded: keras.Model) -> list[Record]:
    """Measure an int8 file's error by layer and draw it into the folder."""
    error = measure_error(file, folded, images.validation(ERROR_IMAGES))
    write_bytes(folder / ERROR_PLOT, draw_errors(error))
    return [layer._asdict() for layer in error]


def _settle_halves(
    settings: Fp16Settings, images: RunImages, folder: Path, model: keras.Model, spec: Spec
) -> Record:
    """Give a model the float16 weights of its fp16 file, which is checked; write the new folder."""
    folded = fold_batch_norm(model)
    round_weights(folded)
    spec = spec.with_stage(settings.model_dump(mode="json"), {}, folded=True)
    save_model(folder, folded, spec)
    exported = export_checked(FP16, folded, spec, images.validation(ERROR_IMAGES), None)
    return _measure_export(images, exported, folded)


def export_stage(
    settings: ExportSettings, images: RunImages, folder: Path, previous: Path, key: str
) -> Record:
    """Write the previous stage's model as an int8 `.tflite` that passed its checks, and packed."""
    model, spec, codes = load_whole(previous)
    calibration = images.calibration(settings.calibration_images)
    target = find_target(settings.target)
    exported = export_checked(INT8, model, spec, calibration, codes, target)
    write_bytes(folder / INT8_FILE, exported.content)
    package = pack(exported.content)
    write_bytes(folder / PACKAGE_FILE, package)
    logits = classify(Classifier(exported.file), images.test)
    return {
        **_measure_export(images, exported, model, len(package), logits),
        "mistakes": images.mistakes(logits),
    }


def benchmark_stage(config: RunConfig, folder: Path, previous: Path, key: str) -> Record:
    """Measure latency, memory and operators of the exported file on this machine."""
    settings = config.benchmark
    result = benchmark_file(
        previous / INT8_FILE, settings.threads, settings.min_seconds, per_op=settings.per_op
    )
    write_json(folder / BENCHMARK_FILE, result)
    return {name: value for name, value in result.items() if name != "samples_ms"}


def measure_model(
    images: RunImages,
    model: keras.Model,
    content: bytes,
    codes: Mapping[str, KernelCodes] | None = None,
) -> Record:
    """Measure a float model; zeros and values of kernels that have codes are those of the codes."""
    weights = [weight.numpy() for weight in model.weights]
    kernels = {
        layer.name: codes[layer.name].codes
        if codes and layer.name in codes
        else kernel_of(layer).numpy()
        for layer in model.layers
        if kernel_axes(layer)
    }
    zeros = sparsity([kernels[layer.name] for layer in model.layers if is_prunable(layer)])
    return {
        **images.score(predict_logits(compile_inference(model), images.test)),
        **_sizes(content, None, weights, zeros, list(kernels.values())),
    }


def _measure_export(
    images: RunImages,
    exported: Exported,
    model: keras.Model,
    stored: int | None = None,
    logits: NDArray[np.float32] | None = None,
) -> Record:
    """Measure a file.

    Args:
        images: to test it on.
        exported: the file.
        model: that it was made of, before a target's rewrites, which keep the layers' names.
        stored: bytes of its package; None for a float file, which is not packed.
        logits: its answers to the test images, if they are known already.
    """
    content, fidelity = exported.content, exported.fidelity
    assert fidelity is not None  # there are images
    file = exported.file.model
    kernels = [(layer, file.tensors[kernel].content) for kernel, layer in _kernels(file).items()]
    contents = [data for _, data in kernels]
    biases = [bias.content for bias in file.biases]
    # Of the model's sizes: a rewrite may add zeros to a kernel, as between groups.
    prunable = {
        layer.name: kernel_of(layer).shape.num_elements()
        for layer in model.layers
        if is_prunable(layer)
    }
    kept = count_nonzero([data for layer, data in kernels if layer in prunable])
    zeros = 1 - kept / sum(prunable.values()) if prunable else 0.0
    if logits is None:
        logits = classify(Classifier(exported.file), images.test)
    return {
        **images.score(logits),
        **_sizes(content, stored, [*biases, *contents], zeros, contents),
        "fidelity": fidelity._asdict(),
        "kernels": [
            {
                "layer": layer,
                "shape": data.shape,
                "sparsity": sparsity([data]),
                "distinct_values": distinct_values([data]),
            }
            for layer, data in kernels
        ],
    }


def _kernels(file: flatbuffer.Model) -> dict[int, str]:
    """Return the layers of the stored kernels, by the kernels' indices."""
    unpacked = file.unpacked
    return {
        unpacked.get(operator.inputs[1], operator.inputs[1]): layer
        for operator, layer in zip(file.operators, layer_names(file), strict=True)
        if operator.name in flatbuffer.WEIGHTED
    }


def _sizes(
    content: bytes,
    stored: int | None,
    weights: list[NDArray[Any]],
    zeros: float,
    kernels: list[NDArray[Any]],
) -> Record:
    """Return a file's sizes, the zeros of the prunable kernels, the values of all kernels."""
    return {
        "size_bytes": len(content),
        "stored_bytes": stored,
        "params": sum(weight.size for weight in weights),
        "nonzero_params": count_nonzero(weights),
        "sparsity": zeros,
        "distinct_values": distinct_values(kernels),
    }
