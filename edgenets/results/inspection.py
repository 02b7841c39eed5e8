"""What `inspect` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgenets.errors import EdgenetsError, unknown_name
from edgenets.results.result import Result, html_table
from edgenets.units import format_bytes, format_count


@dataclass(frozen=True, repr=False)
class Inspection(Result):
    """What is in a `.tflite` file, and what limits it on a target.

    The fields are those that `edgenets.export.inspect.inspection.inspect_file` describes.
    """

    size_bytes: int
    subgraphs: int
    ops: dict[str, int]
    op_versions: dict[str, list[int]]
    operators: tuple[dict[str, Any], ...]
    inputs: tuple[dict[str, Any], ...]
    outputs: tuple[dict[str, Any], ...]
    macs: int
    weights: tuple[dict[str, Any], ...]
    weight_bytes: int
    entropy_bytes: float
    unpacked_bytes: int
    arena_bytes: int
    edge_tpu: dict[str, Any]
    ethos_u: dict[str, Any] | None
    compiled_for: str | None
    metadata: dict[str, int]
    described: dict[str, Any] | None
    files: dict[str, int]
    labels: tuple[str, ...] | None
    labels_from: str | None
    edgenets: dict[str, Any] | None
    xnnpack: dict[str, Any]
    warnings: tuple[str, ...]
    target: dict[str, Any] | None

    def predicted_on(self, accelerator: str) -> dict[str, Any]:
        """Return what is predicted of an accelerator: "edge_tpu", or "ethos_u" where asked for.

        Raises:
            EdgenetsError: it is none of these, or was not asked for.
        """
        predicted = {"edge_tpu": self.edge_tpu, "ethos_u": self.ethos_u}
        if accelerator not in predicted:
            raise unknown_name("accelerator", accelerator, predicted)
        if (found := predicted[accelerator]) is None:
            raise EdgenetsError(
                f"nothing was predicted of {accelerator}; inspect the file for such a target"
            )
        return dict(found)

    def costs(self, *, entropy: bool = False) -> str:
        """Return what the file costs, in words; a compiled one does not show its MACs."""
        macs = "" if self.compiled_for else f"{format_count(self.macs)} MACs, "
        coded = f" (entropy {format_bytes(self.entropy_bytes)})" if entropy else ""
        return (
            f"{format_bytes(self.size_bytes)}, {macs}{format_bytes(self.weight_bytes)} of "
            f"weights{coded}, {format_bytes(self.arena_bytes)} of activations at once"
        )

    def _repr_html_(self) -> str:
        rows = [(name, str(number)) for name, number in self.ops.items()]
        shown = html_table(("operator", ">count"), rows, self.costs())
        if self.target and self.target["limits"]:
            heading = f"what limits it on {self.target['name']}"
            shown += html_table((heading,), [(limit,) for limit in self.target["limits"]])
        return shown
