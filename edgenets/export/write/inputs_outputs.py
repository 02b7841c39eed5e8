"""What stands before and behind a net in its `.tflite`: float32 for integers, a softmax, names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.export.inspect.output_kind import PROBABILITIES, SHAPING, ends_in
from edgenets.flatbuffer import File

PROBABILITY_GRIDS = {"int8": (1 / 256, -128), "int16": (1 / 32768, 0)}
"""Scale and zero point of a softmax's output, which the TFLite quantization specification fixes."""
VERSIONS = {  # of the operators, by the integers that they read or write
    "SOFTMAX": {"float32": 1, "int8": 2, "int16": 3},
    "QUANTIZE": {"int8": 1, "int16": 2},
    "DEQUANTIZE": {"int8": 2, "int16": 3},
}
UINT8_LESS_INT8 = 128
"""Between the codes of one value, so that nothing is rounded from one to the other."""
IMAGE, LOGITS = "image", "logits"
"""What a file's signature calls its input and output."""


def set_signature(model: Any) -> None:
    """Give a schema object of one input and one output the signature `image` -> `logits`.

    Raises:
        EdgenetsError: it has several subgraphs.
    """
    from ai_edge_litert import schema_py_generated as schema

    if len(model.subgraphs) != 1:
        raise EdgenetsError(
            f"the net became {len(model.subgraphs)} graphs, which loops and conditions do, "
            "recurrent layers for example, and a file here has one; replace such layers"
        )
    (graph,) = model.subgraphs
    ends = ((IMAGE, graph.inputs[0]), (LOGITS, graph.outputs[0]))
    image, logits = (schema.TensorMapT(name=n, tensorIndex=int(index)) for n, index in ends)
    model.signatureDefs = [
        schema.SignatureDefT(
            inputs=[image], outputs=[logits], signatureKey="serving_default", subgraphIndex=0
        )
    ]


def remove_softmax(file: File) -> bool:
    """Take from a file the softmax over the classes that it ends in; tell whether it had one.

    A softmax over probabilities is left where it is: what is before it would be shown as it is, and
    not through a softmax. Reshaping behind the softmax stays. Integer logits keep the grid that
    they were calibrated to, so all that is computed before the softmax is the same to the last bit.

    Args:
        file: of one subgraph, input and output.
    """
    whole = file.model
    found = _last_softmax(whole)
    if found is None:
        return False
    index, behind = found
    logits, probabilities = whole.operators[index].inputs[0], whole.operators[index].outputs[0]
    output = logits if whole.output_indices[0] == probabilities else whole.output_indices[0]

    def change(model: Any) -> None:
        (graph,) = model.subgraphs
        for operator in graph.operators:
            read = operator.inputs
            operator.inputs = np.where(read == probabilities, np.int32(logits), read)
        for tensor in behind:
            graph.tensors[tensor].quantization = graph.tensors[logits].quantization

    file.edit(change)
    operators = tuple(i for i in range(len(whole.operators)) if i != index)
    file.select(flatbuffer.Part(operators, whole.input_indices, (output,)))
    file.edit(set_signature)
    return True


def _last_softmax(file: flatbuffer.Model) -> tuple[int, list[int]] | None:
    """Return the operator that makes probabilities of logits, and the tensors that hold them."""
    makers = {tensor: i for i, operator in enumerate(file.operators) for tensor in operator.outputs}
    (tensor,) = file.output_indices
    classes = file.tensors[tensor].shape[-1]
    behind = []
    while tensor in makers:
        operator = file.operators[makers[tensor]]
        behind.append(tensor)
        if operator.name == "SOFTMAX":
            if file.tensors[tensor].shape[-1] != classes:
                return None
            of_logits = ends_in(file, operator.inputs[0]) not in PROBABILITIES
            return (makers[tensor], behind) if of_logits else None
        if operator.name not in SHAPING:
            return None
        tensor = operator.inputs[0]
    return None


def set_ends(file: File, dtype: str | None = None, *, softmax: bool = False) -> None:
    """Give a file other ends; all that it computes between them stays bit for bit.

    Args:
        file: of one input and one output.
        dtype: what it takes and gives, with QUANTIZE and DEQUANTIZE around what it computes with:
            float32, or uint8 of int8; by default as it does.
        softmax: whether it gives probabilities instead of logits; computed with float32 if it gives
            that.
    """
    own = file.model.outputs[0].dtype
    if dtype == "float32" != own:
        file.edit(_surround, own, "DEQUANTIZE", _become_float)
        own = dtype
    if softmax:
        file.edit(_append_softmax, own)
    if dtype == "uint8" != own:
        file.edit(_surround, own, "QUANTIZE", _become_uint8)


def _surround(model: Any, dtype: str, back: str, become: Callable[[Any, Any], None]) -> None:
    """Put QUANTIZE before a file's integers and the operator `back` behind them.

    Args:
        model: the schema object.
        dtype: of the integers.
        back: the operator's name.
        become: gives the first of two tensors, a new end, the type that stands for the second, the
            old one.
    """
    (graph,) = model.subgraphs
    operator = _insert(model, "QUANTIZE", dtype, [int(graph.inputs[0])], first=True)
    operator.inputs, operator.outputs = operator.outputs, operator.inputs
    become(*(graph.tensors[index] for index in (operator.inputs[0], operator.outputs[0])))
    _set_end(model, "inputs", operator.inputs[0])
    operator = _insert(model, back, dtype, [int(graph.outputs[0])])
    become(*(graph.tensors[index] for index in (operator.outputs[0], operator.inputs[0])))
    _set_end(model, "outputs", operator.outputs[0])


def _append_softmax(model: Any, dtype: str) -> None:
    from ai_edge_litert import schema_py_generated as schema

    (graph,) = model.subgraphs
    operator = _insert(model, "SOFTMAX", dtype, [int(graph.outputs[0])])
    operator.builtinOptionsType = schema.BuiltinOptions.SoftmaxOptions
    operator.builtinOptions = schema.SoftmaxOptionsT(beta=1.0)
    probabilities = graph.tensors[operator.outputs[0]]
    probabilities.quantization = _quantization(PROBABILITY_GRIDS.get(dtype))
    _set_end(model, "outputs", operator.outputs[0])
    for signature in model.signatureDefs or []:
        signature.outputs[0].name = "probabilities"


def _insert(model: Any, name: str, dtype: str, inputs: list[int], first: bool = False) -> Any:
    """Add an operator, whose output is a new tensor like its input; return it."""
    from ai_edge_litert import schema_py_generated as schema

    (graph,) = model.subgraphs
    number = flatbuffer.OPERATORS.index(name)
    code = schema.OperatorCodeT(
        deprecatedBuiltinCode=number, builtinCode=number, version=VERSIONS[name][dtype]
    )
    model.operatorCodes.append(code)
    like = graph.tensors[inputs[0]]
    model.buffers.append(schema.BufferT())
    graph.tensors.append(
        schema.TensorT(
            name=f"{name.lower()}",
            shape=like.shape,
            shapeSignature=like.shapeSignature,
            type=like.type,
            buffer=len(model.buffers) - 1,
            hasRank=True,
        )
    )
    operator = schema.OperatorT(
        opcodeIndex=len(model.operatorCodes) - 1,
        inputs=np.array(inputs, np.int32),
        outputs=np.array([len(graph.tensors) - 1], np.int32),
    )
    graph.operators.insert(0 if first else len(graph.operators), operator)
    return operator


def _quantization(grid: tuple[float, int] | None) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    if grid is None:
        return None
    scale, zero_point = grid
    return schema.QuantizationParametersT(
        scale=np.array([scale], np.float32), zeroPoint=np.array([zero_point], np.int64)
    )


def _become_float(end: Any, old: Any) -> None:
    from ai_edge_litert import schema_py_generated as schema

    end.type, end.quantization = schema.TensorType.FLOAT32, None


def _become_uint8(end: Any, old: Any) -> None:
    from ai_edge_litert import schema_py_generated as schema

    end.type = schema.TensorType.UINT8
    (scale,), (zero_point,) = old.quantization.scale, old.quantization.zeroPoint
    end.quantization = _quantization((scale, int(zero_point) + UINT8_LESS_INT8))


def _set_end(model: Any, side: str, index: int) -> None:
    """Let the file's one input or output be the tensor `index`, in its signatures too."""
    setattr(model.subgraphs[0], side, np.array([index], np.int32))
    for signature in model.signatureDefs or []:
        getattr(signature, side)[0].tensorIndex = int(index)
