"""What limits a `.tflite` file on a target, in sentences that say what to do about it.

Each check is a function from what `inspect` found to a sentence, or to none where nothing limits.

Source: docs/inspect.md says where each limit was measured.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from edgenets.export.targets import SPARSE_FROM, Target
from edgenets.units import format_bytes, format_percent

Inspection = dict[str, Any]

# Operators that XNNPACK leaves out in files that are met, and what to do about each.
CHANGES = {
    **dict.fromkeys(
        ("QUANTIZE", "DEQUANTIZE"), "let the file take and return integers, as int8 exports do"
    ),
    "SHAPE": "convert with the batch fixed to 1",
    "AVERAGE_POOL_2D": "XNNPACK averages floats only; a global one can be a MEAN, others depthwise "
    "convolutions",
    "RELU": "XNNPACK has none of integers; let it end the operator before, where nothing else "
    "reads that one",
    "SOFTMAX": "leave it out: logits rank alike",
    "ARG_MAX": "leave it out: take the largest logit yourself",
    "edgetpu-custom-op": "pass the file that was compiled, this one needs an Edge TPU",
}
FEWEST_MACS_OUTSIDE = 0.01
SHOWN = 8
"""Operators of a kind that a sentence names."""


def cpu_limits(inspection: Inspection, target: Target) -> list[str]:
    """Return what limits the file on a CPU that XNNPACK runs on, heaviest first."""
    return [sentence for check in CPU_CHECKS if (sentence := check(inspection, target))]


def edge_tpu_limits(inspection: Inspection, target: Target) -> list[str]:
    """Return what limits the file on an Edge TPU: what stays on the CPU, and memory."""
    predicted = inspection["edge_tpu"]
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


def _not_run(inspection: Inspection, target: Target) -> str | None:
    reason = inspection["xnnpack"]["reason"]
    return f"the interpreter here does not run it: {reason}" if reason else None


def _outside(inspection: Inspection, target: Target) -> str | None:
    outside = inspection["xnnpack"]["outside"]
    if not outside:
        return None
    if not inspection["xnnpack"]["partitions"]:
        return (
            "{name} {version}, the interpreter that is installed here, hands nothing of it to "
            "XNNPACK; on 64-bit systems install ai-edge-litert"
        ).format(**inspection["xnnpack"]["runtime"])
    found: dict[str, list[int]] = defaultdict(list)
    for index in outside:
        found[inspection["operators"][index]["op"]].append(index)
    parts = [
        _named(op, indices) + (f" ({CHANGES[op]})" if op in CHANGES else "")
        for op, indices in found.items()
    ]
    macs = sum(inspection["operators"][index]["macs"] for index in outside)
    share = macs / inspection["macs"] if inspection["macs"] else 0.0
    heavy = f", with {format_percent(share)} of the MACs" if share >= FEWEST_MACS_OUTSIDE else ""
    return (
        f"{len(outside)} of {len(inspection['operators'])} operators run outside XNNPACK, on "
        f"slower kernels{heavy}: {'; '.join(parts)}"
    )


def _partitions(inspection: Inspection, target: Target) -> str | None:
    number = inspection["xnnpack"]["partitions"]
    if not number or number == 1:
        return None
    return (
        f"XNNPACK runs it in {number} partitions, and at every border activations are copied; "
        "one is best: see the operators outside"
    )


def _shape_arithmetic(inspection: Inspection, target: Target) -> str | None:
    found = [op["index"] for op in inspection["operators"] if op["op"] == "SHAPE"]
    if not found:
        return None
    return (
        f"it computes sizes while it runs, from {_named('SHAPE', found)} on, as where the batch "
        "may vary; convert with the batch fixed to 1"
    )


def _float_ends(inspection: Inspection, target: Target) -> str | None:
    borders = [
        op
        for op in inspection["operators"]
        if op["op"] in ("QUANTIZE", "DEQUANTIZE") and not op["prepares"]
        if "float32" in (op["dtype"], op["input_dtype"])
    ]
    if not borders:
        return None
    where = _named("operator", [op["index"] for op in borders])
    return (
        f"it converts between float32 and integers at {where}; export it so that it takes and "
        "returns integers"
    )


def _dense_zeros(inspection: Inspection, target: Target) -> str | None:
    """Say which kernels XNNPACK would compute sparsely if they were stored so."""
    if not target.sparse:
        return None
    found = [
        weight
        for weight in inspection["weights"]
        if weight["dtype"] == "float32" and not weight["index_bytes"]
        if inspection["operators"][weight["op"]]["kernel"] == [1, 1] and len(weight["shape"]) == 4
        if inspection["operators"][weight["op"]]["op"] == "CONV_2D"
        if weight["sparsity"] >= SPARSE_FROM
    ]
    if not found:
        return None
    macs = sum(inspection["operators"][weight["op"]]["macs"] for weight in found)
    return (
        f"{len(found)} kernels of 1 x 1 convolutions, {format_percent(macs / inspection['macs'])} "
        f"of the MACs, are stored whole and have {format_percent(SPARSE_FROM)} zeros or more, "
        f"which XNNPACK leaves out where they are stored sparsely: export with --format fp32 "
        f"--target {target.name}"
    )


def _unpacked(inspection: Inspection, target: Target) -> str | None:
    size = inspection["unpacked_bytes"]
    if not size:
        return None
    return (
        f"{format_bytes(size)} of memory are taken for weights that are unpacked when the file is "
        "opened"
    )


def _float_where_int8_wins(inspection: Inspection, target: Target) -> str | None:
    """Say it on cores with dot products of bytes: a third of the instructions (A76)."""
    if target.prefers_sparse or target.formats[0] != "int8" or target.name == "generic":
        return None
    macs = sum(op["macs"] for op in inspection["operators"] if op["dtype"] == "float32")
    if not inspection["macs"] or macs < inspection["macs"] / 2:
        return None
    return (
        f"it computes in float32; the {target.device} runs int8 faster: export with --format int8"
    )


CPU_CHECKS: tuple[Callable[[Inspection, Target], str | None], ...] = (
    *(_not_run, _outside, _partitions, _shape_arithmetic, _float_ends),
    *(_dense_zeros, _float_where_int8_wins, _unpacked),
)


def _named(op: str, indices: Iterable[int]) -> str:
    """Return such as "SOFTMAX 30" or "ADD 3, 9 and 12 more"."""
    every = list(indices)
    shown = ", ".join(map(str, every[:SHOWN]))
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return f"{op} {shown}{more}"
