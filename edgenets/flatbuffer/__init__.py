"""Read and edit a `.tflite` file: the one room that knows the TFLite schema.

`read.py` reads one, which needs NumPy alone; `edit.py` writes it anew; `extract.py` makes a file of
some of its operators; `names.py` holds the schema's names.
"""

from edgenets.flatbuffer.edit import (
    Part,
    Quantized,
    rewrite,
    slim,
    split,
    with_metadata,
    with_quantization,
)
from edgenets.flatbuffer.names import (
    COMPILED,
    DTYPES,
    EDGE_TPU_OPERATOR,
    IDENTIFIER,
    NUMPY_DTYPES,
    OPERATORS,
    OPTIONS,
    PACKAGE,
    TRANSPOSED,
    WEIGHTED,
)
from edgenets.flatbuffer.read import (
    MAX_RANK,
    Model,
    Operator,
    Tensor,
    read,
    root_table,
)

__all__ = [
    "COMPILED",
    "DTYPES",
    "EDGE_TPU_OPERATOR",
    "IDENTIFIER",
    "MAX_RANK",
    "NUMPY_DTYPES",
    "OPERATORS",
    "OPTIONS",
    "PACKAGE",
    "TRANSPOSED",
    "WEIGHTED",
    "Model",
    "Operator",
    "Part",
    "Quantized",
    "Tensor",
    "read",
    "rewrite",
    "root_table",
    "slim",
    "split",
    "with_metadata",
    "with_quantization",
]
