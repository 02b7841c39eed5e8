"""The first operator at which two runs of a net part: two runtimes of a file, or two files.

What every operator makes is let out of the file as a further output, so that one run of each shows
all of them. The two runs begin with the same inputs, and are compared in execution order: before
the operator that is found, every value is equal to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets import flatbuffer
from edgenets.export.measure.runtimes import Runtime
from edgenets.export.metadata import layer_names
from edgenets.flatbuffer.extract import preparing_operators
from edgenets.flatbuffer.sizes import tensor_bytes

MOST_IMAGES = 4
"""On which operators are compared: of those whose outputs differ."""


class Run(NamedTuple):
    """A file in a runtime."""

    runtime: Runtime
    content: bytes


class Parting(NamedTuple):
    """Where two runs part.

    `values` of the `of` that the operator makes for the compared `images` differ, by at most
    `largest_step`: codes where they are integers, else units. They are None where not the values
    differ but the operators themselves, as two files may.
    """

    operator: int
    op: str
    name: str  # of the layer; "" where the file does not name it
    values: int | None
    of: int | None
    images: int | None
    largest_step: float | None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON value with these keys."""
        return self._asdict()


def find_parting(first: Run, second: Run, inputs: NDArray[Any]) -> Parting | None:
    """Return the first operator whose result differs; None where none does.

    Args:
        first, second: what is compared. The files take the same inputs.
        inputs: [images, ...], some for which the outputs differ; the first few are taken.

    Raises:
        EdgenetsError: a runtime refuses a file whose activations are outputs.
    """
    inputs = inputs[:MOST_IMAGES]
    one, other = flatbuffer.read(first.content), flatbuffer.read(second.content)
    sent_bytes = min(first.runtime.sent_bytes, second.runtime.sent_bytes) // len(inputs)
    alike = _operators_alike(one, other)
    for operators in _groups(one, alike, sent_bytes):
        ours, theirs = (
            run.runtime.run(_watched(run.content, model, operators), inputs).outputs
            for run, model in ((first, one), (second, other))
        )
        made = [index for index in operators for _ in _results(one, index)]
        for index, a, b in zip(made, ours, theirs, strict=True):
            differing = ~same_bits(a, b)
            if differing.any():
                counted = int(differing.sum()), a.size, len(inputs), largest_step(a, b)
                return _parting(one, index, counted)
    if alike < max(len(one.operators), len(other.operators)):
        return _parting(one, min(alike, len(one.operators) - 1))
    return None


def same_bits(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which values of two arrays are equal to the last bit; a NaN equals itself.

    >>> same_bits(np.float32([1, np.nan]), np.float32([2, np.nan]))
    array([False,  True])
    """
    if a.dtype.kind == "f":
        width = f"u{a.dtype.itemsize}"
        return np.asarray(
            np.ascontiguousarray(a).view(width) == np.ascontiguousarray(b).view(width)
        )
    return np.asarray(a == b)


def largest_step(a: NDArray[Any], b: NDArray[Any]) -> float | None:
    """Return the largest difference of two arrays; None where one is not finite.

    >>> largest_step(np.int8([-128, 3]), np.int8([127, 3]))
    255.0
    """
    difference = np.abs(a.astype(np.float64) - b.astype(np.float64))
    largest = float(difference.max(initial=0))
    return largest if np.isfinite(largest) else None


def _watched(content: bytes, model: flatbuffer.Model, operators: list[int]) -> bytes:
    """Return the file with what these operators make as its outputs."""
    results = [tensor for index in operators for tensor in _results(model, index)]
    return flatbuffer.rewrite(content, flatbuffer.set_outputs, results)


def _results(model: flatbuffer.Model, index: int) -> list[int]:
    """Return the tensors of an operator that can be compared: numbers that a run makes."""
    return [
        tensor
        for tensor in model.operators[index].outputs
        if model.tensors[tensor].shape and not model.tensors[tensor].is_variable
        if model.tensors[tensor].dtype in flatbuffer.NUMPY_DTYPES
    ]


def _groups(model: flatbuffer.Model, stop: int, sent_bytes: int) -> Iterator[list[int]]:
    """Yield the operators before `stop` in order, as many at a time as can be returned at once."""
    preparing = preparing_operators(model)
    group: list[int] = []
    taken = 0
    for index in range(stop):
        results = [] if index in preparing else _results(model, index)
        if not results:
            continue
        size_bytes = sum(tensor_bytes(model.tensors[tensor]) for tensor in results)
        if group and taken + size_bytes > sent_bytes:
            yield group
            group, taken = [], 0
        group.append(index)
        taken += size_bytes
    if group:
        yield group


def _operators_alike(one: flatbuffer.Model, other: flatbuffer.Model) -> int:
    """Return how many operators from the first on are the same ones in both."""

    def kind(model: flatbuffer.Model, operator: flatbuffer.Operator) -> Any:
        made = [(model.tensors[i].shape, model.tensors[i].dtype) for i in operator.outputs]
        return operator.name, made

    pairs = zip(one.operators, other.operators, strict=False)
    alike = 0
    for a, b in pairs:
        if kind(one, a) != kind(other, b):
            break
        alike += 1
    return alike


def _parting(
    model: flatbuffer.Model,
    index: int,
    counted: tuple[int, int, int, float | None] | None = None,
) -> Parting:
    name = layer_names(model)[index]
    return Parting(index, model.operators[index].name, name, *(counted or (None,) * 4))
