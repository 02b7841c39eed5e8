"""Where the operators of a file will run: on an accelerator, or beside it on the CPU."""

from __future__ import annotations

from collections import Counter
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

    def to_json(self) -> dict[str, Any]:
        """Return the prediction as the JSON of `edgenets inspect` has it."""
        return {
            "mapped_ops": self.mapped_ops,
            "cpu_ops": self.cpu_ops,
            "ops": [op.to_json() for op in self.ops],
        }
