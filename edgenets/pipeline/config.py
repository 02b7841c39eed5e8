"""The config of `edgenets run`: a YAML file, checked whole before anything is done.

Unknown keys and values that do not fit are errors that name the line. Every key has a default: an
empty file is the run on the built-in digits.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import yaml
from pydantic_core import PydanticCustomError

from edgenets.errors import EdgenetsError, did_you_mean, unknown_name
from edgenets.files import read_bytes
from edgenets.models.registry import complete_arguments
from edgenets.quantize.prune import PruneSettings
from edgenets.quantize.qat import QatSettings
from edgenets.quantize.share import ShareSettings
from edgenets.settings import Settings
from edgenets.train.fit import TrainSettings

CompressSettings = Annotated[
    PruneSettings | ShareSettings | QatSettings, pydantic.Field(discriminator="stage")
]

COMPRESS: dict[str, type[Settings]] = {
    "prune": PruneSettings,
    "share": ShareSettings,
    "qat": QatSettings,
}

Place = tuple[str | int, ...]  # the keys to a value, such as ("train", "epochs")

# Pydantic names the shapes of values as Python does; a config file has YAML's.
SHAPES = {
    "tuple_type": "input should be a list, each item after a dash",
    "dict_type": "input should be keys and values",
    "model_type": "input should be keys and values",
    "model_attributes_type": "input should be keys and values",
}


class DataSettings(Settings):
    """Which images, and how they are split."""

    source: str = pydantic.Field("digits", min_length=1)  # or a folder
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
    seed: int = pydantic.Field(0, ge=0, lt=2**31)  # what every generator takes

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
            context = {"sentence": str(error), "keys": _culprit(model, str(error))}
            raise PydanticCustomError("model_argument", "{sentence}", context) from error
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
    values, root = _parse(text, name)
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise EdgenetsError(f"{name} must hold keys and values, such as `seed: 0`")
    assigned = {_assign(values, assignment): assignment for assignment in assignments}

    def locate(place: Place) -> str:
        depth, line = _line(root, place)
        for keys, assignment in assigned.items():
            if place[: len(keys)] == keys or (keys[: len(place)] == place and depth < len(place)):
                return f"--set {assignment}"
        return f"{name} line {line}" if root else name

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
        place = (*_place(first["loc"]), *first.get("ctx", {}).get("keys", ()))
        raise EdgenetsError(f"{locate(place)}: {_sentence(first, place)}") from error
    return _with_absolute_source(config)


def dump_config(config: RunConfig) -> str:
    """Return `config` as YAML with every default written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _assign(values: dict[str, Any], assignment: str) -> Place:
    dotted, equals, text = assignment.partition("=")
    keys = tuple(int(part) if part.isdecimal() else part for part in dotted.split("."))
    if not equals or not dotted:
        raise EdgenetsError(f"--set needs KEY=VALUE, such as train.epochs=5, got {assignment!r}")
    value, _ = _parse(text, f"the value of --set {assignment}")
    if keys[0] == "compress" and "compress" not in values:
        values["compress"] = [stage.model_dump() for stage in RunConfig().compress]
    if keys[0] == "model" and "model" not in values:
        values["model"] = dict(RunConfig().model)
    inner: Any = values
    try:
        for key in keys[:-1]:
            inner = inner.setdefault(key, {}) if isinstance(inner, dict) else inner[key]
        inner[keys[-1]] = value
    except (TypeError, IndexError, AttributeError) as error:
        raise EdgenetsError(
            f"--set {assignment}: there is no such key; give one such as train.epochs, "
            "or a stage's by its number, such as compress.0.sparsity"
        ) from error
    return keys


def _parse(text: str, name: str) -> tuple[Any, Any]:
    """Return the value of a YAML text and its tree of nodes, which knows the lines."""
    try:
        root = yaml.compose(text, yaml.SafeLoader)
        _refuse_duplicates(root, name)
        return yaml.safe_load(text), root
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        raise EdgenetsError(f"{name}{line} is not valid YAML: {reason}") from error


def _refuse_duplicates(root: Any, name: str) -> None:
    """Refuse a key that is there twice, of which YAML would silently take the last."""
    nodes, seen = [root], set()
    while nodes:
        node = nodes.pop()
        if not isinstance(node, yaml.CollectionNode) or id(node) in seen:  # of an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            nodes += node.value
            continue
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if str(key.value) in lines:
                raise EdgenetsError(
                    f"{name} line {line}: the key {key.value!r} is there twice (first in line "
                    f"{lines[key.value]}); remove one"
                )
            lines[str(key.value)] = line
            nodes.append(value)


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


def _line(node: Any, place: Place) -> tuple[int, int]:
    """Return how many keys of `place` the file has, and the line of the last of them."""
    line = node.start_mark.line + 1 if node else 1
    for depth, part in enumerate(place):
        if isinstance(node, yaml.MappingNode):
            inner = [pair for pair in node.value if pair[0].value == str(part)]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            inner = [(value, value) for value in node.value[part : part + 1]]
        else:
            inner = []
        if not inner:
            return depth, line
        line, node = inner[0][0].start_mark.line + 1, inner[0][1]
    return len(place), line


def _sentence(error: Any, place: Place) -> str:
    key = ".".join(map(str, place))
    if error["type"] == "extra_forbidden":
        known = _known_keys(error["loc"][:-1])
        unknown = str(place[-1])
        return f"unknown key {key!r}{did_you_mean(unknown, known)} (known: {', '.join(known)})"
    if error["type"] == "model_argument":
        return f"model: {error['msg']}"
    if error["type"] == "union_tag_invalid":
        return f"{key}: {unknown_name('stage', error['ctx']['tag'], COMPRESS)}"
    if error["type"] == "union_tag_not_found":
        return f"{key}: stage is missing; add one of {', '.join(COMPRESS)}"
    message = SHAPES.get(error["type"], error["msg"].removeprefix("Value error, "))
    message = re.sub(r", (unable to|got a number) .*", "", message)  # what was received follows
    received = "" if isinstance(error["input"], dict | list) else f", got {error['input']!r}"
    return f"{key}: {message[0].lower()}{message[1:]}{received}"


def _known_keys(loc: Place) -> list[str]:
    settings: type[Settings] = RunConfig
    if loc and loc[0] == "compress":
        settings = COMPRESS[str(loc[2])]
    elif loc:
        settings = type(getattr(RunConfig(), str(loc[0])))
    return list(settings.model_fields)


def _with_absolute_source(config: RunConfig) -> RunConfig:
    """Make the run folder's config.yaml mean the same images from every working directory."""
    if config.data.source == "digits":
        return config
    source = str(Path(config.data.source).absolute())
    return config.model_copy(update={"data": config.data.model_copy(update={"source": source})})
