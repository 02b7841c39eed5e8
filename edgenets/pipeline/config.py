"""The config of `edgenets run`: a YAML file, checked whole before anything is done.

Unknown keys and values that do not fit are errors that name the line. Every key has a default: an
empty file is the run on the built-in digits.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from edgenets.errors import EdgenetsError, did_you_mean, missing_extra
from edgenets.files import read_bytes
from edgenets.models.registry import complete_arguments
from edgenets.quantize.prune import PruneSettings
from edgenets.quantize.qat import QatSettings
from edgenets.quantize.share import ShareSettings
from edgenets.settings import Settings
from edgenets.train.fit import TrainSettings

try:
    import pydantic
    import yaml
except ImportError as error:
    raise missing_extra(error.name or "pydantic", "train") from error

CompressSettings = Annotated[
    PruneSettings | ShareSettings | QatSettings, pydantic.Field(discriminator="stage")
]

Place = tuple[str | int, ...]  # the keys to a value, such as ("train", "epochs")


class DataSettings(Settings):
    """Which images, and how they are split."""

    source: str = "digits"  # or a folder
    test_fraction: float = pydantic.Field(0.2, gt=0, lt=1)  # of a folder without train and test
    validation_fraction: float = pydantic.Field(0.1, gt=0, lt=1)  # of train, for the best epoch
    strict: bool = False  # a bad file is an error
    flip: bool | None = None  # mirror images in training; by default as suits the set


class ExportSettings(Settings):
    """Which file is written."""

    target: Literal["generic"] = "generic"
    format: Literal["int8"] = "int8"
    calibration_images: pydantic.PositiveInt = 200


class BenchmarkSettings(Settings):
    """How the file's latency is measured."""

    threads: pydantic.PositiveInt = 1
    min_seconds: pydantic.PositiveFloat = 2.0


class RunConfig(Settings):
    """All that a run depends on, but for the images and the edgenets version."""

    model: dict[str, Any] = pydantic.Field(
        {"name": "mobilenet_v1", "width": 0.25, "resolution": 32, "output_stride": 8}
    )
    data: DataSettings = DataSettings()
    train: TrainSettings = TrainSettings()
    compress: tuple[CompressSettings, ...] = (PruneSettings(), ShareSettings())
    export: ExportSettings = ExportSettings()
    benchmark: BenchmarkSettings = BenchmarkSettings()
    seed: pydantic.NonNegativeInt = 0

    @pydantic.field_validator("model")
    @classmethod
    def _check_model(cls, model: dict[str, Any]) -> dict[str, Any]:
        if "classes" in model:
            raise ValueError("classes is the number of the dataset's classes; leave it out")
        if "name" not in model:
            raise ValueError("name is missing; add one that `edgenets list` shows")
        arguments = {key: value for key, value in model.items() if key != "name"}
        try:
            complete = complete_arguments(str(model["name"]), arguments)
        except EdgenetsError as error:
            raise ValueError(str(error)) from error
        del complete["classes"]
        return {"name": model["name"], **complete}

    @pydantic.field_validator("compress")
    @classmethod
    def _check_order(cls, stages: tuple[CompressSettings, ...]) -> tuple[CompressSettings, ...]:
        names = [stage.stage for stage in stages]
        for first, then in itertools.pairwise(names):
            if first == "share":
                raise ValueError(
                    f"{then} after share would undo the sharing; let share be the last stage"
                )
        return stages


def load_config(path: Path | None, assignments: Iterable[str] = ()) -> RunConfig:
    """Read a config file, apply `KEY=VALUE` assignments such as `train.epochs=5`, and check it.

    Args:
        path: the YAML file; None for the defaults.
        assignments: dotted keys (list items by number) and YAML values.

    Raises:
        EdgenetsError: the file cannot be read or is not YAML; a key is unknown or a value does not
            fit. The message names the file's line or the assignment.
    """
    name = str(path) if path else "config"
    text = read_bytes(path).decode("utf-8", "replace") if path else ""
    try:
        root = yaml.compose(text, yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise EdgenetsError(f"{name} is not valid YAML: {' '.join(str(error).split())}") from error
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise EdgenetsError(f"{name} must hold keys and values, such as `seed: 0`")
    assigned = {_assign(values, assignment): assignment for assignment in assignments}

    def locate(place: Place) -> str:
        for keys, assignment in assigned.items():
            if place[: len(keys)] == keys:
                return f"--set {assignment}"
        return f"{name} line {_line(root, place)}" if root else name

    return check_config(values, locate)


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
        first = error.errors()[0]
        place = _place(first["loc"])
        raise EdgenetsError(f"{locate(place)}: {_sentence(first, place)}") from error
    return _with_absolute_source(config)


def dump_config(config: RunConfig) -> str:
    """Return `config` as YAML with every default written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _assign(values: dict[str, Any], assignment: str) -> Place:
    dotted, equals, text = assignment.partition("=")
    keys = tuple(int(part) if part.isdigit() else part for part in dotted.split("."))
    if not equals or not dotted:
        raise EdgenetsError(f"--set needs KEY=VALUE, such as train.epochs=5, got {assignment!r}")
    if keys[0] == "compress" and "compress" not in values:
        values["compress"] = [stage.model_dump() for stage in RunConfig().compress]
    if keys[0] == "model" and "model" not in values:
        values["model"] = dict(RunConfig().model)
    inner: Any = values
    try:
        for key in keys[:-1]:
            inner = inner.setdefault(key, {}) if isinstance(inner, dict) else inner[key]
        inner[keys[-1]] = yaml.safe_load(text)
    except (TypeError, IndexError, AttributeError, yaml.YAMLError) as error:
        raise EdgenetsError(f"--set {assignment}: there is no such key") from error
    return keys


def _place(loc: Place) -> Place:
    """Return the keys to a value in the file; pydantic puts a stage's name behind its number."""
    return (*loc[:2], *loc[3:]) if loc[0] == "compress" else loc


def _line(node: Any, place: Place) -> int:
    """Return the line of the value at `place`, or of the innermost part that is there."""
    line = node.start_mark.line
    for part in place:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(part)]
            if not found:
                break
            line, node = found[0][0].start_mark.line, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line
    return int(line) + 1


def _sentence(error: Any, place: Place) -> str:
    key = ".".join(map(str, place))
    if error["type"] == "extra_forbidden":
        known = _known_keys(error["loc"][:-1])
        unknown = str(place[-1])
        return f"unknown key {key!r}{did_you_mean(unknown, known)} (known: {', '.join(known)})"
    message = error["msg"].removeprefix("Value error, ")
    received = "" if isinstance(error["input"], dict | list) else f", got {error['input']!r}"
    return f"{key}: {message[0].lower()}{message[1:]}{received}"


def _known_keys(loc: Place) -> list[str]:
    stages: dict[str, type[Settings]] = {
        "prune": PruneSettings,
        "share": ShareSettings,
        "qat": QatSettings,
    }
    settings: type[Settings] = RunConfig
    if loc and loc[0] == "compress":
        settings = stages[str(loc[2])]
    elif loc:
        settings = type(getattr(RunConfig(), str(loc[0])))
    return list(settings.model_fields)


def _with_absolute_source(config: RunConfig) -> RunConfig:
    """Make the run folder's config.yaml mean the same images from every working directory."""
    if config.data.source == "digits":
        return config
    source = str(Path(config.data.source).absolute())
    return config.model_copy(update={"data": config.data.model_copy(update={"source": source})})
