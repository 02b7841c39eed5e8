"""The config of `edgenets run`: a YAML file, checked whole before anything is done.

Unknown keys and values that do not fit are errors that name the line. Every key has a default: an
empty file is the run on the built-in digits. Loads no TensorFlow: a mistake is told at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pydantic
from pydantic_core import PydanticCustomError

from edgenets.data.folder import existing_folder, unlabelled_folder
from edgenets.data.images import Fit
from edgenets.data.splits import CALIBRATION_IMAGES, TEST_FRACTION
from edgenets.errors import EdgenetsError, did_you_mean, unknown_name
from edgenets.export.inspect.ethos_u.compiler import find_system
from edgenets.export.measure.defaults import MIN_SECONDS, MOST_THREADS, THREADS
from edgenets.export.targets import GENERIC, find_target
from edgenets.models.folder import load_spec
from edgenets.models.registry import BASELINES, complete_arguments
from edgenets.models.weights.labels import read_labels
from edgenets.models.weights.sources import NAMES, find_weights, has_imagenet_weights
from edgenets.quantize.recipe import DEFAULT_RECIPE, RECIPES, STAGE_SETTINGS, Recipe
from edgenets.quantize.settings import NearSettings, RateSettings
from edgenets.settings import Settings
from edgenets.training.settings import UNTAUGHT, TrainSettings

Place = tuple[str | int, ...]  # the keys to a value, such as ("train", "epochs")

# Pydantic names the shapes of values as Python does; a config file has YAML's.
SHAPES = {
    "tuple_type": "input should be a list, each item after a dash",
    "dict_type": "input should be keys and values",
    "model_type": "input should be keys and values",
    "model_attributes_type": "input should be keys and values",
    "too_short": "there should be at least one",
}


class DataSettings(Settings):
    """Which images, and how they are split."""

    source: str = pydantic.Field("digits", min_length=1)  # or a folder
    test_fraction: float = pydantic.Field(
        TEST_FRACTION, gt=0, lt=1
    )  # of a folder without train and test
    validation_fraction: float = pydantic.Field(0.1, gt=0, lt=1)  # of train, for the best epoch
    strict: bool = False  # a bad file is an error
    flip: bool | None = None  # mirror images in training; by default as suits the set
    fit: Fit | None = None  # how pictures become square; by default as the weights', or crop
    unlabelled: str | None = pydantic.Field(None, min_length=1)  # a folder; a teacher labels them


class ExportSettings(Settings):
    """Which file is written."""

    target: str = GENERIC.name  # of `edgenets.export.targets`
    format: Literal["int8"] = "int8"
    calibration_images: pydantic.PositiveInt = CALIBRATION_IMAGES

    @pydantic.field_validator("target")
    @classmethod
    def _check_target(cls, target: str) -> str:
        try:
            return find_target(target).name
        except EdgenetsError as error:
            raise PydanticCustomError("name", "{sentence}", {"sentence": str(error)}) from error


class BenchmarkSettings(Settings):
    """How the file's latency is measured."""

    threads: int = pydantic.Field(THREADS, ge=1, le=MOST_THREADS)
    min_seconds: pydantic.PositiveFloat = MIN_SECONDS
    per_op: bool = True  # each operator, too


DIGITS_NET = {"name": "mobilenet_v1", "width": 0.25, "resolution": 32, "output_stride": 8}
PHOTOGRAPHS_NET = {"name": "mobilenet_v1", "width": 0.25, "resolution": 128}


class RunConfig(Settings):
    """All that a run depends on, but for the images and the edgenets version."""

    model: dict[str, Any] = pydantic.Field(default_factory=dict)  # by default as suits the images
    data: DataSettings = DataSettings()
    train: TrainSettings = TrainSettings()
    compress: Recipe = RECIPES[DEFAULT_RECIPE]  # or a recipe's name
    export: ExportSettings = ExportSettings()
    benchmark: BenchmarkSettings = BenchmarkSettings()
    seed: int = pydantic.Field(0, ge=0, lt=2**31)  # what every generator takes

    @pydantic.model_validator(mode="before")
    @classmethod
    def _choose_model(cls, values: Any) -> Any:
        if isinstance(values, dict) and "model" not in values:
            return {**values, "model": default_net(values)}
        return values

    @pydantic.field_validator("model")
    @classmethod
    def _check_model(cls, model: dict[str, Any]) -> dict[str, Any]:
        if "classes" in model:
            raise ValueError("classes is the number of the dataset's classes; leave it out")
        if "name" not in model:
            raise ValueError("name is missing; add one that `edgenets list` shows")
        if str(model["name"]) in BASELINES:
            raise ValueError(
                f"{model['name']} is a baseline that ratios are stated against: it is built and "
                "counted (`edgenets summary`), not trained; take another net of `edgenets list`"
            )
        arguments = {key: value for key, value in model.items() if key != "name"}
        try:
            complete = complete_arguments(str(model["name"]), arguments)
        except EdgenetsError as error:
            context = {"sentence": str(error), "keys": _culprit(model, str(error))}
            raise PydanticCustomError("model_argument", "{sentence}", context) from error
        return {"name": model["name"], **{key: complete[key] for key in arguments}}

    @pydantic.model_validator(mode="after")
    def _complete_model(self) -> RunConfig:
        if self.weights == "none":  # trained ones tell the arguments that are not given
            complete = complete_arguments(self.model["name"], self.arguments)
            self.model.update({key: complete[key] for key in complete if key != "classes"})
        return self

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the net that are given."""
        return {key: value for key, value in self.model.items() if key != "name"}

    @property
    def weights(self) -> str:
        """The weights to begin with: for images of a folder ImageNet's, where there are such."""
        if self.train.weights != "auto":
            return self.train.weights
        name = self.model["name"]
        complete = complete_arguments(name, self.arguments)
        is_folder = self.data.source != "digits" and "pad_value" not in self.arguments
        is_known = is_folder and has_imagenet_weights(name, complete)
        return "imagenet" if is_known else "none"


def default_net(values: dict[str, Any]) -> dict[str, Any]:
    """Return the net that suits the images of a config's values, if none is named."""
    data = values.get("data", {})
    source = data.get("source") if isinstance(data, dict) else getattr(data, "source", None)
    return dict(DIGITS_NET if source in (None, "digits") else PHOTOGRAPHS_NET)


def check_config(values: dict[str, Any], locate: Callable[[Place], str]) -> RunConfig:
    """Return the config that `values` fill.

    Args:
        values: what a config file would hold.
        locate: from the keys to a value to the words that say where the user wrote it.

    Raises:
        EdgenetsError: a key is unknown or a value does not fit.
    """
    try:
        config = RunConfig.model_validate(values)
    except pydantic.ValidationError as error:
        errors = error.errors()  # a misspelt key is named before what is missing for it
        first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
        place = (*_place(first["loc"]), *first.get("ctx", {}).get("keys", ()))
        raise EdgenetsError(f"{locate(place)}: {sentence_of(first, place)}") from error
    return _with_absolute_paths(config)


def require_sources(config: RunConfig) -> None:
    """Check that the images, weights, labels, teacher and base that a config names are there.

    Raises:
        EdgenetsError: one is not, or is not such a thing.
    """
    data, train = config.data, config.train
    if data.source != "digits":
        existing_folder(data.source)
    if data.unlabelled is not None:
        unlabelled_folder(data.unlabelled)
    for stage in config.compress:
        if isinstance(stage, NearSettings):
            load_spec(Path(stage.base))
        if isinstance(stage, RateSettings) and stage.target:
            find_system(find_target(stage.target))
    if config.weights != "none":
        weights = find_weights(config.weights, config.model["name"], config.arguments)
        if isinstance(weights, Path) and weights.is_dir():
            load_spec(weights)
    if train.labels is not None:
        read_labels(Path(train.labels))
    if train.teacher is not None:
        load_spec(Path(train.teacher))


def require_trainable(config: RunConfig) -> None:
    """Check what a training needs, before TensorFlow is loaded.

    Raises:
        EdgenetsError: a source is not there, or unlabelled images have no teacher.
    """
    require_sources(config)
    if config.data.unlabelled is not None and config.train.teacher is None:
        raise EdgenetsError(UNTAUGHT)


def require_runnable(config: RunConfig) -> None:
    """Check what a run needs, before TensorFlow is loaded.

    Raises:
        EdgenetsError: as `require_trainable`, or a stage does nothing in a run.
    """
    require_trainable(config)
    if any(stage.stage == "fp16" for stage in config.compress):
        raise EdgenetsError(
            "a run ends with an int8 file, for which fp16 does nothing; leave it out, or use "
            "`edgenets compress MODEL_DIR --recipe fp16`"
        )


def _culprit(model: dict[str, Any], sentence: str) -> Place:
    """Return the key of a model's argument that gives the error `sentence`, if it alone does."""
    for key, value in model.items():
        try:
            complete_arguments(str(model["name"]), {} if key == "name" else {key: value})
        except EdgenetsError as error:
            if str(error) == sentence:
                return (key,)
    return ()


def _place(loc: Place) -> Place:
    """Return the keys to a value in the file; pydantic puts a stage's name behind its number."""
    return (*loc[:2], *loc[3:]) if loc[0] == "compress" else loc


def sentence_of(error: Any, place: Place, root: type[Settings] = RunConfig) -> str:
    """Return what is wrong with a value, in the words of a config file.

    Args:
        error: one of pydantic's.
        place: the keys to the value.
        root: the settings that the file fills.
    """
    key = ".".join(map(str, place))
    if error["type"] == "extra_forbidden":
        known = _known_keys(root, error["loc"][:-1])
        unknown = str(place[-1])
        return f"unknown key {key!r}{did_you_mean(unknown, known)} (known: {', '.join(known)})"
    if error["type"] in ("model_argument", "recipe_name"):
        return f"{place[0]}: {error['msg']}"
    if error["type"] == "name":
        return f"{key}: {error['msg']}"
    if error["type"] == "union_tag_invalid":
        return f"{key}: {unknown_name('stage', error['ctx']['tag'], STAGE_SETTINGS)}"
    if error["type"] == "union_tag_not_found":
        return f"{key}: stage is missing; add one of {', '.join(STAGE_SETTINGS)}"
    message = SHAPES.get(error["type"], error["msg"].removeprefix("Value error, "))
    message = re.sub(r", (unable to|got a number) .*", "", message)  # what was received follows
    received = "" if isinstance(error["input"], dict | list) else f", got {error['input']!r}"
    if error["type"] == "literal_error":
        choices = re.findall("'([^']+)'", error["ctx"]["expected"])
        received += did_you_mean(str(error["input"]), choices)
    return f"{key}: {message[0].lower()}{message[1:]}{received}"


def _known_keys(root: type[Settings], loc: Place) -> list[str]:
    """Return the keys that may stand at a place: pydantic's, with a stage's name in it."""
    settings: Any = root
    if loc and loc[0] == "compress":
        settings, loc = STAGE_SETTINGS[str(loc[2])], loc[3:]
    for key in loc:
        if key in settings.model_fields:  # not a pattern of layer names
            kind = settings.model_fields[key].annotation
            settings = get_args(kind)[-1] if get_origin(kind) is dict else kind
    return list(settings.model_fields)


def _with_absolute_paths(config: RunConfig) -> RunConfig:
    """Make the run folder's config.yaml mean the same files from every working directory."""
    data, train = config.data, config.train
    return config.model_copy(
        update={
            "data": data.model_copy(
                update={
                    "source": _absolute(data.source, ("digits",)),
                    "unlabelled": _absolute(data.unlabelled),
                }
            ),
            "train": train.model_copy(
                update={
                    "weights": _absolute(train.weights, ("auto", "none", *NAMES)),
                    "labels": _absolute(train.labels),
                    "teacher": _absolute(train.teacher),
                }
            ),
            "compress": tuple(
                stage.model_copy(update={"base": _absolute(stage.base)})
                if isinstance(stage, NearSettings)
                else stage
                for stage in config.compress
            ),
        }
    )


def _absolute(path: str | None, names: tuple[str, ...] = ()) -> str | None:
    if path is None or path in names:
        return path
    in_home = path == "~" or path.startswith("~/")
    try:
        return str((Path(path).expanduser() if in_home else Path(path)).absolute())
    except RuntimeError as error:
        raise EdgenetsError(f"{path}: there is no home folder; pass the whole path") from error
