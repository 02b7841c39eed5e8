"""What each operator of a `.tflite` file costs, from the outside: by timing parts of the file.

An operator's cost is what it adds to the operator before it: the time of the two as one file less
the time of the first as one. What a run of the interpreter costs beside its operators cancels, the
input comes from a cache as in the whole, and the two fuse as they do there. All parts and the whole
run in turn, round after round in one process, so that a machine that slows down slows both sides.
The times are the undisturbed ones (`statistics.undisturbed`): an interruption adds to the longer of
two files more often, which medians would take for a cost of its operator. The weights that an
operator reads were displaced from the caches by the other parts, as in a whole that does not fit
into them.

How small a cost can be told from none is measured, too: `AGAIN` of the pairs are opened and timed a
second time, and what differs between equal files, where nothing should, is the resolution.

docs/evidence/per_op.md has the evidence: convolutions of known cost put into nets of four families.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.export.devices.session import Report, Session
from edgenets.export.measure.defaults import MIN_SECONDS, THREADS
from edgenets.export.measure.statistics import undisturbed, undisturbed_difference
from edgenets.export.metadata import layer_names
from edgenets.flatbuffer.extract import find_part, preparing_operators, unread_operators
from edgenets.flatbuffer.sizes import tensor_bytes

MIN_ROUNDS = 40
AGAIN = 16
RESOLUTION_QUANTILE = 0.95
MEMORY_BYTES = 256 * 2**20
"""Of files that are open together, at most, as far as it can be foreseen; boards have 1 GB."""

Group = Mapping[str, bytes]  # files by name, to be timed in turn
Timing = Mapping[str, Sequence[float]]  # by the file's name: ms, round by round
WHOLE = "the whole file"


class Measured(NamedTuple):
    """An operator that is measured; `before` is the one that ran before it, None for the first."""

    operator: int
    before: int | None
    twice: bool  # whether its pair is timed a second time

    @property
    def pair(self) -> str:
        """The name of the file of both, or of the first operator."""
        return (
            _alone(self.operator)
            if self.before is None
            else f"operators {self.before} and {self.operator}"
        )

    @property
    def again(self) -> str:
        """The name of the same file once more."""
        return f"{self.pair}, again"


Groups = Sequence[tuple[Sequence[Measured], Group]]
"""Operators, with the files that tell their costs."""


def profile_operators(
    content: bytes,
    time_groups: Callable[[Sequence[Group]], Sequence[Timing]],
    groups: Groups | None = None,
) -> dict[str, Any]:
    """Return what each operator costs.

    Args:
        content: of a `.tflite` file.
        time_groups: runs the files of each group in turn; returns a timing for each group.
        groups: what `group_parts` returned, where it was asked already.

    Returns:
        `ops`, in execution order: index, op, name (of the layer), macs, ms and ms_ci95 (95 %
        interval), share (of the sum), gmacs_per_s (null without MACs, or if the time is not
        resolved), resolved (whether ms is more than the resolution and than its own error),
        instructions (null: a device's clock does not count them). An operator that only prepares
        constants has nulls: the interpreter runs it once, and not in an inference. So has one whose
        outputs nobody reads.
        `ops_sum_ms`; `ops_whole_ms`, of the whole file in the same rounds; `ops_resolution_ms`.
        All times are undisturbed ones.

    Raises:
        EdgenetsError: the file is damaged, or no operator of it runs.
    """
    model = flatbuffer.read(content)
    groups = group_parts(content, model) if groups is None else groups
    timings = time_groups([files for _, files in groups])
    costs: dict[int, tuple[float, float, float]] = {}
    nothing, whole = [], []
    for (members, _), timing in zip(groups, timings, strict=True):
        samples = {name: np.asarray(values, np.float64) for name, values in timing.items()}
        whole.append(samples[WHOLE])
        none = np.zeros_like(samples[WHOLE])
        for op in members:
            before = none if op.before is None else samples[_alone(op.before)]
            costs[op.operator] = undisturbed_difference(samples[op.pair], before)
            if op.twice:
                nothing.append(abs(undisturbed(samples[op.again]) - undisturbed(samples[op.pair])))
    resolution_ms = float(np.quantile(nothing, RESOLUTION_QUANTILE))
    sum_ms = sum(ms for ms, _, _ in costs.values())
    ops = []
    for index, row in enumerate(describe_operators(model)):
        if index in costs:
            ms, low, high = costs[index]
            resolved = ms > resolution_ms and low > 0
            row |= {
                "ms": ms,
                "ms_ci95": [low, high],
                "share": ms / sum_ms,
                "resolved": resolved,
                "gmacs_per_s": row["macs"] / ms / 1e6 if row["macs"] and resolved else None,
            }
        ops.append(row)
    return {
        "ops": tuple(ops),
        "ops_sum_ms": sum_ms,
        "ops_whole_ms": undisturbed(np.concatenate(whole)),
        "ops_resolution_ms": resolution_ms,
    }


def profile_instructions(
    content: bytes, count: Callable[[Group], Mapping[str, float]]
) -> list[dict[str, Any]]:
    """Return the `ops` of `profile_operators` with the instructions of each, and no times.

    Args:
        content: of a `.tflite` file.
        count: returns the instructions per inference of each file, by its name.

    Raises:
        EdgenetsError: the file is damaged, or no operator of it runs.
    """
    model = flatbuffer.read(content)
    instructions: dict[int, float] = {}
    for members, files in group_parts(content, model, again=0):
        counted = count({name: file for name, file in files.items() if name != WHOLE})
        for op in members:
            before = 0 if op.before is None else counted[_alone(op.before)]
            instructions[op.operator] = counted[op.pair] - before
    return [
        row | {"instructions": round(instructions[i]) if i in instructions else None}
        for i, row in enumerate(describe_operators(model))
    ]


def describe_operators(model: flatbuffer.Model) -> list[dict[str, Any]]:
    """Return the `ops` of `profile_operators` without anything measured."""
    return [
        {
            "index": index,
            "op": operator.name,
            "name": name,
            "macs": model.macs(operator),
            "ms": None,
            "ms_ci95": None,
            "share": None,
            "resolved": False,
            "instructions": None,
            "gmacs_per_s": None,
        }
        for index, (operator, name) in enumerate(
            zip(model.operators, layer_names(model), strict=True)
        )
    ]


def group_parts(content: bytes, model: flatbuffer.Model, again: int = AGAIN) -> Groups:
    """Return the operators in groups that fit into memory, with the files that tell their costs.

    Args:
        content: of the file.
        model: what it holds.
        again: how many pairs have a second file, at most.

    Raises:
        EdgenetsError: no operator runs.
    """
    left = preparing_operators(model) | unread_operators(model)
    active = [i for i, op in enumerate(model.operators) if op.outputs and i not in left]
    if not active:
        raise EdgenetsError("the model has no operators to measure; export it again")
    twice = set(active[:: -(-len(active) // again)]) if again else set()
    measured = [
        Measured(i, before, i in twice) for before, i in zip([None, *active], active, strict=False)
    ]
    parts = {_alone(op.operator): find_part(model, op.operator, op.operator + 1) for op in measured}
    for op in measured:
        start = op.operator if op.before is None else op.before
        parts[op.pair] = find_part(model, start, op.operator + 1)
    files = dict(zip(parts, flatbuffer.split(content, parts.values()), strict=True))

    groups: list[tuple[list[Measured], dict[str, bytes]]] = []
    room = 0
    for op in measured:
        wanted = {op.pair: files[op.pair]}
        if op.before is not None:
            wanted[_alone(op.before)] = files[_alone(op.before)]
        if op.twice:
            wanted[op.again] = files[op.pair]
        activations = _activation_bytes(model, parts[op.pair])
        needed = sum(2 * len(file) + activations for file in wanted.values())
        if needed > room:
            groups.append(([], {WHOLE: content}))
            room = MEMORY_BYTES - 2 * len(content)
        room -= needed
        members, group = groups[-1]
        members.append(op)
        group.update(wanted)
    return [*groups]


def _alone(index: int) -> str:
    return f"operator {index}"


def _activation_bytes(model: flatbuffer.Model, part: flatbuffer.Part) -> int:
    indices = {*part.inputs, *(t for i in part.operators for t in model.operators[i].outputs)}
    return sum(tensor_bytes(model.tensors[i]) for i in indices)


def time_in_turn(
    session: Session,
    groups: Sequence[Group],
    threads: int = THREADS,
    min_seconds: float = MIN_SECONDS,
    delegate: str | None = None,
    report: Report = lambda percent: None,
) -> list[Timing]:
    """Time files on a device, each group in a process of its own.

    Args:
        session: of the device.
        groups: of files.
        threads: of the interpreter.
        min_seconds: that the timed runs take together, at least.
        delegate: "edgetpu", or None.
        report: is told how many per cent are done.

    Raises:
        EdgenetsError: the interpreter refuses a file or dies of it, or the device is lost.
    """
    timings: list[Timing] = []
    for done, group in enumerate(groups):
        for name, content in group.items():
            session.put(name, content)
        job = {
            "do": "time",
            "files": list(group),
            "min_seconds": min_seconds / len(groups),
            "min_runs": MIN_ROUNDS,
        }
        (measured,) = session.ask(
            [job],
            threads=threads,
            delegate=delegate,
            report=lambda percent, done=done: report((100 * done + percent) // len(groups)),  # type: ignore[misc]
        )
        timings.append(
            {name: row["samples_ms"] for name, row in zip(group, measured["files"], strict=True)}
        )
    return timings
