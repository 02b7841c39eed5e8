"""What the Edge TPU compiler will map of a `.tflite`, op by op, before it is run.

What an operator must be is in `rules.py`. The compiler makes one Edge TPU part. It hands the
graph to TFLite's partitioner, which takes operators in execution order as long as their inputs are
there: the part ends at the first operator that is not supported, and what needs its result follows
on the CPU.

Source: Coral, "TensorFlow models on the Edge TPU" (op table, compiler 16.0); what compiled files
and compilers' logs add to it is in docs/reference/edge_tpu.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from edgenets.export.inspect import placement
from edgenets.export.inspect.edge_tpu.rules import PARAMETRIC, RULES, find
from edgenets.export.inspect.placement import Finding, Placement
from edgenets.flatbuffer import EDGE_TPU_OPERATOR, Model, Operator

ON_CHIP_BYTES = int(7.6 * 2**20)
"""Parameters that stay on the chip at most: of its 8 MB, what the compiler leaves for them in small
nets. The program and activations of a large net leave less, 6 to 7 MiB in logs of full caches."""


@dataclass(frozen=True)
class Prediction(placement.Prediction):
    """What the compiler will make of a file."""

    # Constants of the mapped operators, as stored in the file; None where the file is compiled.
    parameter_bytes: int | None

    @property
    def unstated(self) -> tuple[Placement, ...]:
        """The operators whose place rests on a rule that the documentation does not state."""
        return tuple(op for op in self.ops if not op.stated)

    @property
    def on_chip_bytes(self) -> int | None:
        """Parameters that stay on the chip from one inference to the next, at most."""
        return None if self.parameter_bytes is None else min(self.parameter_bytes, ON_CHIP_BYTES)

    @property
    def off_chip_bytes(self) -> int | None:
        """Parameters that are sent to the chip for every inference, at least."""
        return (
            None if self.parameter_bytes is None else max(0, self.parameter_bytes - ON_CHIP_BYTES)
        )

    def to_json(self) -> dict[str, Any]:
        """Return the prediction as `edge_tpu` of the JSON of `edgenets inspect`."""
        return {
            **super().to_json(),
            "unstated_ops": len(self.unstated),
            "parameter_bytes": self.parameter_bytes,
            "on_chip_bytes": self.on_chip_bytes,
            "off_chip_bytes": self.off_chip_bytes,
        }


def predict(model: Model) -> Prediction:
    """Say of each operator whether the Edge TPU compiler will map it, and why not.

    A file that the compiler made is read as it is: what stands beside its custom operators was
    left on the CPU.
    """
    if model.compiled == EDGE_TPU_OPERATOR:
        compiled = (_compiled(i, operator) for i, operator in enumerate(model.operators))
        return Prediction(tuple(compiled), None)
    findings = [find(model, operator) for operator in model.operators]
    refused = any(finding and finding.refuses for finding in findings)
    ops = (_refused if refused else _mapped)(model, findings)
    mapped = (model.operators[op.index] for op in ops if op.mapped)
    return Prediction(tuple(ops), _parameter_bytes(model, mapped))


def _mapped(model: Model, findings: Sequence[Finding | None]) -> list[Placement]:
    supported = [finding is None or finding.maps for finding in findings]
    leading, part = _partition(model, supported)
    stops = {i for i, does in enumerate(supported) if not does} - leading
    stopped_by = _stopped_by(model, stops)
    first_stop = min(stops, default=len(supported))
    ops = []
    for i, (operator, finding) in enumerate(zip(model.operators, findings, strict=True)):
        decides = finding
        if supported[i] and i not in part:
            decides = _after(model, stopped_by[i])
        elif finding is None and i > first_stop:
            decides = _beside(model, first_stop)
        ops.append(Placement.of(i, operator, i in part, decides))
    return ops


def _partition(model: Model, supported: Sequence[bool]) -> tuple[set[int], set[int]]:
    """Return the operators that run on the CPU first, where the graph begins so, and the mapped.

    A part holds operators that are all supported or all not. It begins with the first one in
    execution order, and takes every further one of its kind whose inputs are there by then.

    Source: TensorFlow Lite, graph_info.cc, `PartitionGraphIntoIndependentNodeSubsets`.
    """
    missing = {tensor for operator in model.operators for tensor in operator.outputs}

    def take(kind: bool) -> set[int]:
        part = set()
        for i, operator in enumerate(model.operators):
            if supported[i] == kind and missing.isdisjoint(operator.inputs):
                part.add(i)
                missing.difference_update(operator.outputs)
        return part

    leading = take(False) if supported and not supported[0] else set()
    return leading, take(True)


def _stopped_by(model: Model, stops: set[int]) -> list[int | None]:
    """Return of each operator the first of `stops` before it whose result it needs."""
    stop_of: dict[int, int | None] = {}  # by tensor
    stopped_by: list[int | None] = []
    for i, operator in enumerate(model.operators):
        needed = [stop_of.get(tensor) for tensor in operator.inputs]
        stop = min((stop for stop in needed if stop is not None), default=None)
        stopped_by.append(stop)
        passed_on = i if stop is None and i in stops else stop
        stop_of.update(dict.fromkeys(operator.outputs, passed_on))
    return stopped_by


def _after(model: Model, stop: int | None) -> Finding:
    if stop is None:
        return Finding("its inputs are made after it, so the file is damaged", "export it again")
    return Finding(
        f"it follows operator {stop} ({model.operators[stop].name}), which stays on the CPU, and "
        "the compiler makes one part",
        f"change what stops operator {stop}",
    )


def _beside(model: Model, stop: int) -> Finding:
    return Finding(
        f"it maps as it does not need operator {stop} ({model.operators[stop].name}), which comes "
        "before it and stays on the CPU; whether the compiler goes by that or by the order alone "
        "is not stated",
        f"change what stops operator {stop}",
        stated=False,
        maps=True,
    )


def _refused(model: Model, findings: Sequence[Finding | None]) -> list[Placement]:
    first = next(i for i, finding in enumerate(findings) if finding and finding.refuses)
    rest = Finding(
        f"the compiler refuses the file for operator {first} ({model.operators[first].name})",
        f"change operator {first}",
    )
    return [
        Placement.of(i, operator, False, finding if finding and finding.refuses else rest)
        for i, (operator, finding) in enumerate(zip(model.operators, findings, strict=True))
    ]


def _compiled(index: int, operator: Operator) -> Placement:
    if operator.name == EDGE_TPU_OPERATOR:
        return Placement.of(index, operator, True, None)
    left = Finding(
        "so the file was compiled", "inspect the one that it was made of, which says why"
    )
    return Placement.of(index, operator, False, left)


def _parameter_bytes(model: Model, operators: Iterable[Operator]) -> int:
    """Return the bytes of kernels, biases and other operands of the operators, each once."""
    indices = {
        operator.inputs[position]
        for operator in operators
        for position in range(len(operator.inputs))
        if position not in RULES[operator.name].constants or operator.name in PARAMETRIC
    }
    return sum(model.tensors[i].size_bytes for i in indices if i >= 0)
