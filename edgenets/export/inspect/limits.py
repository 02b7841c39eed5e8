"""What limits a `.tflite` file on a target, in sentences that say what to do about it.

Each check is a function from what `inspect` found to a sentence, or to none where nothing limits.

Source: docs/evidence/targets.md and docs/evidence/per_op.md have the measurements.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from edgenets.export.ends import Ends
from edgenets.export.targets import Target
from edgenets.flatbuffer.sizes import element_bits
from edgenets.models.sparsity import SPARSE_FROM
from edgenets.results.inspection import Inspection
from edgenets.units import format_bytes, format_percent

Indices = frozenset[int]
"""Of operators."""

# Operators that XNNPACK leaves out in files that are met, and what to do about each.
CHANGES = {
    "SHAPE": "convert with the batch fixed to 1",
    "AVERAGE_POOL_2D": "XNNPACK averages floats only; a global one can be a MEAN, others depthwise "
    "convolutions",
    "RELU": "XNNPACK has none of integers; let it end the operator before, where nothing else "
    "reads that one",
    "SOFTMAX": "leave it out: logits rank alike",
    "ARG_MAX": "leave it out: take the largest logit yourself",
}
OF_BORDERS = {
    "end": "let the file take and return integers, as int8 exports do",
    "inside": "quantize the operators between, which compute in float32",
}
OTHER_TYPE = "let all tensors be of one type, int8"
OF_FEW_BITS = (
    "XNNPACK has kernels of {dtype} for dense layers, not for convolutions: quantize this one to "
    "int8"
)
CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")
CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")
FEWEST_MACS_OUTSIDE = 0.01
SHOWN = 8
"""Operators of a kind that a sentence names."""


def warnings_of(inspection: Inspection) -> list[str]:
    """Return what goes wrong with the file where somebody runs it otherwise than edgenets does."""
    made = {tensor for op in _computing(inspection) for tensor in op["outputs"]}
    ends = {end["tensor"] for end in inspection.outputs}
    found = [
        op["index"]
        for op in _computing(inspection)
        if op["op"] == "RESHAPE" and ends & {*op["outputs"]} and made & {*op["inputs"][1:]}
    ]
    if not found:
        return []
    return [
        f"its output is made by {_named('RESHAPE', found)}, to a size that is computed while it "
        "runs: LiteRT's CompiledModel returns numbers there that nothing wrote, and fails the "
        "second time; run it in an Interpreter, or convert with the batch fixed to 1"
    ]


def _computing(inspection: Inspection) -> list[dict[str, Any]]:
    """Return the operators that do not only prepare constants."""
    return [op for op in inspection.operators if not op["prepares"]]


def cpu_limits(inspection: Inspection, target: Target, asked: Indices = frozenset()) -> list[str]:
    """Return what limits the file on a CPU that XNNPACK runs on, heaviest first.

    Of the operators that were `asked` for, as `operators_of_ends` finds them, nothing is said.
    """
    found = (check(inspection, target, asked) for check in CPU_CHECKS)
    return [sentence for sentence in found if sentence]


def operators_of_ends(inspection: Inspection, ends: Ends) -> Indices:
    """Return the operators that a file has because its ends were asked for.

    They are conversions of its inputs and outputs, and the softmax behind the logits, whichever of
    the two comes first.
    """
    first = {end["tensor"] for end in inspection.inputs}
    last = {end["tensor"] for end in inspection.outputs}
    converted = bool(ends.asked or ends.client)
    found = set()
    for op in reversed(inspection.operators):
        of_ends = ends.probabilities if op["op"] == "SOFTMAX" else converted
        if not of_ends or op["op"] not in ("SOFTMAX", *CONVERSIONS):
            continue
        if last.intersection(op["outputs"]):
            found.add(op["index"])
            last.update(op["inputs"])
        elif op["op"] in CONVERSIONS and first.intersection(op["inputs"]):
            found.add(op["index"])
    return frozenset(found)


def accelerator_limits(inspection: Inspection, target: Target) -> list[str]:
    """Return what limits the file on an accelerator: what stays on the CPU, and memory."""
    predicted = inspection.predicted_on(str(target.accelerator))
    groups: dict[tuple[Any, ...], dict[str, list[int]]] = {}
    for op in predicted["ops"]:
        if op["reason"]:
            key = (op["mapped"], op["stated"], op["reason"], op["change"])
            groups.setdefault(key, defaultdict(list))[op["op"]].append(op["index"])
    sentences = [_placed(key, found) for key, found in groups.items()]
    if predicted.get("off_chip_bytes"):
        sentences.append(
            f"{format_bytes(predicted['off_chip_bytes'])} of the "
            f"{format_bytes(predicted['parameter_bytes'])} of parameters do not fit on the chip "
            "and are sent for every inference; take a smaller net"
        )
    return sentences


def change_of(inspection: Inspection, operator: dict[str, Any]) -> str:
    """Return what to do about an operator that XNNPACK leaves out; "" where nothing is known."""
    if operator["op"] in CONVERSIONS:
        return OF_BORDERS.get(_borders(inspection).get(operator["index"], ""), OTHER_TYPE)
    if operator["op"] in CONVOLUTIONS:
        kernels = [w for w in inspection.weights if w["op"] == operator["index"]]
        few = next((w["dtype"] for w in kernels if 0 < element_bits(w["dtype"]) < 8), None)
        return OF_FEW_BITS.format(dtype=few) if few else ""
    return CHANGES.get(operator["op"], "")


def _borders(inspection: Inspection) -> dict[int, str]:
    """Return where the file converts between float32 and integers: "end" or "inside", by operator.

    At an end are those between which and the file's input or output nothing else converts.
    """
    operators = inspection.operators
    borders = [
        op
        for op in operators
        if op["op"] in CONVERSIONS and not op["prepares"]
        if "float32" in (op["dtype"], op["input_dtype"])
    ]
    indices = {op["index"] for op in borders}
    computing = [op for op in operators if op["index"] not in indices and not op["prepares"]]
    first, last = (
        {end["tensor"] for end in ends if end["dtype"] == "float32"}
        for ends in (inspection.inputs, inspection.outputs)
    )
    for op in computing:
        if first.intersection(op["inputs"]):
            first.update(op["outputs"])
    for op in reversed(computing):
        if last.intersection(op["outputs"]):
            last.update(op["inputs"])
    at_end = {op["index"] for op in borders if first & {*op["inputs"]} or last & {*op["outputs"]}}
    return {op["index"]: "end" if op["index"] in at_end else "inside" for op in borders}


def _placed(key: tuple[Any, ...], found: dict[str, list[int]]) -> str:
    mapped, stated, reason, change = key
    number = sum(map(len, found.values()))
    names = "; ".join(_named(op, indices) for op, indices in found.items())
    if len(found) > 1:
        names = f"{number} operators ({names})"
    verb = ("map" if mapped else "stay") + ("s" if number == 1 else "")
    place = verb if mapped else f"{verb} on the CPU"
    doubt = "" if stated else ", as far as is known"
    return f"{names} {place}{doubt}: {'; '.join(filter(None, (reason, change)))}"


def _not_run(inspection: Inspection, target: Target, asked: Indices) -> str | None:
    reason = inspection.xnnpack["reason"]
    if inspection.compiled_for:
        return str(reason)
    return f"the interpreter here does not run it: {reason}" if reason else None


def _outside(inspection: Inspection, target: Target, asked: Indices) -> str | None:
    outside = [i for i in inspection.xnnpack["outside"] or () if i not in asked]
    if not outside:
        return None
    if not inspection.xnnpack["partitions"]:
        return (
            "{name} {version}, the interpreter that is installed here, hands nothing of it to "
            "XNNPACK; on 64-bit systems install ai-edge-litert"
        ).format(**inspection.xnnpack["runtime"])
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index in outside:
        operator = inspection.operators[index]
        found[operator["op"], change_of(inspection, operator)].append(index)
    parts = [
        _named(op, indices) + (f" ({change})" if change else "")
        for (op, change), indices in found.items()
    ]
    macs = sum(inspection.operators[index]["macs"] for index in outside)
    share = macs / inspection.macs if inspection.macs else 0.0
    heavy = f", with {format_percent(share)} of the MACs" if share >= FEWEST_MACS_OUTSIDE else ""
    return (
        f"{len(outside)} of {len(inspection.operators)} operators run outside XNNPACK, on "
        f"slower kernels{heavy}: {'; '.join(parts)}"
    )


def _partitions(inspection: Inspection, target: Target, asked: Indices) -> str | None:
    number = inspection.xnnpack["partitions"]
    if not number or number == 1:
        return None
    return (
        f"XNNPACK runs it in {number} partitions, and at every border activations are copied; "
        "one is best: see the operators outside"
    )


def _shape_arithmetic(inspection: Inspection, target: Target, asked: Indices) -> str | None:
    found = [op["index"] for op in inspection.operators if op["op"] == "SHAPE"]
    if not found:
        return None
    return (
        f"it computes sizes while it runs, from {_named('SHAPE', found)} on, as where the batch "
        "may vary; convert with the batch fixed to 1"
    )


def _float_ends(inspection: Inspection, target: Target, asked: Indices) -> str | None:
    ends = [index for index, place in _borders(inspection).items() if place == "end"]
    borders = [index for index in ends if index not in asked]
    if not borders:
        return None
    where = _named("operator", borders)
    return (
        f"it converts between float32 and integers at {where}; export it so that it takes and "
        "returns integers"
    )


def _float_islands(inspection: Inspection, target: Target, asked: Indices) -> str | None:
    """Say which operators compute in float32 between integers."""
    borders = [index for index, place in _borders(inspection).items() if place == "inside"]
    if not borders:
        return None
    made = {
        tensor
        for index in borders
        if inspection.operators[index]["op"] == "DEQUANTIZE"
        for tensor in inspection.operators[index]["outputs"]
    }
    found: dict[str, list[int]] = defaultdict(list)
    for op in inspection.operators:
        if op["index"] not in borders and made.intersection(op["inputs"]):
            made.update(op["outputs"])
            found[op["op"]].append(op["index"])
    names = "; ".join(_named(op, indices) for op, indices in found.items()) or "nothing"
    return (
        f"between integers it computes in float32 {names}, and converts at "
        f"{_named('operator', borders)}; quantize these too"
    )


def _dense_zeros(inspection: Inspection, target: Target, asked: Indices) -> str | None:
    """Say which kernels XNNPACK would compute sparsely if they were stored so."""
    if not target.prefers_sparse:
        return None
    found = [
        weight
        for weight in inspection.weights
        if weight["dtype"] == "float32" and not weight["index_bytes"]
        if inspection.operators[weight["op"]]["kernel"] == [1, 1] and len(weight["shape"]) == 4
        if inspection.operators[weight["op"]]["op"] == "CONV_2D"
        if weight["sparsity"] >= SPARSE_FROM
    ]
    if not found:
        return None
    macs = sum(inspection.operators[weight["op"]]["macs"] for weight in found)
    return (
        f"{len(found)} kernels of 1 x 1 convolutions, {format_percent(macs / inspection.macs)} "
        f"of the MACs, are stored whole and have {format_percent(SPARSE_FROM)} zeros or more, "
        "which XNNPACK leaves out where they are stored sparsely, as they are in nets that are "
        "convolutions and sums alone up to their pooling: export with --format fp32 --target "
        f"{target.name}"
    )


def _unpacked(inspection: Inspection, target: Target, asked: Indices) -> str | None:
    size = inspection.unpacked_bytes
    if not size:
        return None
    return (
        f"{format_bytes(size)} of memory are taken for weights that are unpacked when the file is "
        "opened"
    )


def _float_where_int8_wins(inspection: Inspection, target: Target, asked: Indices) -> str | None:
    """Say it on cores with dot products of bytes: a third of the instructions (A76)."""
    if target.prefers_sparse or target.formats[0] != "int8" or target.cpu is None:
        return None
    macs = sum(op["macs"] for op in inspection.operators if op["dtype"] == "float32")
    if not inspection.macs or macs < inspection.macs / 2:
        return None
    return (
        f"it computes in float32; the {target.device} runs int8 faster: export with --format int8"
    )


CPU_CHECKS: tuple[Callable[[Inspection, Target, Indices], str | None], ...] = (
    *(_not_run, _outside, _partitions, _shape_arithmetic, _float_ends, _float_islands),
    *(_dense_zeros, _float_where_int8_wins, _unpacked),
)


def _named(op: str, indices: Iterable[int]) -> str:
    """Return such as "SOFTMAX 30" or "ADD 3, 9 and 12 more"."""
    every = list(indices)
    shown = ", ".join(map(str, every[:SHOWN]))
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return f"{op} {shown}{more}"
