"""Which operators of a `.tflite` file XNNPACK, LiteRT's fast kernels for CPUs, takes over.

It takes neighbouring operators that it knows as one partition. The others run on the interpreter's
own kernels, which are slower, and every border between the two costs a copy. Needs NumPy and an
interpreter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from edgenets import flatbuffer
from edgenets.export.devices.interpreter import open_interpreter

DELEGATE = "DELEGATE"
"""What an interpreter calls the operator that stands for a partition."""


class Partitions(NamedTuple):
    """How the interpreter that runs here divides a file."""

    number: int  # of XNNPACK's partitions; 0 where the interpreter was built without it
    outside: tuple[int, ...]  # operators left to the interpreter: indices in execution order


def partitions(source: Path | bytes) -> Partitions:
    """Return what XNNPACK takes over when the interpreter opens the file.

    Args:
        source: the file's path or its content.

    Raises:
        EdgenetsError: the file is damaged, or no interpreter can open it.
    """
    # No public call tells the plan of an interpreter; its own profiling tools read this one.
    return divided(flatbuffer.read(source), open_interpreter(source)._get_ops_details())


def divided(model: flatbuffer.Model, listed: Sequence[Mapping[str, Any]]) -> Partitions:
    """Return the partitions in an interpreter's plan: for each step its op_name, inputs, outputs.

    A step named `DELEGATE` stands for all operators between its inputs and outputs.
    """
    delegates = [node for node in listed if node["op_name"] == DELEGATE]
    inside = {
        operator
        for node in delegates
        for operator in _between(model, map(int, node["inputs"]), map(int, node["outputs"]))
    }
    outside = tuple(i for i in range(len(model.operators)) if i not in inside)
    return Partitions(len(delegates), outside)


def _between(model: flatbuffer.Model, inputs: Iterable[int], outputs: Iterable[int]) -> set[int]:
    """Return the operators that compute `outputs` from `inputs`."""
    makers = {
        tensor: index
        for index, operator in enumerate(model.operators)
        for tensor in operator.outputs
    }
    known, wanted, found = set(inputs), list(outputs), set[int]()
    while wanted:
        tensor = wanted.pop()
        if tensor not in known and tensor in makers:
            known.add(tensor)
            found.add(makers[tensor])
            wanted += model.operators[makers[tensor]].inputs
    return found
