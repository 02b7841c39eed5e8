"""An image classifier in a `.tflite` file: pixels to logits, labels and probabilities.

Needs NumPy and an interpreter, no Pillow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgenets import flatbuffer
from edgenets.data.input_range import Range, input_codes, input_range_of
from edgenets.data.pixels import look_up
from edgenets.errors import EdgenetsError
from edgenets.export.inspect.output_kind import PROBABILITIES, ends_in
from edgenets.export.measure.defaults import THREADS
from edgenets.export.metadata import both_labels, lost_labels, read_entry, read_labels
from edgenets.flatbuffer import File
from edgenets.memory import read_bounded
from edgenets.models.logits import softmax
from edgenets.models.registry import NETS
from edgenets.units import format_shape

if TYPE_CHECKING:
    from edgenets.data.images import Preparation
    from edgenets.data.splits import SeededSplit
from edgenets.export.devices.interpreter import (
    interpreter_errors,
    name_of,
    open_interpreter,
    refuse_compiled,
)

CLASSIFIER_DTYPES = ("float32", "int8", "uint8", "int16")
"""Of inputs and outputs."""
LEAST_PROBABILITY = 1e-9
"""Stands for a probability that was rounded to 0, whose logarithm does not exist."""
SUM_ROOM = 1e-3
"""By which the sum of a network's probabilities may differ from 1, beside their rounding."""
MOST_SUM_ROOM = 0.05


class ClassifierFile:
    """An image classifier in a `.tflite` file, as edgenets exports them; others are read too.

    The network takes one RGB image [1, height, width, 3], as float32 or quantized, and returns one
    score per class, [1, classes] or with more sizes of 1 before them, logits or probabilities, or
    of two classes the probability of the second alone, [1, 1].

    Args:
        source: the file's path, its content, or the file as it was just made.
        labels: the class names, in place of those in the file.
        input_range: the values of black and of white, or three of each for R, G and B; without,
            what the file says (`edgenets.data.input_range`).

    Attributes:
        input: the tensor that takes the image: its shape, dtype, scale, zero point.
        output: the tensor of the scores.
        classes: how many there are.
        labels: the class names, one per class; None when the file holds none.
        lost_labels: the name of the file of labels that the metadata promise, where it is gone.
        preparation: of the images; None when the file does not say.
        seeded_split: how the model's own test part was split off; None when the file does not say.
        codes: what the input takes for each value of a pixel, [256], or [256, channels].

    Raises:
        EdgenetsError: the file is damaged, it is no image classifier, what it says about itself
            does not fit, nothing says what its input takes, or it takes more memory than a file may
            (`edgenets.memory`).
    """

    def __init__(
        self,
        source: Path | str | bytes | File,
        *,
        labels: Sequence[str] | None = None,
        input_range: Range | None = None,
    ) -> None:
        path = Path(source) if isinstance(source, str) else source
        file = read_bounded(path) if isinstance(path, Path) else path
        content = flatbuffer.content_of(file)
        self._source = path if isinstance(path, Path) else content
        name = name_of(self._source)
        model = flatbuffer.model_of(file, name)
        refuse_compiled(model, name)
        self.input, self.output = _image_and_scores(model, name)
        self._end = ends_in(model)
        self.classes = _classes(self.output, self._end, name)
        entry = _entry(model, name)
        self.labels, self.lost_labels = _labels(model, content, name, self.classes, entry, labels)
        self._own_logits = not self.gives_probabilities and str(entry.get("name")) in NETS
        self.preparation, self.seeded_split = _about_images(entry, name)
        self.codes = input_codes(self.input, input_range_of(model, name, input_range))

    def outputs(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Run the images one after the other; return the output as it is in the file.

        Args:
            pixels: [images, height, width, 3].

        Returns:
            The output of each image, [images, classes], or [images, 1] of a single probability, of
            its dtype: codes, when it is quantized.

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
                f"{name_of(self._source)} takes uint8 images of "
                f"{format_shape(self.input.shape[1:])}, not {pixels.dtype} of "
                f"{format_shape(pixels.shape[1:])}"
            )
        return look_up(self.codes, pixels)

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the images one after the other; return their logits, [images, classes].

        Arguments and errors as in `outputs` and `logits_of`.
        """
        return self.logits_of(self.outputs(pixels))

    def logits_of(self, outputs: NDArray[Any]) -> NDArray[np.float32]:
        """Return what ranks the classes in outputs of the network, [images, classes].

        These are its values. A softmax gives the logarithms of its probabilities: the softmax of
        those are the same probabilities.

        Raises:
            EdgenetsError: a value is not finite.
        """
        values = self.of_classes(self.values_of(outputs))
        if self._end == "SOFTMAX":
            return np.log(np.maximum(values, np.float32(LEAST_PROBABILITY)))
        return values

    def probabilities_of(self, outputs: NDArray[Any]) -> NDArray[np.float64]:
        """Return the probabilities that outputs of the network stand for, [images, classes].

        Those that the network gives are left as they are, such as 0.9, 0.8 and 0.1 of three
        sigmoids: it ends in a softmax or in sigmoids, or it is no net of edgenets and `outputs`
        sum to 1, image by image. Of other values, the logits, it is the softmax.

        Raises:
            EdgenetsError: a value is not finite.
        """
        values = self.values_of(outputs)
        step = float(self.output.scale[0]) if self.output.scale.size else 0.0
        if self._own_logits or not (self.gives_probabilities or _sum_to_one(values, step)):
            return softmax(values)
        return self.of_classes(values).astype(np.float64)

    @property
    def gives_probabilities(self) -> bool:
        """Whether the network ends in a softmax or in sigmoids."""
        return self._end in PROBABILITIES

    def values_of(self, outputs: NDArray[Any]) -> NDArray[np.float32]:
        """Return the numbers that outputs of the network stand for, of their shape.

        Raises:
            EdgenetsError: one is not finite.
        """
        values = outputs.astype(np.float32)
        if self.output.scale.size:
            values = (values - np.float32(self.output.zero_point[0])) * self.output.scale[0]
        if not np.isfinite(values).all():
            raise EdgenetsError(
                f"{name_of(self._source)} returned a NaN or an infinity; train it again"
            )
        return values

    def of_classes(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a value for each class: a single one is the second's of two."""
        if values.shape[1] == self.classes:
            return values
        return np.concatenate([1 - values, values], axis=1)


class Classifier(ClassifierFile):
    """A classifier that runs in this process: a damaged file may end it, so it is for files that
    edgenets has just made; `RemoteClassifier` is for those of users.

    Args:
        source: the file's path, its content, or the file as it was just made.
        input_range: as for `ClassifierFile`.

    Raises:
        EdgenetsError: as for `ClassifierFile`, or the interpreter refuses the file.
    """

    def __init__(
        self,
        source: Path | str | bytes | File,
        *,
        input_range: Range | None = None,
    ) -> None:
        super().__init__(source, input_range=input_range)
        self._interpreter = open_interpreter(self._source, THREADS)

    def outputs(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Run the images as `ClassifierFile.outputs` says."""
        (image,) = self._interpreter.get_input_details()
        (scores,) = self._interpreter.get_output_details()
        outputs = np.empty((len(pixels), self.output.shape[-1]), self.output.dtype)
        codes = self.inputs(pixels)
        with interpreter_errors(self._source):
            for row, one in zip(outputs, codes, strict=True):
                self._interpreter.set_tensor(image["index"], one[np.newaxis])
                self._interpreter.invoke()
                row[:] = self._interpreter.get_tensor(scores["index"]).reshape(-1)
        return outputs


def _image_and_scores(
    model: flatbuffer.Model, name: str
) -> tuple[flatbuffer.Tensor, flatbuffer.Tensor]:
    shapes = [[t.shape for t in tensors] for tensors in (model.inputs, model.outputs)]
    match shapes:
        case [[(1, _, _, 3)], [(1, *ones, _)]] if set(ones) <= {1}:
            pass
        case _:
            inputs, outputs = (", ".join(map(format_shape, side)) or "nothing" for side in shapes)
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


def _classes(scores: flatbuffer.Tensor, end: str, name: str) -> int:
    outputs = scores.shape[-1]
    if outputs > 1:
        return outputs
    if outputs == 1 and end == "LOGISTIC":
        return 2
    raise EdgenetsError(
        f"{name} returns {outputs} number{'' if outputs == 1 else 's'} and ends in "
        f"{end or 'nothing'}; a classifier returns one of each class, or of two the second's "
        "sigmoid"
    )


def _labels(
    model: flatbuffer.Model,
    content: bytes,
    name: str,
    classes: int,
    entry: dict[str, Any],
    given: Sequence[str] | None,
) -> tuple[tuple[str, ...] | None, str | None]:
    """Return the labels, and the name of those that are lost."""
    lost = None
    labels = None if given is None else tuple(given)
    if labels is None:
        with _naming(name):
            labels, lost = read_labels(content, model), lost_labels(content, model)
    if labels is not None and len(labels) == 1 and classes == 2:  # of a sigmoid's own class
        labels = both_labels(entry, labels[0])
    if labels is not None and len(labels) != classes:
        holds = "holds" if given is None else "is given"
        raise EdgenetsError(
            f"{name} {holds} {len(labels)} labels for {classes} classes; pass a file of as many "
            "lines with --labels"
        )
    return labels, lost


def _entry(model: flatbuffer.Model, name: str) -> dict[str, Any]:
    with _naming(name):
        return read_entry(model)


def _about_images(
    entry: dict[str, Any], name: str
) -> tuple[Preparation | None, SeededSplit | None]:
    from edgenets.data.images import Preparation
    from edgenets.data.splits import SeededSplit

    with _naming(name):
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


def _sum_to_one(scores: NDArray[np.float32], step: float) -> bool:
    """Tell whether the scores of every image are probabilities that sum to 1.

    Args:
        scores: [images, classes].
        step: of which the scores are multiples; 0.0 where they are not.
    """
    room = min(MOST_SUM_ROOM, SUM_ROOM + scores.shape[1] * step / 2)
    off = np.abs(scores.sum(axis=1, dtype=np.float64) - 1)
    return bool(len(scores) and (scores >= -SUM_ROOM).all() and (off <= room).all())
