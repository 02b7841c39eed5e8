"""What of a `.tflite` goes into a microcontroller's flash: what TFLM reads, kernels by tables.

A kernel of few values is stored as indices into a lookup table, which a DECODE operator of TFLM
undoes before each use: in the arena, once for every inference. Kernels with a scale per channel ask
for a table per channel; where all channels have the same values, one table serves them all, because
the distance from a channel's table to the next (the stride) may be 0. TFLM's own compressor stores
them all, which in a small kernel take more than the indices save.

Source: tflite-micro, docs of the DECODE operator and compression/lut.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets.export.inspect.arena import arena_bytes, lifetimes
from edgenets.export.inspect.tflm import DECODE
from edgenets.flatbuffer import WEIGHTED, File, Model
from edgenets.flatbuffer.edit import Part
from edgenets.flatbuffer.sizes import tensor_bytes

MOST_BITS = 7  # of an index
LOOK_UP, VERSION, WHOLE = 0, 1, 15  # of the header: how it is coded, its versions, "one table"
HEADER_BYTES = 16
LEAST_SAVED_BYTES = 512
"""Of a kernel that is coded: its operator takes about 120 bytes of flash and 210 of the arena."""
MEMORY_WORTH = 2
"""Bytes of flash that one of memory is worth: microcontrollers have twice to four times as much."""


class Coded(NamedTuple):
    """A constant tensor as indices into tables."""

    indices: bytes  # packed, the high bit first
    ancillary: bytes  # header and tables

    @property
    def size_bytes(self) -> int:
        """What both take."""
        return len(self.indices) + len(self.ancillary)


def for_flash(file: File) -> File:
    """Return a file with what TFLM reads alone: it computes the same, to the last bit.

    Gone are labels and metadata, which the sources spell out, names, signatures, and the scales of
    the biases of convolutions: those are the product of two scales that are there.
    """
    kept = File(file.content)
    kept.edit(_strip)
    return _without_what_is_unused(kept)


def with_tables(file: File, coded: Mapping[int, Coded]) -> File:
    """Return a file with the constants `coded`, by tensor, as tables and indices."""
    made = File(file.content)
    made.edit(_set_tables, coded)
    return _without_what_is_unused(made)


def worth_coding(model: Model) -> dict[int, Coded]:
    """Return the kernels to store by tables, by tensor: those that save more than they cost.

    A decoded kernel lies in the arena beside the activations of its operator. Those of the later
    layers fit into what the first layers leave; one that does not costs memory, and is taken where
    it, and others as large, save `MEMORY_WORTH` times as much flash.

    Kernels that several operators read stay: each would need a DECODE of its own.
    """
    uses = Counter(index for operator in model.operators for index in operator.inputs)
    lives = lifetimes(model)
    found: dict[int, Coded] = {}
    saved: dict[int, int] = {}
    needs: dict[int, int] = {}  # of memory, while the kernel's operator runs
    for number, operator in enumerate(model.operators):
        kernel = operator.inputs[1] if operator.name in WEIGHTED else -1
        if kernel < 0 or uses[kernel] > 1 or not model.tensors[kernel].is_constant:
            continue
        tensor = model.tensors[kernel]
        if tensor.dtype != "int8":
            continue
        axis = tensor.axis if tensor.scale.size > 1 else None
        coded = code(np.asarray(tensor.content).reshape(tensor.shape), axis)
        if coded is None or tensor.size_bytes - coded.size_bytes < LEAST_SAVED_BYTES:
            continue
        alive = [index for index, (first, last) in lives.items() if first <= number <= last]
        found[kernel], saved[kernel] = coded, tensor.size_bytes - coded.size_bytes
        needs[kernel] = tensor.size_bytes + sum(tensor_bytes(model.tensors[i]) for i in alive)
    present = arena_bytes(model)

    def gain(limit: int) -> int:
        fitting = sum(saved[kernel] for kernel in found if needs[kernel] <= limit)
        return fitting - MEMORY_WORTH * (limit - present)

    best = max([present, *(need for need in needs.values() if need > present)], key=gain)
    return {kernel: coded for kernel, coded in found.items() if needs[kernel] <= best}


def code(values: NDArray[np.int8], axis: int | None) -> Coded | None:
    """Return values by one table or by one for each channel, whichever is smaller.

    Args:
        values: of a kernel, of its shape.
        axis: that its scales run along, the first or the last; None for one scale.

    Returns:
        None where a table would have more than 2 ** 7 values.

    >>> coded = code(np.int8([[5, -5], [5, 5]]), axis=0)  # the indices are 1, 0, 1, 1
    >>> f"{coded.indices[0]:08b}", coded.ancillary[HEADER_BYTES:]
    ('10110000', b'\\xfb\\x05')
    """
    ways = [[values]] if axis is None else [[values], list(np.moveaxis(values, axis, 0))]
    found = [coded for channels in ways if (coded := _coded(values.shape, channels, axis))]
    return min(found, key=lambda coded: coded.size_bytes, default=None)


def _coded(
    shape: tuple[int, ...], channels: list[NDArray[np.int8]], axis: int | None
) -> Coded | None:
    tables, indices = zip(*(np.unique(each, return_inverse=True) for each in channels), strict=True)
    longest = max(map(len, tables))
    bits = max(1, (longest - 1).bit_length())
    if bits > MOST_BITS:
        return None
    parts = [part.reshape(each.shape) for part, each in zip(indices, channels, strict=True)]
    if len(channels) == 1:
        table, whole = tables[0], parts[0]
        stride = 0 if axis is not None else longest
    else:
        assert axis is not None
        table = np.concatenate([np.pad(each, (0, longest - len(each))) for each in tables])
        whole, stride = np.moveaxis(np.stack(parts), 0, axis), longest
    assert whole.shape == shape
    header = bytes([LOOK_UP, VERSION, 0, 0, VERSION, (WHOLE if axis is None else axis) << 4 | bits])
    header += bytes([stride]).ljust(HEADER_BYTES - len(header), b"\0")
    return Coded(_packed(whole.reshape(-1), bits), header + table.astype(np.int8).tobytes())


def _packed(indices: NDArray[np.int64], bits: int) -> bytes:
    places = np.arange(bits - 1, -1, -1)
    return np.packbits((indices[:, np.newaxis] >> places & 1).astype(np.uint8)).tobytes()


def _without_what_is_unused(file: File) -> File:
    """Return the file without the buffers, tensors and signatures that no operator reads."""
    model = file.model
    operators = tuple(range(len(model.operators)))
    file.select(Part(operators, model.input_indices, model.output_indices))
    return file.finish()


def _strip(model: Any) -> None:
    from ai_edge_litert import schema_py_generated as schema

    model.metadata = model.metadataBuffer = model.description = None
    (graph,) = model.subgraphs
    graph.name = None
    for tensor in graph.tensors:
        tensor.name = None
        if tensor.quantization is not None:
            tensor.quantization.min = tensor.quantization.max = None
    convolutions = (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEPTHWISE_CONV_2D)
    for operator in graph.operators:
        kind = model.operatorCodes[operator.opcodeIndex].builtinCode
        if kind in convolutions and len(operator.inputs) > 2 and operator.inputs[2] >= 0:
            graph.tensors[operator.inputs[2]].quantization = None


def _set_tables(model: Any, coded: Mapping[int, Coded]) -> None:
    from ai_edge_litert import schema_py_generated as schema

    (graph,) = model.subgraphs
    decode = schema.OperatorCodeT()
    decode.builtinCode = decode.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    decode.customCode = DECODE
    model.operatorCodes.append(decode)

    def add_constant(content: bytes) -> int:
        buffer, tensor = schema.BufferT(), schema.TensorT()
        buffer.data = np.frombuffer(content, np.uint8)
        model.buffers.append(buffer)
        tensor.shape, tensor.type = [len(content)], schema.TensorType.UINT8
        tensor.buffer = len(model.buffers) - 1
        graph.tensors.append(tensor)
        return len(graph.tensors) - 1

    operators = []
    for operator in graph.operators:
        for index in map(int, operator.inputs):
            if index not in coded:
                continue
            made = schema.OperatorT()
            made.opcodeIndex = len(model.operatorCodes) - 1
            made.inputs = [add_constant(content) for content in coded[index]]
            made.outputs = [index]
            operators.append(made)
            graph.tensors[index].buffer = 0  # the empty one
        operators.append(operator)
    graph.operators = operators
