"""Run a `.tflite` file: pick the interpreter, open the file safely, turn pixels into logits.

The interpreter is ai-edge-litert's if it can be imported, else tflite-runtime's; always their
`Interpreter`, because the newer `CompiledModel` crashes the process on a truncated file. Needs
NumPy and one of the two; a `Classifier` needs Pillow too.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.export import runner
from edgenets.export.metadata import read_entry, read_labels
from edgenets.export.runner import Runtime
from edgenets.memory import read_bounded
from edgenets.progress import quiet_stderr

if TYPE_CHECKING:
    from edgenets.data.images import Preparation
    from edgenets.data.splits import SeededSplit

CLASSIFIER_DTYPES = ("float32", "int8", "uint8", "int16")
"""Of inputs and outputs."""
LEAST_PROBABILITY = 1e-9
"""Stands for a probability that was rounded to 0, whose logarithm does not exist."""


def load_runtime() -> Runtime:
    """Import the preferred interpreter; `runner.load_runtime` has the rule.

    Raises:
        EdgenetsError: none can be imported, or NumPy does not fit it.
    """
    try:
        return runner.load_runtime()
    except runner.RunnerError as error:
        raise EdgenetsError(str(error)) from error


def runtime_name_and_version() -> tuple[str, str]:
    """Return the interpreter's distribution name and version, as ("ai-edge-litert", "2.3.0")."""
    runtime = load_runtime()
    return runtime.name, runtime.version


def open_interpreter(source: Path | bytes, threads: int = 1, *, keep_tensors: bool = False) -> Any:
    """Return an interpreter of the file with its tensors allocated.

    Args:
        source: the file's path or its content.
        threads: that an operator may use.
        keep_tensors: let every tensor be read after a run, not only the outputs: each then has
            memory of its own. The operators compute what they do otherwise.

    Raises:
        EdgenetsError: no interpreter is installed, or it refuses the file.
    """
    runtime = load_runtime()
    file = {"model_path": str(source)} if isinstance(source, Path) else {"model_content": source}
    with interpreter_errors(source), quiet_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the memory that kept tensors take
        interpreter = runtime.interpreter(
            **file, num_threads=threads, experimental_preserve_all_tensors=keep_tensors
        )
        interpreter.allocate_tensors()
    return interpreter


@contextmanager
def interpreter_errors(source: Path | bytes) -> Iterator[None]:
    """Turn what an interpreter raises inside the block into an `EdgenetsError`."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        raise EdgenetsError(runner.refusal(load_runtime(), _name(source), error)) from error


class ClassifierFile:
    """An image classifier in a `.tflite` file, as edgenets exports them; others are read too.

    The network takes one RGB image [1, height, width, 3] in [-1, 1], as float32 or quantized, and
    returns one score per class, [1, classes].

    Args:
        source: the file's path or its content.

    Attributes:
        input: the tensor that takes the image: its shape, dtype, scale, zero point.
        output: the tensor of the scores.
        labels: the class names, one per output; None when the file holds none.
        preparation: of the images; None when the file does not say.
        seeded_split: how the model's own test part was split off; None when the file does not say.

    Raises:
        EdgenetsError: the file is damaged, it is no image classifier, what it says about itself
            does not fit, or it takes more memory than a file may (`edgenets.memory`).
    """

    def __init__(self, source: Path | str | bytes) -> None:
        self._source = source = Path(source) if isinstance(source, str) else source
        content = read_bounded(source) if isinstance(source, Path) else source
        model = flatbuffer.read(content, _name(source))
        self.input, self.output = _image_and_scores(model, _name(source))
        self.labels = _read_labels(model, content, _name(source))
        self.preparation, self.seeded_split = _about_images(model, _name(source))
        self._codes = input_codes(self.input)
        self._ends_in_softmax = _ends_in_softmax(model)

    @property
    def classes(self) -> int:
        """How many scores the network returns."""
        return self.output.shape[1]

    def outputs(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Run the images one after the other; return the output as it is in the file.

        Args:
            pixels: [images, height, width, 3].

        Returns:
            [images, classes] of the output's dtype: codes, when it is quantized.

        Raises:
            EdgenetsError: the images do not have the network's size, or the interpreter fails.
        """
        raise NotImplementedError

    def inputs(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Return what the network's input takes for the images, [images, height, width, 3].

        Raises:
            EdgenetsError: the images do not have the network's size.
        """
        if pixels.dtype != np.uint8 or pixels.shape[1:] != self.input.shape[1:]:
            raise EdgenetsError(
                f"{_name(self._source)} takes uint8 images of {_shape(self.input.shape[1:])}, "
                f"not {pixels.dtype} of {_shape(pixels.shape[1:])}"
            )
        return self._codes[pixels]

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the images one after the other; return their logits, [images, classes].

        Arguments and errors as in `outputs` and `logits_of`.
        """
        return self.logits_of(self.outputs(pixels))

    def logits_of(self, outputs: NDArray[Any]) -> NDArray[np.float32]:
        """Return the logits that outputs of the network stand for, [images, classes].

        A network that ends in a softmax gives the logarithms of its probabilities: the softmax of
        those are the same probabilities.

        Raises:
            EdgenetsError: a logit is not finite.
        """
        scores = outputs.astype(np.float32)
        if self.output.scale.size:
            scores = (scores - np.float32(self.output.zero_point[0])) * self.output.scale[0]
        if self._ends_in_softmax:
            scores = np.log(np.maximum(scores, np.float32(LEAST_PROBABILITY)))
        if not np.isfinite(scores).all():
            raise EdgenetsError(
                f"{_name(self._source)} returned a NaN or an infinity; train it again"
            )
        return scores


class Classifier(ClassifierFile):
    """A classifier that runs in this process: a damaged file may end it, so it is for files that
    edgenets has just made; `remote.RemoteClassifier` is for those of users.

    Args:
        source: the file's path or its content.
        threads: of the interpreter.

    Raises:
        EdgenetsError: as for `ClassifierFile`, or the interpreter refuses the file.
    """

    def __init__(self, source: Path | str | bytes, threads: int = 1) -> None:
        super().__init__(source)
        self._interpreter = open_interpreter(self._source, threads)

    def outputs(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Run the images as `ClassifierFile.outputs` says."""
        (image,) = self._interpreter.get_input_details()
        (scores,) = self._interpreter.get_output_details()
        outputs = np.empty((len(pixels), self.classes), self.output.dtype)
        codes = self.inputs(pixels)
        with interpreter_errors(self._source):
            for row, one in zip(outputs, codes, strict=True):
                self._interpreter.set_tensor(image["index"], one[np.newaxis])
                self._interpreter.invoke()
                row[:] = self._interpreter.get_tensor(scores["index"])[0]
        return outputs


def input_codes(tensor: flatbuffer.Tensor) -> NDArray[Any]:
    """Return what each pixel value 0..255 becomes at a network's input: [256] of its dtype.

    A float32 input takes pixel / 127.5 - 1. A quantized one takes the code nearest to that value;
    of two equally near ones the upper, so that scale 2/255 with zero point -1 takes pixel - 128,
    and an int16 input with scale 1/32767 and zero point 0 takes -32767 to 32767.
    """
    from edgenets.data.images import to_network

    levels = np.arange(256)
    if tensor.dtype == "float32":
        return to_network(levels.astype(np.uint8))
    pixels_per_code = 127.5 * float(tensor.scale[0])
    if abs(pixels_per_code - 1) < 1e-3:  # 2/255 as a float32, or as calibration found it
        pixels_per_code = 1.0
    codes = np.floor((levels - 127.5) / pixels_per_code + 0.5)
    limits = np.iinfo(tensor.dtype)
    return np.clip(codes + tensor.zero_point[0], limits.min, limits.max).astype(tensor.dtype)


def _image_and_scores(
    model: flatbuffer.Model, name: str
) -> tuple[flatbuffer.Tensor, flatbuffer.Tensor]:
    shapes = [[t.shape for t in tensors] for tensors in (model.inputs, model.outputs)]
    match shapes:
        case [[(1, _, _, 3)], [(1, _)]]:
            pass
        case _:
            inputs, outputs = (", ".join(map(_shape, side)) or "nothing" for side in shapes)
            raise EdgenetsError(
                f"{name} is not an image classifier: one takes 1 x height x width x 3 and returns "
                f"1 x classes, and this file takes {inputs} and returns {outputs}"
            )
    (image,), (scores,) = model.inputs, model.outputs
    for tensor in (image, scores):
        if tensor.dtype not in CLASSIFIER_DTYPES:
            raise EdgenetsError(
                f"{name} has {tensor.name!r} in {tensor.dtype}; edgenets runs networks whose "
                f"input and output are {', '.join(CLASSIFIER_DTYPES)}"
            )
        quantized = tensor.scale.size == tensor.zero_point.size == 1 and tensor.scale[0] > 0
        if tensor.dtype != "float32" and not quantized:
            raise EdgenetsError(
                f"{name} has {tensor.name!r} in {tensor.dtype} without a scale and a zero point; "
                "export it as a quantized network"
            )
    return image, scores


def _read_labels(model: flatbuffer.Model, content: bytes, name: str) -> tuple[str, ...] | None:
    with _naming(name):
        labels = read_labels(content, model)
    classes = model.outputs[0].shape[1]
    if labels is not None and len(labels) != classes:
        raise EdgenetsError(
            f"{name} holds {len(labels)} labels for {classes} outputs; export it again"
        )
    return labels


def _about_images(
    model: flatbuffer.Model, name: str
) -> tuple[Preparation | None, SeededSplit | None]:
    from edgenets.data.images import Preparation
    from edgenets.data.splits import SeededSplit

    with _naming(name):
        entry = read_entry(model)
        preparation, split = entry.get("preparation"), entry.get("seeded_split")
        return (
            None if preparation is None else Preparation.from_json(preparation),
            None if split is None else SeededSplit.from_json(split),
        )


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Put the file's name before what the block complains of."""
    try:
        yield
    except EdgenetsError as error:
        raise EdgenetsError(f"{name}: {error}") from error


def _ends_in_softmax(model: flatbuffer.Model) -> bool:
    (wanted,) = model.output_indices
    for operator in reversed(model.operators):
        if wanted in operator.outputs:
            if operator.name not in ("QUANTIZE", "DEQUANTIZE", "RESHAPE") or not operator.inputs:
                return operator.name == "SOFTMAX"
            wanted = operator.inputs[0]
    return False


def _name(source: Path | bytes) -> str:
    return str(source) if isinstance(source, Path) else "the model"


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a single number"
