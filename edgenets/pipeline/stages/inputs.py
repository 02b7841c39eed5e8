"""What the stages of a run begin with: its images, and the trained weights if there are some."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgenets.data.census import describe, warnings_of_images
from edgenets.data.dataset import Dataset, Images, Skipped
from edgenets.data.images import Fit, Preparation
from edgenets.data.loading import UNLABELLED
from edgenets.data.opened import open_again
from edgenets.data.places import folder_here
from edgenets.data.splits import SeededSplit, balanced_sample
from edgenets.errors import EdgenetsError
from edgenets.export.measure.accuracy import right_answers, score
from edgenets.export.measure.mistakes import describe_mistakes, worst_mistakes
from edgenets.models.folder import Model, load_spec
from edgenets.models.weights.initial import load_weights
from edgenets.pipeline.config import RunConfig
from edgenets.pipeline.stages.places import Record
from edgenets.progress import say, warn
from edgenets.training.data import TrainingData

CROPPED_FROM = 64  # pixels of a side; smaller images show one thing, close by


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
        return Preparation(2 * resolution, 2 * resolution, self.preparation.fit)

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
        test, root = self.dataset.test, folder_here(self.config.data.source)
        worst = worst_mistakes(logits, test.labels)
        return describe_mistakes(worst, test, self.test, self.dataset.classes, root)


class HeldOutImages(RunImages):
    """The images of a try: those that the best epoch is chosen on stand in for the test images.

    A score also has `right`, which images are answered rightly.
    """

    @cached_property
    def test(self) -> Images:
        """The held-out images."""
        return self.training.validation_images

    def score(self, logits: NDArray[np.float32]) -> Record:
        """Return the accuracy of the held-out images' logits."""
        labels = self.training.validation_labels
        right = right_answers(logits, labels)
        return {**score(logits, labels, self.dataset.classes), "right": right}


def open_training(config: RunConfig) -> tuple[RunImages, Model | None]:
    """Open the images of a training and the weights that it begins with, None for random ones.

    The images' config is as `load_initial` returns it.

    Raises:
        EdgenetsError: the images cannot be used for training, or there are no such weights.
    """
    dataset = open_data(config)
    config, initial = load_initial(config)
    if teacher := config.train.teacher:
        taught = load_spec(Path(teacher))[0].seeded_split
        say_if_learned_from(teacher, taught, dataset.seeded_split)
    if initial is not None:
        if not set(initial.spec.labels).isdisjoint(dataset.classes):
            say_if_learned_from(config.weights, initial.spec.seeded_split, dataset.seeded_split)
        return RunImages(dataset, initial.spec.preparation, config), initial
    return RunImages(dataset, preparation_of(config), config), None


def say_if_learned_from(model: str, then: SeededSplit | None, now: SeededSplit | None) -> None:
    """Say it if a model may have learned from images that it is tested on now.

    Args:
        model: what it is called.
        then: how the test images were split off when it was trained; None: they were not, or it is
            not known.
        now: how they are.
    """
    if then and (now is None or now.fingerprint != then.fingerprint):
        advice = ""
        if now is not None and now.seed != then.seed:
            seed = f"--seed {then.seed} (run: --set seed={then.seed})"
            advice = f"; pass {seed} if the images are the same"
        say(
            f"{model} was trained on another split of images: some that it learned from may be "
            f"among the test images now{advice}"
        )


def preparation_of(config: RunConfig) -> Preparation:
    """Return how images are prepared for a training that begins with random weights."""
    model = config.model
    return Preparation.default(model["name"], model["resolution"], config.data.fit or "crop")


def open_data(config: RunConfig) -> Dataset:
    """Open the config's images; say what is amiss with them.

    Raises:
        EdgenetsError: they cannot be used for training.
    """
    data = config.data
    dataset = open_again(
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


def load_initial(config: RunConfig) -> tuple[RunConfig, Model | None]:
    """Return the config with all its net's arguments, and the trained weights that it begins with.

    The weights tell the arguments that the config leaves out; None stands for random ones. The
    config that is returned names the weights, and says what their SHA-256 is.

    Raises:
        EdgenetsError: there are no such weights, or they are of another net, or were others when
            the config was written.
    """
    train, weights = config.train, config.weights
    if weights == "none":
        if train.weights == "auto" and config.data.source != "digits":
            say(f"no ImageNet weights of such a {config.model['name']}: it begins with random ones")
        return config.model_copy(
            update={"train": train.model_copy(update={"weights": "none"})}
        ), None
    try:
        initial = load_weights(
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
    sha256 = initial.spec.initial_weights["sha256"]
    if train.weights_sha256 not in (None, sha256):
        raise EdgenetsError(
            f"the weights {weights} must have the SHA-256 {train.weights_sha256}, as when the "
            f"config was written, got {sha256}; restore them, or begin another run, without "
            "weights_sha256 in its config"
        )
    initial = _with_fit(initial, config.data.fit)
    recorded = train.model_copy(update={"weights": weights, "weights_sha256": sha256})
    return config.model_copy(update={"model": initial.spec.net, "train": recorded}), initial


def _with_fit(model: Model, fit: Fit | None) -> Model:
    spec = model.spec
    if fit in (None, spec.preparation.fit):
        return model
    preparation = Preparation.default(spec.name, spec.preparation.resolution, fit)
    return replace(model, spec=replace(spec, preparation=preparation))


def training_settings(config: RunConfig, initial: Model | None) -> Record:
    """Return what a training depends on beside the images; weights by content, not by place."""
    settings = config.model_dump(mode="json", include={"model", "data", "train", "seed"})
    for key in ("weights", "weights_sha256", "input_range", "labels"):
        del settings["train"][key]
    if config.train.teacher:
        settings["train"]["teacher"] = load_spec(Path(config.train.teacher))[1]
    if initial is None:
        return settings
    spec = initial.spec
    return {**settings, "weights": {**spec.initial_weights, "labels": spec.labels}}
