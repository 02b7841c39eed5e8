"""What the output of a `.tflite` net is: logits, or the probabilities of a softmax or sigmoids."""

from __future__ import annotations

from edgenets import flatbuffer

PROBABILITIES = ("SOFTMAX", "LOGISTIC")
"""The operators whose outputs are probabilities."""
SHAPING = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")  # what leaves values as they are
PASSING = ("QUANTIZE", "DEQUANTIZE", *SHAPING)
"""Those whose outputs are their inputs in another form."""


def ends_in(file: flatbuffer.Model, tensor: int | None = None) -> str:
    """Return the operator that computes a tensor, by default the output; "" where none does."""
    (wanted,) = file.output_indices if tensor is None else (tensor,)
    for operator in reversed(file.operators):
        if wanted in operator.outputs:
            if operator.name not in PASSING or not operator.inputs:
                return operator.name
            wanted = operator.inputs[0]
    return ""
