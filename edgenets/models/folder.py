"""Model folders: `spec.json` and `weights.safetensors`, what training and compression write.

A compressed folder may have `codes.safetensors` too: the integers of its int8 file. A folder holds
names, arguments and tensors, never code: loading rebuilds the net from the registry and refuses
whatever does not fit it. Importing this module loads no TensorFlow; what builds a model does.
"""

from __future__ import annotations

import importlib.metadata
import reprlib
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import edgenets
from edgenets.data.images import Preparation
from edgenets.data.splits import SeededSplit
from edgenets.errors import EdgenetsError, did_you_mean, unknown_name
from edgenets.files import read_bytes, read_json, sha256_bytes, write_bytes, write_json
from edgenets.models.codes import Codes, KernelCodes, from_tensors, to_tensors
from edgenets.models.registry import complete_arguments, create
from edgenets.packages import missing_package

try:
    import pydantic
    import pydantic.dataclasses
    import safetensors
    import safetensors.numpy
except ImportError as error:
    raise missing_package(error.name or "safetensors") from error

if TYPE_CHECKING:
    from edgenets.models.backend import keras

SPEC = "spec.json"
WEIGHTS = "weights.safetensors"
CODES = "codes.safetensors"
HASHES = ("weights_sha256", "codes_sha256")
KINDS = {
    "name": "a text",
    "arguments": "keys and values",
    "channels": "whole numbers by layer",
    "labels": "a list of texts",
    "preparation": "keys and values",
    "seed": "a whole number",
    "folded": "true or false",
    "recipe": "a list of stages' settings",
    "keep_float": "a list of texts",
    "history": "lists of numbers by stage and name",
    "versions": "texts by package",
    "weights_sha256": "a text",
    "codes_sha256": "a text",
    "initial_weights": "keys and values",
    "training": "keys and values",
    "seeded_split": "keys and values",
}
"""What each key of spec.json must be, in words."""
OPTIONAL: dict[str, Any] = {
    "channels": {},
    "folded": False,
    "keep_float": [],
    "initial_weights": {},
    "training": {},
    "seeded_split": {},
    "codes_sha256": "",
}
"""What is left out of spec.json where it is this."""
# A training's losses and accuracies, by epoch; whole numbers stay what they are.
History = dict[str, list[int | float]]
PACKAGES = ("tensorflow", "tf_keras", "tensorflow-model-optimization")


def versions() -> dict[str, str]:
    """Return the versions of edgenets and of the packages that shape its results."""
    installed = {package: importlib.metadata.version(package) for package in PACKAGES}
    return {"edgenets": edgenets.__version__, **installed}


def _read_preparation(value: Any) -> Any:
    return Preparation.from_json(value) if isinstance(value, dict) else value


def _read_split(value: Any) -> Any:
    return (SeededSplit.from_json(value) if value else None) if isinstance(value, dict) else value


StoredPreparation = Annotated[
    pydantic.InstanceOf[Preparation], pydantic.BeforeValidator(_read_preparation)
]
StoredSplit = Annotated[
    pydantic.InstanceOf[SeededSplit] | None, pydantic.BeforeValidator(_read_split)
]


@pydantic.dataclasses.dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))
class Spec:
    """What a model folder says of its model: how to build, feed and read it, and its origin.

    Values are checked when it is made; preparation and split may be as JSON has them.
    """

    name: str
    arguments: dict[str, Any]
    labels: tuple[str, ...]
    preparation: StoredPreparation
    seed: pydantic.StrictInt
    folded: pydantic.StrictBool = False  # whether the model is `fold_batch_norm` of `create`'s
    recipe: tuple[dict[str, Any], ...] = ()  # the compression stages applied, in order
    keep_float: tuple[str, ...] = ()  # patterns of layers that an int8 file computes in float32
    history: dict[str, History] = field(default_factory=dict)  # by stage; empty if not trained
    versions: dict[str, str] = field(default_factory=versions)
    initial_weights: dict[str, Any] = field(default_factory=dict)  # whence; empty if random
    training: dict[str, Any] = field(default_factory=dict)  # its pace; empty if not trained
    seeded_split: StoredSplit = None  # of the images, where it was made here
    channels: dict[str, pydantic.StrictInt] = field(default_factory=dict)  # filters by layer

    def __post_init__(self) -> None:
        """Check that the seed is one, and that labels and classes agree."""
        if self.seed < 0:
            raise EdgenetsError(f"the seed must be at least 0, got {self.seed}")
        classes = self.arguments.get("classes")
        if len(self.labels) != classes:
            raise EdgenetsError(f"the model has {classes} classes but {len(self.labels)} labels")

    @property
    def is_trained(self) -> bool:
        """Whether the weights are other than random: trained here or elsewhere."""
        return bool(self.history or self.initial_weights)

    def keeps_float(self, layer: str) -> bool:
        """Tell whether an int8 file computes a layer with a kernel in float32."""
        return any(fnmatchcase(layer, pattern) for pattern in self.keep_float)

    @property
    def net(self) -> dict[str, Any]:
        """The net as `model` of a config says it: its classes come from the images."""
        arguments = {key: value for key, value in self.arguments.items() if key != "classes"}
        return {"name": self.name, **arguments}

    def to_json(self) -> dict[str, Any]:
        """Return the content of spec.json, but for the weights' hash."""
        content = asdict(self)
        content |= {"preparation": self.preparation.to_json(), "keep_float": [*self.keep_float]}
        content["seeded_split"] = self.seeded_split.to_json() if self.seeded_split else {}
        return {k: v for k, v in content.items() if k not in OPTIONAL or v != OPTIONAL[k]}


@dataclass(frozen=True, eq=False)
class Model:
    """What a model folder holds: a net, its spec and, where it has them, its int8 file's codes."""

    net: keras.Model
    spec: Spec
    codes: Codes | None = None
    folder: Path | None = None  # that it was loaded from

    @classmethod
    def load(cls, folder: Path) -> Model:
        """Rebuild the model of a model folder, with its codes.

        Raises:
            EdgenetsError: it is not a model folder; its spec, or the hash, names or shapes of its
                weights or codes do not fit, or the codes are not those of the weights.
        """
        stored = _read_spec(folder)
        net = _load_net(folder, stored)
        return cls(net, stored.spec, _load_codes(folder, stored, net), folder)

    @property
    def kernels(self) -> Mapping[str, KernelCodes]:
        """The codes of its kernels by layer; none where they are float."""
        return self.codes.kernels if self.codes else {}

    def after(
        self,
        stage: dict[str, Any],
        net: keras.Model,
        history: History | None = None,
        codes: Codes | None = None,
    ) -> Model:
        """Return the model that a compression stage made of this one.

        Args:
            stage: its settings, with its name as `stage`.
            net: what it made of the net.
            history: of its training, if it trained.
            codes: of the new net, if its kernels are integers.
        """
        from edgenets.models.fold import is_folded  # which loads TensorFlow

        spec = replace(
            self.spec,
            folded=is_folded(net),
            recipe=(*self.spec.recipe, stage),
            history={**self.spec.history, stage["stage"]: history or {}},
            versions=versions(),
        )
        return Model(net, spec, codes)

    def save(self, folder: Path) -> None:
        """Write a new model folder.

        Raises:
            EdgenetsError: it already holds a model, or cannot be written; then none is left.
        """
        require_no_model(folder)
        content = _weights_content(self.net)
        hashes = {"weights_sha256": sha256_bytes(content)}
        existed = folder.exists()
        try:
            write_bytes(folder / WEIGHTS, content)
            if self.codes is not None:
                content = safetensors.numpy.save(to_tensors(self.codes))
                write_bytes(folder / CODES, content)
                hashes["codes_sha256"] = sha256_bytes(content)
            # The spec comes last: a folder without one is not a model folder.
            write_json(folder / SPEC, {**self.spec.to_json(), **hashes})
        except EdgenetsError:
            if not existed:
                shutil.rmtree(folder, ignore_errors=True)
            raise

    def __str__(self) -> str:
        """The folder or, without one, the net's name: how sentences name the model."""
        return str(self.folder or self.spec.name)


def build_model(spec: Spec) -> keras.Model:
    """Build the net of `spec` with freshly initialised weights, slim and folded if it says so.

    Raises:
        EdgenetsError: its channels do not fit the net.
    """
    from edgenets.models.channels import with_channels  # which loads TensorFlow
    from edgenets.models.fold import fold_batch_norm

    model = with_channels(create(spec.name, **spec.arguments), spec.channels)
    return fold_batch_norm(model) if spec.folded else model


def weights_sha256(model: keras.Model) -> str:
    """Return the SHA-256 that a model folder's weights have."""
    return sha256_bytes(_weights_content(model))


def require_no_model(folder: Path) -> None:
    """Check that `folder` may become a model folder, before the work that will fill it.

    Raises:
        EdgenetsError: it already holds a model.
    """
    if (folder / SPEC).exists():
        raise EdgenetsError(f"{folder} already holds a model; pass another folder or remove it")


def _load_net(folder: Path, stored: _Stored) -> keras.Model:
    tensors = _load_tensors(folder / WEIGHTS, stored.weights_sha256)
    try:
        model = build_model(stored.spec)
    except EdgenetsError as error:
        raise EdgenetsError(f"{folder / SPEC}: {error}; restore it or train again") from error
    set_named_weights(model, tensors, str(folder / WEIGHTS))
    return model


def _load_codes(folder: Path, stored: _Stored, model: keras.Model) -> Codes | None:
    """Return the codes of a folder; layers that its int8 file keeps float may have none."""
    if not stored.codes_sha256:
        return None
    path = folder / CODES
    codes = from_tensors(_load_tensors(path, stored.codes_sha256), str(path))
    weights = named_weights(model)
    kernels = {name for name in weights if name.endswith("kernel")}
    for layer, kernel in codes.kernels.items():
        found = kernels & {f"{layer}/kernel", f"{layer}/depthwise_kernel"}
        if not found or not np.array_equal(weights[found.pop()], kernel.values):
            raise EdgenetsError(
                f"{path} does not hold the codes of {layer}'s weights; restore it or compress again"
            )
    for layer in {name.rpartition("/")[0] for name in kernels} - codes.kernels.keys():
        if not stored.spec.keeps_float(layer):
            raise EdgenetsError(f"{path} lacks some kernels of {model.name}; compress again")
    return codes


def load_spec(folder: Path) -> tuple[Spec, str]:
    """Return the spec of a model folder and the SHA-256 that its weights must have.

    Raises:
        EdgenetsError: there is none, or it does not describe a known net.
    """
    stored = _read_spec(folder)
    return stored.spec, stored.weights_sha256


class _Stored(NamedTuple):
    """What spec.json holds."""

    spec: Spec
    weights_sha256: str
    codes_sha256: str  # "" where there are none


def _read_spec(folder: Path) -> _Stored:
    if not (folder / SPEC).is_file():
        lacks = f"it has no {SPEC}" if folder.is_dir() else "it is no folder"
        raise EdgenetsError(
            f"{folder} is not a model folder: {lacks}; pass what `edgenets train` or `edgenets "
            f"compress` wrote{_near_folder(folder)}"
        )
    content = read_json(folder / SPEC)
    try:
        return _checked(content)
    except EdgenetsError as error:
        raise EdgenetsError(f"{folder / SPEC}: {error}; restore it or train again") from error


def _near_folder(folder: Path) -> str:
    """Return which model folder beside a missing one may be meant, or "" for none."""
    if folder.exists():
        return ""
    try:
        beside = sorted(spec.parent.name for spec in folder.parent.glob(f"*/{SPEC}"))
    except OSError:
        return ""
    return did_you_mean(folder.name, beside)


def _checked(content: Any) -> _Stored:
    """Return what the content of a spec.json says.

    Raises:
        EdgenetsError: it lacks a key, has an unknown one or one of another type, or does not
            describe a net.
    """
    if not isinstance(content, dict):
        raise EdgenetsError("it must hold keys and values")
    if lacking := KINDS.keys() - OPTIONAL.keys() - content.keys():
        raise EdgenetsError(f"it lacks {', '.join(sorted(lacking))}")
    about = {key: value for key, value in content.items() if key not in HASHES}
    hashes = [content.get(key, "") for key in HASHES]
    for key, value in zip(HASHES, hashes, strict=True):
        if not isinstance(value, str):
            raise _wrong(key, content)
    name, arguments = about.get("name"), about.get("arguments")
    if isinstance(name, str) and isinstance(arguments, dict):  # else `Spec` refuses them
        about["arguments"] = complete_arguments(name, arguments)
    try:
        return _Stored(Spec(**about), *hashes)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        if first["type"] == "unexpected_keyword_argument":
            raise unknown_name("key", key, KINDS) from error
        raise _wrong(key, content) from error


def _wrong(key: str, content: dict[str, Any]) -> EdgenetsError:
    return EdgenetsError(f"{key} must be {KINDS[key]}, got {reprlib.repr(content[key])}")


def _weights_content(model: keras.Model) -> bytes:
    return safetensors.numpy.save(named_weights(model))


def _load_tensors(path: Path, expected_hash: str) -> dict[str, NDArray[Any]]:
    remedy = f"restore it or {'compress' if path.name == CODES else 'train'} again"
    if not path.exists():
        raise EdgenetsError(
            f"the model folder {path.parent} is incomplete: {path.name} is missing; {remedy}"
        )
    content = read_bytes(path)
    if sha256_bytes(content) != expected_hash:
        raise EdgenetsError(
            f"{path} is not the file that {SPEC} was written for (its SHA-256 differs); {remedy}"
        )
    try:
        return safetensors.numpy.load(content)
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise EdgenetsError(
            f"{path} is not a safetensors file that NumPy can read ({error}); {remedy}"
        ) from error


def named_weights(model: keras.Model) -> dict[str, NDArray[np.float32]]:
    """Return the model's weights by name, such as `stem_conv/kernel`."""
    return {_name(weight): weight.numpy() for weight in model.weights}


def set_named_weights(
    model: keras.Model, tensors: dict[str, NDArray[Any]], source: str = "the given weights"
) -> None:
    """Set the model's weights from `tensors` by name.

    Raises:
        EdgenetsError: a name is missing or unknown, a shape differs, or a value is not finite; the
            model is then unchanged.
    """
    wanted = {_name(weight): weight for weight in model.weights}
    for name, weight in wanted.items():
        if name not in tensors:
            raise EdgenetsError(f"{source} lacks the tensor {name} of {model.name}")
        if tensors[name].shape != tuple(weight.shape):
            raise EdgenetsError(
                f"{name} in {source} must have the shape {tuple(weight.shape)}, "
                f"got {tensors[name].shape}"
            )
        if not np.isfinite(tensors[name]).all():
            raise EdgenetsError(f"{name} in {source} holds a NaN or an infinity")
    for name in tensors:
        if name not in wanted:
            raise EdgenetsError(f"{source} holds the tensor {name}, which {model.name} has not")
    for name, weight in wanted.items():
        weight.assign(tensors[name].astype(np.float32))


def _name(weight: Any) -> str:
    return str(getattr(weight, "path", weight.name)).removesuffix(":0")  # Keras 3 has paths
