"""Edit a `.tflite` file through the schema classes that come with ai-edge-litert."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy, deepcopy
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets.errors import EdgenetsError
from edgenets.flatbuffer.names import IDENTIFIER


def set_metadata(model: Any, entries: Mapping[str, bytes]) -> None:
    """Set the metadata `entries` of a schema object, by name; others are kept."""
    from ai_edge_litert import schema_py_generated as schema

    model.metadata = model.metadata or []
    buffers = {_text(entry.name): entry.buffer for entry in model.metadata}
    for name, value in entries.items():
        if name not in buffers:
            buffers[name] = len(model.buffers)
            model.buffers.append(schema.BufferT())
            model.metadata.append(schema.MetadataT(name=name, buffer=buffers[name]))
        model.buffers[buffers[name]].data = np.frombuffer(value, np.uint8)


def set_outputs(model: Any, tensors: Sequence[int]) -> None:
    """Let a schema object return these `tensors`, by index, in place of its outputs.

    What it computes stays, and so does the order. Signatures, which name outputs, are left out.
    """
    (graph, *_) = model.subgraphs
    graph.outputs = np.array(tensors, np.int32)
    model.signatureDefs = None


class Quantized(NamedTuple):
    """New content for a tensor: of an activation its scale and zero point only."""

    scale: NDArray[np.float32]  # [channels] or [1]
    zero_point: NDArray[np.int64]  # as `scale`
    content: bytes | None = None  # codes of the tensor's shape and type


def set_quantization(model: Any, tensors: Mapping[int, Quantized]) -> None:
    """Set the codes, scales and zero points of a schema object's `tensors`, by index."""
    from ai_edge_litert import schema_py_generated as schema

    (graph,) = model.subgraphs
    uses = Counter(tensor.buffer for tensor in graph.tensors)
    for index, new in tensors.items():
        tensor = graph.tensors[index]
        tensor.quantization.scale = new.scale
        tensor.quantization.zeroPoint = new.zero_point
        tensor.quantization.min = tensor.quantization.max = None
        if new.content is not None:
            if uses[tensor.buffer] > 1:  # another tensor's content is the same; it may stay so
                uses[tensor.buffer] -= 1
                model.buffers.append(schema.BufferT())
                tensor.buffer = len(model.buffers) - 1
            model.buffers[tensor.buffer].data = np.frombuffer(new.content, np.uint8)


def slim(model: Any, *, names: bool = False) -> None:
    """Take from a schema object what the converter leaves and no interpreter reads.

    Tensors lose the ranges that scales were computed from and, unless `names`, their names. Inputs
    and outputs are called what the signature calls them. It computes the same to the last bit.
    """
    for number, graph in enumerate(model.subgraphs):
        kept = range(len(graph.tensors)) if names else (*graph.inputs, *graph.outputs)
        named = {int(i): graph.tensors[i].name for i in kept}
        for signature in model.signatureDefs or []:
            if signature.subgraphIndex == number:
                called = (*(signature.inputs or []), *(signature.outputs or []))
                named |= {int(end.tensorIndex): end.name for end in called}
        for index, tensor in enumerate(graph.tensors):
            tensor.name = named.get(index)
            if tensor.quantization is not None:
                tensor.quantization.min = tensor.quantization.max = None


class Part(NamedTuple):
    """Operators of a file that can be a file of their own: indices, tensors' and operators'."""

    operators: tuple[int, ...]  # in execution order
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def split(content: bytes, parts: Iterable[Part]) -> Iterator[bytes]:
    """Yield a file for each part; its inputs and outputs are in the order that the part gives.

    Tensors, buffers and operator codes that a part does not use are left out, and so are
    signatures, which name tensors. Metadata and further subgraphs are kept.
    """
    whole = unpack(content)
    for part in parts:
        yield pack(selected(whole, part))


def selected(whole: Any, part: Part) -> Any:
    """Return a schema object of the part; the whole's stays as it is."""
    model, graph = copy(whole), copy(whole.subgraphs[0])
    graph.operators = [copy(graph.operators[i]) for i in part.operators]
    lists: list[Any] = [part.inputs, part.outputs]
    for operator in graph.operators:
        lists += [operator.inputs, operator.outputs, operator.intermediates]
    number = _numbers(int(i) for indices in lists if indices is not None for i in indices)
    graph.inputs, graph.outputs = (_renumbered(i, number) for i in part[1:])
    for operator in graph.operators:
        operator.inputs = _renumbered(operator.inputs, number)
        operator.outputs = _renumbered(operator.outputs, number)
        operator.intermediates = _renumbered(operator.intermediates, number)
    graph.tensors = [copy(graph.tensors[old]) for old in number if old >= 0]

    model.subgraphs = [graph, *deepcopy(whole.subgraphs[1:])]
    model.metadata = [copy(entry) for entry in whole.metadata or []]
    holders = [*(tensor for g in model.subgraphs for tensor in g.tensors), *model.metadata]
    number = _numbers([0, *(holder.buffer for holder in holders)])  # buffer 0 is the empty one
    model.buffers = [whole.buffers[old] for old in number if old >= 0]
    for holder in holders:
        holder.buffer = number[holder.buffer]

    callers = [operator for g in model.subgraphs for operator in g.operators]
    number = _numbers(caller.opcodeIndex for caller in callers)
    model.operatorCodes = [whole.operatorCodes[old] for old in number if old >= 0]
    for caller in callers:
        caller.opcodeIndex = number[caller.opcodeIndex]
    model.signatureDefs = model.metadataBuffer = None
    return model


def _numbers(used: Iterable[int]) -> dict[int, int]:
    """Return new numbers from 0 on, in the order of the old ones; -1 stays what it is."""
    kept = sorted(set(used) - {-1})
    return {**{old: new for new, old in enumerate(kept)}, -1: -1}


def _renumbered(indices: Any, number: Mapping[int, int]) -> Any:
    return None if indices is None else np.array([number[int(i)] for i in indices], np.int32)


def unpack(content: bytes) -> Any:
    """Return a file's schema object, `ModelT`.

    Raises:
        EdgenetsError: ai-edge-litert, which brings the schema classes, is not installed.
    """
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ImportError as error:
        raise EdgenetsError(
            "editing a .tflite needs ai-edge-litert; run: pip install ai-edge-litert"
        ) from error
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))


def pack(model: Any) -> bytes:
    """Return the bytes of a schema object.

    Equal vectors (the zero points of every kernel, for example) are stored once, and constant
    contents are aligned to 16 bytes, as the schema asks.
    """
    builder = _sharing_builder_class()(1024)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def _text(text: str | bytes) -> str:
    return text.decode() if isinstance(text, bytes) else text


@lru_cache(maxsize=1)
def _sharing_builder_class() -> type:
    """Make a `flatbuffers.Builder` that stores equal vectors once and aligns byte vectors."""
    import flatbuffers

    class SharingBuilder(flatbuffers.Builder):
        def __init__(self, size: int) -> None:
            super().__init__(size)
            self.stored: dict[tuple[str, bytes], int] = {}

        def CreateNumpyVector(self, x: NDArray[Any]) -> int:
            key = (x.dtype.str, x.tobytes())
            if key not in self.stored:
                if x.dtype == np.uint8:
                    self.Prep(16, x.nbytes)
                self.stored[key] = super().CreateNumpyVector(x)
            return self.stored[key]

    return SharingBuilder
