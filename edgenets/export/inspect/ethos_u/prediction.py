"""What Vela will put on an Ethos-U of a `.tflite`, operator by operator, before it is run.

Vela cuts a graph into as many parts as it must, so each operator is judged by itself. The rules are
those of `rules`.

Source of what a compiled file says of its NPU: `driver_actions.py` of ethos-u-vela 5.2.
"""

from __future__ import annotations

from edgenets.export.inspect.ethos_u.rules import find
from edgenets.export.inspect.placement import Finding, Placement, Prediction
from edgenets.export.targets import Target
from edgenets.flatbuffer import ETHOS_U_OPERATOR, Model

MAGIC = b"COP1"
"""How a command stream begins; its third word says of which NPU it is."""
PRODUCTS = {0: "u55", 1: "u65"}
LEFT = Finding("so Vela compiled the file", "inspect the one that it was made of, which says why")


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
    placed = enumerate(zip(model.operators, findings, strict=True))
    return Prediction(
        tuple(
            Placement.of(i, operator, finding is None or finding.maps, finding)
            for i, (operator, finding) in placed
        )
    )


def compiled_for(model: Model) -> str | None:
    """Return the configuration that a file was compiled for, as Vela names it: "ethos-u55-128".

    None where nothing was compiled for an Ethos-U, or the file does not say.
    """
    streams = (op.inputs[0] for op in model.operators if op.name == ETHOS_U_OPERATOR and op.inputs)
    stream = next((model.tensors[index].data for index in streams if index >= 0), None)
    header = b"" if stream is None else stream.tobytes()[:12]
    if len(header) < 12 or not header.startswith(MAGIC):
        return None
    word = int.from_bytes(header[8:], "little")
    product = PRODUCTS.get(word >> 28)  # bits 28 to 31; the lowest four: log2 of MACs a cycle
    return f"ethos-{product}-{1 << (word & 15)}" if product else None


def other_configuration(model: Model, target: Target) -> str | None:
    """Return, in a sentence, why a compiled file does not run on `target`, or may not."""
    if model.compiled != ETHOS_U_OPERATOR:
        return None
    made_for = compiled_for(model)
    if made_for == target.name:
        return None
    again = f"for {target.name} compile the file that it was made of"
    if made_for is None:
        return (
            f"it runs only on the Ethos-U that it was compiled for, which it does not tell; {again}"
        )
    return f"it was compiled for {made_for} and runs only there; {again}"
