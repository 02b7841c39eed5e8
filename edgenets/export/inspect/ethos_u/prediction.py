"""What Vela will put on an Ethos-U of a `.tflite`, operator by operator, before it is run.

Vela cuts a graph into as many parts as it must, so each operator is judged by itself. The rules are
those of `rules`.
"""

from __future__ import annotations

from edgenets.export.inspect.ethos_u.rules import Finding, find
from edgenets.export.inspect.placement import Placement, Prediction
from edgenets.flatbuffer import ETHOS_U_OPERATOR, Model, Operator

LEFT = Finding("Vela left it on the CPU", "predict the file that was compiled")


def predict(model: Model) -> Prediction:
    """Say of each operator whether Vela will put it on the NPU, and which rule stops it.

    A file that Vela made is read as it is: what stands beside its custom operators was left on the
    CPU.
    """
    if model.compiled == ETHOS_U_OPERATOR:
        findings = [None if op.name == ETHOS_U_OPERATOR else LEFT for op in model.operators]
    else:
        findings = [find(model, operator) for operator in model.operators]
    refused = next((i for i, finding in enumerate(findings) if finding and finding.refuses), None)
    if refused is not None:
        rest = Finding(
            f"Vela refuses the file for operator {refused} ({model.operators[refused].name})",
            f"change operator {refused}",
        )
        findings = [finding if finding and finding.refuses else rest for finding in findings]
    placed = zip(model.operators, findings, strict=True)
    return Prediction(tuple(_placement(i, *row) for i, row in enumerate(placed)))


def _placement(index: int, operator: Operator, finding: Finding | None) -> Placement:
    if finding is None:
        return Placement(index, operator.name, True, None, None, True)
    about = (finding.reason, finding.change)
    return Placement(index, operator.name, finding.maps, *about, stated=not finding.maps)
