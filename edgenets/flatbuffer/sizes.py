"""What elements and tensors take."""

from __future__ import annotations

from math import prod

import numpy as np

from edgenets.flatbuffer import NUMPY_DTYPES, Tensor

BITS = {"bfloat16": 16, "float8_e4m3fn": 8, "float8_e5m2": 8, "int4": 4, "uint4": 4, "int2": 2}
"""Of an element of the types that NumPy lacks and that have a size."""


def element_bits(dtype: str) -> int:
    """Return the bits of an element; 0 for types without a size, such as strings.

    >>> element_bits("float32"), element_bits("int4"), element_bits("string")
    (32, 4, 0)
    """
    return 8 * np.dtype(dtype).itemsize if dtype in NUMPY_DTYPES else BITS.get(dtype, 0)


def tensor_bytes(tensor: Tensor) -> int:
    """Return what a tensor's elements take; a size that is unknown counts as 1.

    >>> from edgenets.flatbuffer import Tensor
    >>> tensor_bytes(Tensor("", (1, 3, 3), (), "int4", None, None, 0, False, 0, 0, None))
    5
    """
    elements = prod(1 if size < 0 else size for size in tensor.shape)
    return -(-elements * element_bits(tensor.dtype) // 8)
