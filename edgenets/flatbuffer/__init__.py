"""Read and edit a `.tflite` file: the one room that knows the TFLite schema.

`file.py` is a file that is handed on: parsed once, edited in one session, packed once. `read.py`
reads one, which needs NumPy alone; `edit.py` changes and packs it, and `view.py` looks at it amid
that; `extract.py` makes a file of some of its operators; `names.py` holds the schema's names.
"""

from edgenets.flatbuffer.edit import (
    Part,
    Quantized,
    set_metadata,
    set_outputs,
    set_quantization,
    slim,
    split,
)
from edgenets.flatbuffer.file import File, content_of, model_of, rewrite, with_metadata
from edgenets.flatbuffer.names import (
    COMPILED,
    DTYPES,
    EDGE_TPU_OPERATOR,
    ETHOS_U_OPERATOR,
    IDENTIFIER,
    NUMPY_DTYPES,
    OPERATORS,
    OPTIONS,
    TRANSPOSED,
    WEIGHTED,
)
from edgenets.flatbuffer.read import (
    MAX_RANK,
    Model,
    Operator,
    Tensor,
    read,
    require_mark,
    root_table,
)

__all__ = [
    "COMPILED",
    "DTYPES",
    "EDGE_TPU_OPERATOR",
    "ETHOS_U_OPERATOR",
    "IDENTIFIER",
    "MAX_RANK",
    "NUMPY_DTYPES",
    "OPERATORS",
    "OPTIONS",
    "TRANSPOSED",
    "WEIGHTED",
    "File",
    "Model",
    "Operator",
    "Part",
    "Quantized",
    "Tensor",
    "content_of",
    "model_of",
    "read",
    "require_mark",
    "rewrite",
    "root_table",
    "set_metadata",
    "set_outputs",
    "set_quantization",
    "slim",
    "split",
    "with_metadata",
]
