"""What a schema object (`ModelT`) holds, in the terms of what is read from a file's bytes.

So a file amid edits is looked at without being packed and read again. The object is the
converter's, or one that was read from checked bytes: nothing here guards against damage.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets.flatbuffer.names import DTYPES, OPERATORS, OPTIONS
from edgenets.flatbuffer.read import Model, Operator, Tensor, shaped

NO_FLOATS, NO_INTEGERS = np.zeros(0, np.float32), np.zeros(0, np.int64)


def view(schema: Any) -> Model:
    """Return what the schema object holds; sizes and places that packing settles are 0."""
    graph = schema.subgraphs[0]
    buffers = [_bytes(buffer.data) for buffer in schema.buffers]
    return Model(
        size_bytes=0,
        subgraphs=len(schema.subgraphs),
        tensors=tuple(_tensor(tensor, buffers) for tensor in graph.tensors),
        operators=tuple(_operator(op, schema.operatorCodes) for op in graph.operators),
        input_indices=_integers(graph.inputs),
        output_indices=_integers(graph.outputs),
        metadata={
            _text(entry.name): buffers[entry.buffer].tobytes() for entry in schema.metadata or []
        },
    )


def _tensor(tensor: Any, buffers: list[NDArray[np.uint8]]) -> Tensor:
    shape, dtype = _integers(tensor.shape), DTYPES[tensor.type]
    content, grid = buffers[tensor.buffer], tensor.quantization
    has_zero = grid is not None and grid.zeroPoint is not None

    def floats(name: str) -> NDArray[np.float32]:
        values = getattr(grid, name, None)
        return NO_FLOATS if values is None else np.asarray(values, np.float32)

    return Tensor(
        name=_text(tensor.name),
        shape=shape,
        shape_signature=_integers(tensor.shapeSignature) or shape,
        dtype=dtype,
        scale=floats("scale"),
        zero_point=np.asarray(grid.zeroPoint, np.int64) if has_zero else NO_INTEGERS,
        axis=grid.quantizedDimension if grid is not None else 0,
        is_variable=bool(tensor.isVariable),
        offset=0,
        size_bytes=content.size,
        data=shaped(content, dtype, shape) if content.size else None,
        sparse_index_bytes=_sparse_index_bytes(tensor.sparsity),
        least=floats("min"),
        largest=floats("max"),
    )


def _sparse_index_bytes(sparsity: Any) -> int:
    lists = (
        part.values
        for dimension in (sparsity.dimMetadata or [] if sparsity is not None else [])
        for part in (dimension.arraySegments, dimension.arrayIndices)
        if part is not None and part.values is not None
    )
    return sum(np.asarray(values).nbytes for values in lists)


def _operator(operator: Any, codes: list[Any]) -> Operator:
    code = codes[operator.opcodeIndex]
    number = max(code.deprecatedBuiltinCode, code.builtinCode)
    name = OPERATORS[number] if number < len(OPERATORS) else f"BUILTIN_{number}"
    return Operator(
        name=_text(code.customCode) if name == "CUSTOM" else name,
        version=code.version,
        inputs=_integers(operator.inputs),
        outputs=_integers(operator.outputs),
        options=_options(operator, name),
    )


def _options(operator: Any, name: str) -> dict[str, int]:
    kind, fields = OPTIONS.get(name, (0, {}))
    given = operator.builtinOptions if operator.builtinOptionsType == kind else None
    values = [] if given is None else list(vars(given).values())  # in the order of the schema
    return {
        option: int(values[field]) if values else default
        for option, (field, _, default) in fields.items()
    }


def _bytes(data: Any) -> NDArray[np.uint8]:
    return np.zeros(0, np.uint8) if data is None else np.asarray(data, np.uint8)


def _integers(values: Any) -> tuple[int, ...]:
    return () if values is None else tuple(map(int, values))


def _text(text: str | bytes | None) -> str:
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else text or ""
