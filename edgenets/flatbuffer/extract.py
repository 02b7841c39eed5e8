"""Cut a `.tflite` file at operator boundaries: any run of its operators as a file of its own.

The parts compute what the whole does: their inputs are the activations that the run reads, their
outputs those that are read after it; constants, quantization and metadata are those of the file.

Operators that compute from constants alone, such as the DEQUANTIZE behind a float16 kernel, have no
place in time: the interpreter runs them once. They go with every operator that needs their result.
Operators whose results nobody needs go with none.
"""

from __future__ import annotations

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.flatbuffer import Part


def cut(content: bytes, start: int, stop: int) -> bytes:
    """Return the operators `start` to `stop` (exclusive) of a `.tflite` file as a file.

    Raises:
        EdgenetsError: the file is damaged, has no such operators, or nothing reads what they
            compute.
    """
    (part,) = flatbuffer.split(content, [find_part(flatbuffer.read(content), start, stop)])
    return part


def find_part(model: flatbuffer.Model, start: int, stop: int) -> Part:
    """Return the operators `start` to `stop` with those that prepare their constants, and the ends.

    Raises:
        EdgenetsError: the model has no such operators, or nothing reads what they compute.
    """
    if not 0 <= start < stop <= len(model.operators):
        raise EdgenetsError(
            f"a part begins and ends at operators 0 to {len(model.operators)}, and has at least "
            f"one; got {start} to {stop}"
        )
    preparing, unread = preparing_operators(model), unread_operators(model)
    makers = {tensor: i for i in preparing for tensor in model.operators[i].outputs}
    own = [i for i in range(start, stop) if i not in unread]
    chosen, wanted = set(own), list(own)
    while wanted:
        found = {makers[t] for t in model.operators[wanted.pop()].inputs if t in makers} - chosen
        chosen |= found
        wanted += found
    operators = tuple(sorted(chosen))
    made = {tensor for i in operators for tensor in model.operators[i].outputs}
    read = dict.fromkeys(tensor for i in operators for tensor in model.operators[i].inputs)
    inputs = tuple(t for t in read if t not in made and t >= 0 and _is_activation(model.tensors[t]))
    others = set(range(stop, len(model.operators))) - unread
    later = {tensor for i in others for tensor in model.operators[i].inputs}
    later |= set(model.output_indices)
    leaving = dict.fromkeys(t for i in own for t in model.operators[i].outputs if t in later)
    outputs = tuple(tensor for tensor in leaving if tensor not in makers)
    if not outputs:
        raise EdgenetsError(
            f"nothing reads an activation of the operators {start} to {stop}; choose others"
        )
    return Part(operators, inputs, outputs)


def preparing_operators(model: flatbuffer.Model) -> frozenset[int]:
    """Return the indices of the operators that compute from constants alone."""
    constant = {i for i, tensor in enumerate(model.tensors) if tensor.is_constant}
    preparing = set()
    for i, operator in enumerate(model.operators):
        inputs = {tensor for tensor in operator.inputs if tensor >= 0}
        if inputs and inputs <= constant:
            preparing.add(i)
            constant |= set(operator.outputs)
    return frozenset(preparing)


def unread_operators(model: flatbuffer.Model) -> frozenset[int]:
    """Return the indices of the operators whose outputs serve no output of the file."""
    read = set(model.output_indices)
    unread = set()
    for i in reversed(range(len(model.operators))):
        operator = model.operators[i]
        if operator.outputs and not read.intersection(operator.outputs):
            unread.add(i)
        else:  # one without outputs may set a variable
            read.update(operator.inputs)
    return frozenset(unread)


def _is_activation(tensor: flatbuffer.Tensor) -> bool:
    return not (tensor.is_constant or tensor.is_variable)
