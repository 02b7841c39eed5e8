"""Where the operators of a file will run: on an accelerator, or beside it on the CPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Placement:
    """Where one operator will run."""

    index: int  # in execution order
    op: str
    mapped: bool
    reason: str | None  # what decides, in one sentence; None: it maps by stated rules
    change: str | None  # what to do about it
    stated: bool  # whether what decides is stated in the documentation

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


def differing(table: Iterable[dict[str, Any]]) -> list[str]:
    """Return the operators of `Prediction.beside` that were not left as predicted; none is best."""
    return [row["op"] for row in table if row["on_cpu"] != row["predicted_on_cpu"]]
