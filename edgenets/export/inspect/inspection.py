"""What is in a `.tflite` file, edgenets' or not: its costs, how it runs, what it says of itself.

Everything but XNNPACK's partitions is read off the file; those are asked of the interpreter, in a
process of its own, which a damaged file may end. Needs NumPy; for the partitions an interpreter.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.export.associated import read_archive, read_description
from edgenets.export.devices.interpreter import refuse_compiled
from edgenets.export.devices.local import LocalSession
from edgenets.export.ends import LOGITS, Ends
from edgenets.export.inspect import arena, tflm, xnnpack
from edgenets.export.inspect.drawing import draw
from edgenets.export.inspect.edge_tpu import prediction as edge_tpu
from edgenets.export.inspect.ethos_u import prediction as ethos_u
from edgenets.export.inspect.limits import (
    accelerator_limits,
    change_of,
    cpu_limits,
    operators_of_ends,
    warnings_of,
)
from edgenets.export.metadata import layer_names, read_entry
from edgenets.export.targets import ACCELERATORS, Target, find_target
from edgenets.files import read_bytes, write_bytes
from edgenets.flatbuffer import File
from edgenets.flatbuffer.extract import preparing_operators
from edgenets.flatbuffer.sizes import element_bits, tensor_bytes
from edgenets.quantize.sizes.counts import entropy_bytes_of_counts
from edgenets.results.inspection import Inspection

BIASED = {**dict.fromkeys(flatbuffer.WEIGHTED, 2), "TRANSPOSE_CONV": 3, "CONV_3D": 2}
"""Operators with a bias, and at which input: it may be int32 without a scale."""
UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def inspect_file(
    path: Path, target: str | None = None, *, file: File | None = None, ends: Ends = LOGITS
) -> Inspection:
    """Return what is in a `.tflite` file, as `edgenets inspect --json` prints it.

    Args:
        path: of the file.
        target: a name of `targets.TARGETS`, to say what limits the file there.
        file: where it is not written yet.
        ends: that were asked for; what a CPU does slowly because of them is no limit.

    Returns:
        `size_bytes`; `subgraphs` (all but the first are counted only); `ops`, counts by name;
        `op_versions`, lists by name; `operators`, one for each in execution order: index, op,
        version, name (of the layer), prepares (whether it computes from constants alone, once),
        kernel (height and width), inputs and outputs (indices of tensors), shape and dtype of the
        first output, input_dtype of the first input, macs, weight_bytes, xnnpack (whether it is
        inside a partition; None: not known);
        `inputs`, `outputs`: tensor (index), name, shape, shape_signature (-1 for a size that may
        vary), dtype, scale, zero_point (None where the tensor has none);
        `macs` of convolutions and dense layers;
        `weights`, the constants that operators compute with, as stored, in execution order: name,
        op (index), shape, dtype, bytes, index_bytes (of sparse ones), sparsity, distinct (values,
        zero included), entropy_bytes (of its values, each coded on its own); `weight_bytes`,
        `entropy_bytes`: their sums;
        `unpacked_bytes`, of constants that are made when the file is opened (fp16, sparse);
        `arena_bytes`, of activations, as `arena.plan` places them;
        `xnnpack`: partitions, ops_outside (a count), outside (indices), runtime, and reason, which
        says why there are none of them where the interpreter cannot run the file;
        `edge_tpu`, as `edge_tpu.Prediction.to_json` has it; `ethos_u`: mapped_ops, cpu_ops and ops,
        alike, where the target is one; else None;
        `metadata`, bytes by name; `described`, by the standard metadata; `files`, bytes by name, in
        the archive behind the model; `labels` and `labels_from`; `edgenets`, what it wrote besides;
        `compiled_for`, the accelerator that it was compiled for; None for other files;
        `warnings`: what goes wrong with it in other hands, sentences;
        `target`: name, device, note, and limits, sentences; None without one.

    Raises:
        EdgenetsError: the file cannot be read, is no TFLite model, or is damaged, or the target is
            unknown.
    """
    row = None if target is None else find_target(target)
    source = path if file is None else file.content
    content = read_bytes(path) if file is None else file.content
    model = flatbuffer.model_of(file or content, str(path))
    inspection = _contents(content, model, _partitions(path, source, model))
    inspection = replace(inspection, warnings=tuple(warnings_of(inspection)))
    if row is None:
        return inspection
    if row.accelerator == "ethos_u":
        inspection = replace(inspection, ethos_u=ethos_u.predict(model).to_json())
    about = {
        "name": row.name,
        "device": row.device,
        "note": "" if model.compiled else row.note,
        "limits": _limits(model, inspection, row, ends),
    }
    return replace(inspection, target=about)


def contents(content: bytes) -> Inspection:
    """Return what `inspect_file` does without `warnings` and a target, and ask no interpreter.

    Raises:
        EdgenetsError: it is no TFLite model, or damaged.
    """
    return _contents(content, flatbuffer.read(content), _unknown("no interpreter was asked"))


def draw_inspection(inspection: Inspection, title: str, path: Path) -> None:
    """Write the drawing of what `inspect_file` returned, by the accelerator of its target.

    Raises:
        EdgenetsError: the file cannot be written.
    """
    target = inspection.target
    accelerator = find_target(target["name"]).accelerator if target else None
    if accelerator is not None:
        placed = inspection.predicted_on(accelerator)["ops"]
        name, inside = f"the {ACCELERATORS[accelerator]}", [op["mapped"] for op in placed]
        reasons = ["" if op["mapped"] else op["reason"] or "" for op in placed]
    else:
        name, inside = "XNNPACK", [op["xnnpack"] for op in inspection.operators]
        reasons = [
            change_of(inspection, op) if op["xnnpack"] is False else ""
            for op in inspection.operators
        ]
    write_bytes(path, draw(inspection, title, name, inside, reasons).encode())


def _limits(model: flatbuffer.Model, inspection: Inspection, row: Target, ends: Ends) -> list[str]:
    if row.micro:
        return tflm.limits(model)
    if row.accelerator is None:
        return cpu_limits(inspection, row, operators_of_ends(inspection, ends))
    other = ethos_u.other_configuration(model, row) if row.accelerator == "ethos_u" else None
    return [*([other] if other else []), *accelerator_limits(inspection, row)]


def _contents(content: bytes, model: flatbuffer.Model, partitions: dict[str, Any]) -> Inspection:
    ops = Counter(operator.name for operator in model.operators)
    versions = defaultdict(set)
    for operator in model.operators:
        versions[operator.name].add(operator.version)
    weights = list(_weights(model))
    operators = _operators(model, partitions["outside"])
    for weight in weights:
        operators[weight["op"]]["weight_bytes"] += weight["bytes"]
    stored = {row.pop("offset"): row for row in weights}.values()  # equal ones perhaps once
    return Inspection(
        size_bytes=model.size_bytes,
        subgraphs=model.subgraphs,
        ops=dict(ops.most_common()),
        op_versions={name: sorted(versions[name]) for name, _ in ops.most_common()},
        operators=tuple(operators),
        inputs=tuple(_end(model, index) for index in model.input_indices),
        outputs=tuple(_end(model, index) for index in model.output_indices),
        macs=sum(row["macs"] for row in operators),
        weights=tuple(weights),
        weight_bytes=sum(row["bytes"] for row in stored),
        entropy_bytes=sum(row["entropy_bytes"] for row in stored),
        unpacked_bytes=_unpacked_bytes(model),
        arena_bytes=arena.arena_bytes(model),
        edge_tpu=edge_tpu.predict(model).to_json(),
        ethos_u=None,
        compiled_for=flatbuffer.COMPILED[model.compiled] if model.compiled else None,
        xnnpack=partitions,
        warnings=(),
        target=None,
        **_told(content, model),
    )


def _operators(model: flatbuffer.Model, outside: Sequence[int] | None) -> list[dict[str, Any]]:
    rows = []
    preparing, names = preparing_operators(model), layer_names(model)
    for index, operator in enumerate(model.operators):
        made = model.tensors[operator.outputs[0]] if operator.outputs else None
        rows.append(
            {
                "index": index,
                "op": operator.name,
                "version": operator.version,
                "name": names[index],
                "prepares": index in preparing,
                "kernel": _kernel(model, operator),
                "inputs": list(operator.inputs),
                "outputs": list(operator.outputs),
                "shape": list(made.shape) if made else None,
                "dtype": made.dtype if made else None,
                "input_dtype": model.tensors[operator.inputs[0]].dtype if operator.inputs else None,
                "macs": model.macs(operator),
                "weight_bytes": 0,
                "xnnpack": None if outside is None else index not in outside,
            }
        )
    return rows


def _kernel(model: flatbuffer.Model, operator: flatbuffer.Operator) -> list[int] | None:
    """Return height and width of a convolution's kernel."""
    shapes = [model.tensors[i].shape for i in operator.inputs[1:2] if i >= 0]
    spatial = operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")
    return list(shapes[0][1:3]) if spatial and shapes and len(shapes[0]) == 4 else None


def _end(model: flatbuffer.Model, index: int) -> dict[str, Any]:
    tensor = model.tensors[index]
    quantized = bool(tensor.scale.size)
    return {
        "tensor": index,
        "name": tensor.name,
        "shape": list(tensor.shape),
        "shape_signature": list(tensor.shape_signature),
        "dtype": tensor.dtype,
        "scale": float(tensor.scale[0]) if quantized else None,
        "zero_point": int(tensor.zero_point[0]) if quantized and tensor.zero_point.size else None,
    }


def _weights(model: flatbuffer.Model) -> Iterator[dict[str, Any]]:
    """Yield the constants that operators compute with, in execution order, each once."""
    preparing, layers = preparing_operators(model), layer_names(model)
    source: dict[int, int] = {}  # of what the interpreter unpacks once, the constant in the file
    for i in sorted(preparing):
        for output in model.operators[i].outputs:
            if not model.tensors[output].is_constant:
                source.setdefault(output, model.operators[i].inputs[0])
    listed = set()
    for index, operator in enumerate(model.operators):
        if index in preparing:
            continue
        for position, constant in enumerate(operator.inputs):
            while constant in source:
                constant = source[constant]
            if constant in listed or not _is_parameter(model, operator, position, constant):
                continue
            listed.add(constant)
            tensor = model.tensors[constant]
            yield {
                "name": tensor.name or f"{layers[index]}, {_role(operator, position)}",
                "op": index,
                "offset": tensor.offset,
                "shape": list(tensor.shape),
                "dtype": tensor.dtype,
                "bytes": tensor.size_bytes + tensor.sparse_index_bytes,
                "index_bytes": tensor.sparse_index_bytes,
                **weight_statistics(tensor),
            }


def _role(operator: flatbuffer.Operator, position: int) -> str:
    bias = BIASED.get(operator.name)
    roles = {1: "kernel", bias: "bias"} if bias else {}
    return roles.get(position, f"input {position}")


def _is_parameter(
    model: flatbuffer.Model, operator: flatbuffer.Operator, position: int, index: int
) -> bool:
    """Return whether an input is a weight and not an argument, such as a shape or an axis."""
    if index < 0 or not model.tensors[index].is_constant:
        return False
    tensor = model.tensors[index]
    if tensor.dtype in ("int32", "int64"):
        return bool(tensor.scale.size) or BIASED.get(operator.name) == position
    return tensor.dtype not in ("string", "resource", "variant", "bool")


def weight_statistics(tensor: flatbuffer.Tensor) -> dict[str, Any]:
    """Return sparsity, distinct values and entropy of a constant; zeros left out count as zeros."""
    values, zeros = _stored_values(tensor), 0
    if tensor.sparse_index_bytes:
        zeros = max(0, prod(tensor.shape) - values.size)
    if values.dtype.kind == "c":  # its two parts count as values
        values = values.view(values.real.dtype)
    if values.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            values = values + values.dtype.type(0)  # makes the negative zero one with the other
    bits, counts = np.unique(values.view(UNSIGNED[values.itemsize]), return_counts=True)
    all_zeros = zeros + int(values.size - np.count_nonzero(values))
    if zeros:
        counts = np.append(counts[bits != 0], all_zeros)
    return {
        "sparsity": all_zeros / (values.size + zeros),
        "distinct": len(counts),
        "entropy_bytes": entropy_bytes_of_counts(counts),
    }


def _stored_values(tensor: flatbuffer.Tensor) -> NDArray[Any]:
    """Return the values of a constant as a flat array, those of sparse ones without their zeros."""
    content = tensor.content.reshape(-1)
    bits = element_bits(tensor.dtype)
    if 0 < bits < 8:  # several in a byte, the lowest bits first
        codes = (
            (content[:, np.newaxis] >> np.arange(0, 8, bits, dtype=np.uint8)) & (2**bits - 1)
        ).reshape(-1)
        return codes[: prod(tensor.shape)] if prod(tensor.shape) > 0 else codes
    if content.dtype == np.uint8 and tensor.dtype in flatbuffer.NUMPY_DTYPES:
        size = np.dtype(tensor.dtype).itemsize
        content = content[: content.size // size * size].view(tensor.dtype)
    return content if content.size else np.zeros(1, np.uint8)


def _unpacked_bytes(model: flatbuffer.Model) -> int:
    """Return what the interpreter makes of constants once: whole float32 kernels, for example."""
    return sum(
        tensor_bytes(model.tensors[output])
        for i in preparing_operators(model)
        for output in model.operators[i].outputs
    )


def _partitions(path: Path, source: Path | bytes, model: flatbuffer.Model) -> dict[str, Any]:
    try:
        refuse_compiled(model, str(path))
        with LocalSession() as session:
            session.put(str(path), source)
            (plan,) = session.ask([{"do": "plan", "file": str(path)}])
    except EdgenetsError as error:
        return _unknown(str(error))
    found = xnnpack.divided(model, plan["steps"])
    return {
        "partitions": found.number,
        "ops_outside": len(found.outside),
        "outside": list(found.outside),
        "runtime": plan["runtime"],
        "reason": None,
    }


def _unknown(reason: str) -> dict[str, Any]:
    """Return what is known of XNNPACK's partitions where nobody told them."""
    nothing = dict.fromkeys(("partitions", "ops_outside", "outside", "runtime"))
    return {**nothing, "reason": reason}


def _told(content: bytes, model: flatbuffer.Model) -> dict[str, Any]:
    """Return what the file says of itself, in edgenets' way and in TFLite's."""
    described = read_description(model)
    archive = read_archive(content, described.label_files if described else ())
    return {
        "metadata": {name: len(value) for name, value in model.metadata.items()},
        "described": described._asdict() if described else None,
        "files": archive.sizes_bytes,
        "labels": archive.labels,
        "labels_from": archive.labels_file,
        "edgenets": read_entry(model) or None,
    }
