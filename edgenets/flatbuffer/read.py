"""Read a `.tflite` file: tensors, their integer codes and scales, operators, metadata.

Needs NumPy alone and trusts nothing: every position is checked against the file's length, so that a
damaged file is an `EdgenetsError` and never a crash.

Source: TFLite schema (schema.fbs, version 3) and the FlatBuffers binary format.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets.errors import EdgenetsError
from edgenets.files import PACKAGE, read_bytes
from edgenets.flatbuffer.names import (
    COMPILED,
    DTYPES,
    IDENTIFIER,
    NUMPY_DTYPES,
    OPERATORS,
    OPTIONS,
    TRANSPOSED,
    WEIGHTED,
)

MAX_RANK = 16
"""More dimensions than any operator takes; a longer shape is damage."""
MOST_REUSE = 16
"""Times a file's size that its lists may have together: equal ones may be stored once."""


class Tensor(NamedTuple):
    """A tensor of the graph."""

    name: str
    shape: tuple[int, ...]
    shape_signature: tuple[int, ...]  # as `shape`, with -1 for a size that may vary
    dtype: str  # lower case, as NumPy writes it where NumPy has it
    scale: NDArray[np.float32]  # [channels], [1], or [0] when not quantized
    zero_point: NDArray[np.int64]  # as `scale`
    axis: int  # the dimension that per-channel scales run along
    is_variable: bool  # a state that the interpreter keeps from one run to the next
    offset: int  # of the constant content within the file; 0 when there is none
    size_bytes: int  # of the constant content; 0 when the tensor is computed
    data: (
        NDArray[Any] | None
    )  # the content: read-only, of `shape`, or flat uint8 where it is packed
    sparse_index_bytes: int = 0  # that say where the content's values belong; 0 when stored whole
    # The extremes that the scales were made from, where a converter keeps them.
    least: NDArray[np.float32] = np.zeros(0, np.float32)
    largest: NDArray[np.float32] = np.zeros(0, np.float32)

    @property
    def is_constant(self) -> bool:
        """Whether the content is in the file: a weight, a bias, a shape."""
        return self.data is not None

    @property
    def content(self) -> NDArray[Any]:
        """The content of a tensor that must have one.

        Raises:
            EdgenetsError: it is computed.
        """
        if self.data is None:
            raise EdgenetsError(f"the tensor {self.name} is computed, where a constant is needed")
        return self.data


class Operator(NamedTuple):
    """An operator of the graph, in execution order."""

    name: str  # BuiltinOperator's name, or the custom code
    version: int
    inputs: tuple[int, ...]  # indices into the tensors; -1 for one left out
    outputs: tuple[int, ...]
    options: Mapping[str, int] = MappingProxyType({})  # those of `OPTIONS`


class Model(NamedTuple):
    """What a `.tflite` file holds; tensors and operators are those of the first subgraph."""

    size_bytes: int
    subgraphs: int
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    input_indices: tuple[int, ...]
    output_indices: tuple[int, ...]
    metadata: dict[str, bytes]

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The tensors that a caller fills."""
        return tuple(self.tensors[i] for i in self.input_indices)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The tensors that a caller reads."""
        return tuple(self.tensors[i] for i in self.output_indices)

    @property
    def compiled(self) -> str | None:
        """The operator of `COMPILED` that is in the file: it runs where that is, and only there."""
        return next((op.name for op in self.operators if op.name in COMPILED), None)

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """The kernels of convolutions and dense layers as stored, in execution order, each once."""
        return self._parameters(1)

    @property
    def biases(self) -> tuple[Tensor, ...]:
        """The biases of convolutions and dense layers as stored, in execution order, each once."""
        return self._parameters(2)

    @property
    def unpacked(self) -> dict[int, int]:
        """By the index of each tensor that DEQUANTIZE makes of a constant, the constant's index.

        So float16 weights reach their operators.
        """
        return {
            output: operator.inputs[0]
            for operator in self.operators
            if operator.name == "DEQUANTIZE" and self._are_constants(operator.inputs)
            for output in operator.outputs
        }

    def macs(self, operator: Operator) -> int:
        """Return the multiply-adds of a convolution or dense layer; 0 for any other operator.

        Every position of the output uses the kernel of its channel, or group of channels, once; of
        a transposed convolution every position of the input does.
        """
        if operator.name in (*WEIGHTED, "CONV_3D"):
            kernel, positions = operator.inputs[1:2], operator.outputs[:1]
        elif operator.name in TRANSPOSED:
            kernel, positions = operator.inputs[1:2], operator.inputs[2:3]
        else:
            return 0
        if not kernel or not positions or min(*kernel, *positions) < 0:
            return 0
        used, using = (self.tensors[i].shape for i in (*kernel, *positions))
        return prod(using[:-1]) * prod(used)

    def named(self, names: Sequence[str]) -> Model:
        """Return the same with other names of the tensors."""
        tensors = zip(self.tensors, names, strict=True)
        return self._replace(tensors=tuple(tensor._replace(name=name) for tensor, name in tensors))

    def holds(self, other: Model) -> bool:
        """Tell whether both hold the same, wherever in a file it is."""
        same = self._replace(size_bytes=other.size_bytes, tensors=other.tensors) == other
        pairs = zip(self.tensors, other.tensors, strict=False)
        return (
            same
            and len(self.tensors) == len(other.tensors)
            and all(_without_place(one) == _without_place(two) for one, two in pairs)
        )

    def _are_constants(self, indices: tuple[int, ...]) -> bool:
        return bool(indices) and all(i >= 0 and self.tensors[i].is_constant for i in indices)

    def _parameters(self, position: int) -> tuple[Tensor, ...]:
        unpacked = self.unpacked
        indices = dict.fromkeys(
            unpacked.get(operator.inputs[position], operator.inputs[position])
            for operator in self.operators
            if operator.name in WEIGHTED and len(operator.inputs) > position
        )
        return tuple(self.tensors[i] for i in indices if i >= 0 and self.tensors[i].is_constant)


def read(source: Path | str | bytes, name: str = "the model") -> Model:
    """Read a `.tflite` file, given as its path or its content, which errors call `name`.

    Constant contents are views into the file's bytes; nothing is copied.

    Raises:
        EdgenetsError: the file cannot be read, is not a TFLite model, or is damaged.
    """
    if isinstance(source, Path | str):
        name, content = str(source), read_bytes(Path(source))
    else:
        content = source
    require_mark(content, name)
    try:
        return _read_model(content)
    except (ValueError, IndexError, struct.error) as error:
        raise EdgenetsError(
            f"{name} is damaged or cut short ({error}); copy or export it again"
        ) from error


def require_mark(content: bytes, name: str = "the model") -> None:
    """Check that bytes begin as those of a `.tflite` file do.

    Raises:
        EdgenetsError: they do not.
    """
    if content.startswith(PACKAGE):
        raise EdgenetsError(f"{name} is a package; pass what `edgenets unpack` makes of it")
    if len(content) < 8 or content[4:8] != IDENTIFIER:
        raise EdgenetsError(f"{name} is not a .tflite file (no {IDENTIFIER.decode()} mark)")


def root_table(content: bytes) -> _Table:
    """Return the root of any flatbuffer: the metadata of a `.tflite` is one of its own.

    Raises:
        ValueError, struct.error: the content is too short; so do all accesses to a table.
    """
    return _Table(content, int(struct.unpack_from("<I", content)[0]))


class _Table:
    """A FlatBuffers table at `position`: fields by number, every access within bounds."""

    def __init__(self, content: bytes, position: int, left: list[int] | None = None) -> None:
        self.content = content
        self.position = position
        self.left = [MOST_REUSE * len(content)] if left is None else left  # to read, by all tables
        vtable = position - self._unpack("<i", position)
        size = self._unpack("<H", vtable)
        begin, end = _checked(vtable + 4, 0, content), min(vtable + size, len(content))
        self.fields = np.frombuffer(content, "<u2", max(0, end - begin) // 2, begin)  # a view

    def scalar(self, field: int, form: str, default: int = 0) -> int:
        """Return the number in `field`, of the `struct` format `form`."""
        at = self._field(field)
        return self._unpack(form, at) if at else default

    def vector(self, field: int, dtype: str) -> NDArray[Any]:
        """Return the numbers of a vector as a view; empty when the field is absent."""
        start, length = self._vector(field)
        return self.view(start, length, dtype)

    def view(self, start: int, length: int, dtype: str) -> NDArray[Any]:
        """Return numbers of the file."""
        size_bytes = length * np.dtype(dtype).itemsize
        _checked(start, size_bytes, self.content)
        self.left[0] -= size_bytes
        if self.left[0] < 0:
            raise ValueError("its lists share so many bytes that it would be far larger in memory")
        return np.frombuffer(self.content, dtype, length, start)

    def vector_offset(self, field: int) -> int:
        """Return where in the file the vector's content begins."""
        return self._vector(field)[0]

    def string(self, field: int) -> str:
        """Return a text; "" when the field is absent."""
        return self.vector(field, "u1").tobytes().decode("utf-8", "replace")

    def table(self, field: int) -> _Table | None:
        """Return the table that the field points to."""
        at = self._field(field)
        return _Table(self.content, at + self._unpack("<I", at), self.left) if at else None

    def tables(self, field: int) -> list[_Table]:
        """Return the tables that a vector points to."""
        start, _ = self._vector(field)
        targets = self.vector(field, "<u4").astype(np.int64)
        targets += start + 4 * np.arange(len(targets))
        return [_Table(self.content, int(target), self.left) for target in targets]

    def _field(self, field: int) -> int:
        offset = int(self.fields[field]) if field < len(self.fields) else 0
        return self.position + offset if offset else 0

    def _vector(self, field: int) -> tuple[int, int]:
        at = self._field(field)
        if not at:
            return 0, 0
        start = at + self._unpack("<I", at)
        return start + 4, self._unpack("<I", start)

    def _unpack(self, form: str, at: int) -> int:
        _checked(at, struct.calcsize(form), self.content)
        return int(struct.unpack_from(form, self.content, at)[0])


def _checked(start: int, size: int, content: bytes) -> int:
    if not 0 <= start <= start + size <= len(content):
        place = start if start < 0 else start + size
        raise ValueError(f"it has {len(content):,} bytes and refers to byte {place:,}")
    return start


def _read_model(content: bytes) -> Model:
    root = root_table(content)
    buffers = root.tables(4)
    subgraphs = root.tables(2)
    if not subgraphs:
        raise ValueError("no subgraph")
    graph = subgraphs[0]
    codes = [_operator_code(table) for table in root.tables(1)]
    tensors = tuple(_tensor(table, buffers) for table in graph.tables(0))
    operators = tuple(_operator(table, codes, len(tensors)) for table in graph.tables(3))
    metadata = {m.string(0): _buffer(buffers, m.scalar(1, "<I"))[1] for m in root.tables(6)}
    return Model(
        size_bytes=len(content),
        subgraphs=len(subgraphs),
        tensors=tensors,
        operators=operators,
        input_indices=_indices(graph.vector(1, "<i4"), len(tensors)),
        output_indices=_indices(graph.vector(2, "<i4"), len(tensors)),
        metadata={name: value.tobytes() for name, value in metadata.items()},
    )


def _operator_code(table: _Table) -> tuple[str, int]:
    # Files older than schema 3a have the code in a byte; both are written, the larger one counts.
    code = max(table.scalar(0, "<b"), table.scalar(3, "<i"))
    name = OPERATORS[code] if 0 <= code < len(OPERATORS) else f"BUILTIN_{code}"
    return (table.string(1) if name == "CUSTOM" else name), table.scalar(2, "<i", 1)


def _operator(table: _Table, codes: list[tuple[str, int]], tensors: int) -> Operator:
    index = table.scalar(0, "<I")
    if index >= len(codes):
        raise ValueError(f"operator code {index} of {len(codes)} is missing")
    inputs = _indices(table.vector(1, "<i4"), tensors, optional=True)
    name, version = codes[index]
    outputs = _indices(table.vector(2, "<i4"), tensors)
    if name in WEIGHTED and (len(inputs) < 2 or min(inputs[:2]) < 0 or not outputs):
        raise ValueError(f"{name} has no input, kernel or output")
    return Operator(name, version, inputs, outputs, _options(table, name))


def _options(table: _Table, name: str) -> dict[str, int]:
    kind, fields = OPTIONS.get(name, (0, {}))
    options = table.table(4) if fields and table.scalar(3, "<B") == kind else None
    return {
        option: options.scalar(field, form, default) if options else default
        for option, (field, form, default) in fields.items()
    }


def _indices(values: NDArray[Any], tensors: int, *, optional: bool = False) -> tuple[int, ...]:
    if values.size and not -int(optional) <= int(values.min()) <= int(values.max()) < tensors:
        raise ValueError(f"a tensor index is outside the {tensors} tensors")
    return tuple(map(int, values))


def _tensor(table: _Table, buffers: list[_Table]) -> Tensor:
    shape = _shape(table.vector(0, "<i4"))
    number = table.scalar(1, "<b")
    if not 0 <= number < len(DTYPES):
        raise ValueError(f"tensor type {number} is unknown")
    dtype = DTYPES[number]
    offset, content = _buffer(buffers, table.scalar(2, "<I"))
    quantization = table.table(4)
    scale = quantization.vector(2, "<f4") if quantization else np.zeros(0, np.float32)
    if not np.isfinite(scale).all():
        raise ValueError("a scale is not finite")
    return Tensor(
        name=table.string(3),
        shape=shape,
        shape_signature=_shape(table.vector(7, "<i4")) or shape,
        dtype=dtype,
        scale=scale,
        zero_point=quantization.vector(3, "<i8") if quantization else np.zeros(0, np.int64),
        axis=quantization.scalar(6, "<i") if quantization else 0,
        is_variable=bool(table.scalar(5, "<B")),
        offset=offset,
        size_bytes=content.size,
        data=shaped(content, dtype, shape) if content.size else None,
        sparse_index_bytes=_sparse_index_bytes(table.table(6)),
        least=quantization.vector(0, "<f4") if quantization else np.zeros(0, np.float32),
        largest=quantization.vector(1, "<f4") if quantization else np.zeros(0, np.float32),
    )


def _sparse_index_bytes(sparsity: _Table | None) -> int:
    """Return what the lists of a sparse tensor take: where rows begin, and columns."""
    numbers = {1: "<i4", 2: "<u2", 3: "u1"}  # SparseIndexVector of the schema, by number
    lists = [
        (dimension.scalar(kind, "<B"), dimension.table(kind + 1))
        for dimension in (sparsity.tables(2) if sparsity else ())
        for kind in (2, 4)
    ]
    return sum(
        values.vector(0, numbers[kind]).nbytes
        for kind, values in lists
        if values and kind in numbers
    )


def _without_place(tensor: Tensor) -> tuple[object, ...]:
    """Return what a tensor is, in a form that compares: arrays as their bytes."""
    fields = tensor._replace(offset=0)
    return tuple(field.tobytes() if isinstance(field, np.ndarray) else field for field in fields)


def _shape(values: NDArray[Any]) -> tuple[int, ...]:
    if values.size > MAX_RANK:
        raise ValueError(f"a tensor has {values.size} dimensions")
    return tuple(map(int, values))


def _buffer(buffers: list[_Table], index: int) -> tuple[int, NDArray[np.uint8]]:
    if index >= len(buffers):
        raise ValueError(f"buffer {index} of {len(buffers)} is missing")
    buffer = buffers[index]
    start, size = buffer.scalar(1, "<Q"), buffer.scalar(2, "<Q")
    if start > 1:  # files over 2 GiB keep contents behind the flatbuffer
        return start, buffer.view(start, size, "u1")
    return buffer.vector_offset(0), buffer.vector(0, "u1")


def shaped(content: NDArray[np.uint8], dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return a tensor's bytes as numbers of its shape, or flat where they are packed."""
    if dtype not in NUMPY_DTYPES:
        return content
    numbers = np.dtype(dtype)
    elements = 1
    for size in shape:
        elements *= size
    if elements * numbers.itemsize != content.size:  # stored sparsely, or packed
        return content
    return content.view(numbers).reshape(shape)
