"""Where the operators of a file will run: on an accelerator, or beside it on the CPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from edgenets.flatbuffer import Model, Operator, Tensor

OTHER_REPLACEMENT = "replace it by operators that are, or leave it to the program at the end"


class Finding(NamedTuple):
    """What a check says of an operator."""

    reason: str  # the rule, and what the operator has instead
    change: str  # what to do about it
    stated: bool = True  # whether the documentation states the rule with its limit
    maps: bool = False  # the operator maps nevertheless, as far as is known
    refuses: bool = False  # the compiler refuses the whole file


Check = Callable[[Model, Operator], Finding | None]


def input_of(model: Model, operator: Operator, position: int) -> Tensor | None:
    """Return an input of an operator; None where it has none at that position."""
    index = operator.inputs[position] if position < len(operator.inputs) else -1
    return model.tensors[index] if index >= 0 else None


def first_finding(model: Model, operator: Operator, checks: Iterable[Check]) -> Finding | None:
    """Return what the first check that stands against an operator says; None where none does."""
    return next(filter(None, (check(model, operator) for check in checks)), None)


def not_an_operator(name: str, accelerator: str, replacements: Mapping[str, str]) -> Finding:
    """Return what is said of an operator that an accelerator has not."""
    change = replacements.get(name, OTHER_REPLACEMENT)
    return Finding(f"{name} is not an operator of the {accelerator}", change)


@dataclass(frozen=True)
class Placement:
    """Where one operator will run."""

    index: int  # in execution order
    op: str
    mapped: bool
    reason: str | None  # what decides, in one sentence; None: it maps by stated rules
    change: str | None  # what to do about it
    stated: bool  # whether what decides is stated in the documentation

    @classmethod
    def of(cls, index: int, operator: Operator, mapped: bool, decides: Finding | None) -> Placement:
        """Return where an operator runs, and the finding that decides it, if one does."""
        if decides is None:
            return cls(index, operator.name, mapped, None, None, True)
        return cls(index, operator.name, mapped, decides.reason, decides.change, decides.stated)

    def to_json(self) -> dict[str, Any]:
        """Return the operator as the JSON of `edgenets inspect` has it."""
        return asdict(self)


class Compiled(Protocol):
    """What an accelerator's compiler made of a file; not written yet."""

    @property
    def path(self) -> Path:
        """Where it belongs: beside the file."""

    @property
    def content(self) -> bytes:
        """The compiled file."""

    @property
    def on_cpu(self) -> Counter[str]:
        """How many operators of each name it left on the CPU."""

    @property
    def predicted(self) -> Prediction:
        """What was predicted of the file."""

    @property
    def table(self) -> list[dict[str, Any]]:
        """Of each kind of operator what became of it, as `Prediction.beside` has it."""

    def to_json(self) -> dict[str, Any]:
        """Return what is told of it."""


@dataclass(frozen=True)
class Prediction:
    """What an accelerator's compiler will make of a file."""

    ops: tuple[Placement, ...]

    @property
    def mapped_ops(self) -> int:
        """How many operators run on the accelerator."""
        return sum(op.mapped for op in self.ops)

    @property
    def cpu_ops(self) -> int:
        """How many operators stay on the CPU."""
        return len(self.ops) - self.mapped_ops

    @property
    def on_cpu(self) -> Counter[str]:
        """How many operators of each name stay on the CPU."""
        return Counter(op.op for op in self.ops if not op.mapped)

    @property
    def advice(self) -> str:
        """What to do about the first operator that stays on the CPU."""
        first = next((op for op in self.ops if not op.mapped), None)
        if first is None:
            return "change the model"
        return f"{first.change} (operator {first.index}, {first.op})"

    def beside(
        self, on_cpu: Counter[str], reasons: Mapping[str, Sequence[str]]
    ) -> list[dict[str, Any]]:
        """Return what a compiler made of the file beside what was predicted, a row a kind.

        Args:
            on_cpu: how many operators of each name it left on the CPU.
            reasons: why, by the operator's name.

        Returns:
            Of each `op` the numbers `mapped`, `on_cpu`, `predicted_on_cpu`, and the `reasons`.
        """
        return [
            {
                "op": op,
                "mapped": count - on_cpu[op],
                "on_cpu": on_cpu[op],
                "predicted_on_cpu": self.on_cpu[op],
                "reasons": list(reasons.get(op, ())),
            }
            for op, count in Counter(op.op for op in self.ops).items()
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the prediction as the JSON of `edgenets inspect` has it."""
        return {
            "mapped_ops": self.mapped_ops,
            "cpu_ops": self.cpu_ops,
            "ops": [op.to_json() for op in self.ops],
        }


def left_on_cpu(made: Compiled, path: Path, unsaid: str) -> str:
    """Return, in words, what a compiler left on the CPU of the file `path`.

    `unsaid` stands for reasons that it did not give.
    """
    listed = ", ".join(
        f"{row['on_cpu']} {row['op']} ({', '.join(row['reasons']) or unsaid})"
        for row in made.table
        if row["on_cpu"]
    )
    left, every = made.on_cpu.total(), len(made.predicted.ops)
    return f"{left} of {every} operators of {path} stay on the CPU: {listed}"


def differing(table: Iterable[dict[str, Any]]) -> list[str]:
    """Return the operators of `Prediction.beside` that were not left as predicted; none is best."""
    return [row["op"] for row in table if row["on_cpu"] != row["predicted_on_cpu"]]
