"""Latency that a real board is estimated to take, from instructions counted on the emulated one.

    latency = instructions x ms per instruction of the number format + operators x ms per operator

The second term is what threads cost each time they are started and waited for. Published latencies
calibrate the three constants; others, of nets that did not, say how far off the estimates are. A
board or number format without enough published latencies gets no estimate.

Source: XNNPACK's README, February 2022: Raspberry Pi 4, 64 bits, multi-threaded, random weights.
docs/evidence/emulated_board.md says how the instructions were counted.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets import flatbuffer
from edgenets.export.targets import RPI4

CPU, BOARD, THREADS = RPI4.cpu, RPI4.device, 4
FORMATS = ("int8", "fp32")


class Published(NamedTuple):
    """A published latency, and what was counted of the same net."""

    net: str
    number_format: str
    calibrates: bool  # else it tests
    latency_ms: float
    instructions: int  # on CPU, LiteRT 2.1.6, one thread
    operators: int


# In each format the largest net calibrates, and the smallest of all.
PUBLISHED = (
    Published("mobilenet_v1", "int8", True, 24, 174_557_693, 29),
    Published("mobilenet_v1", "fp32", True, 77, 210_403_928, 29),
    Published("mobilenet_v3_small", "fp32", True, 15, 27_994_040, 107),
    Published("mobilenet_v2", "int8", False, 17, 113_680_777, 64),
    Published("mobilenet_v2", "fp32", False, 46, 123_355_446, 64),
    Published("mobilenet_v3_large", "fp32", False, 40, 93_623_163, 120),
)


def estimate_latency(model: flatbuffer.Model, cpu: str, instructions: int) -> dict[str, Any] | None:
    """Return the estimated latency of a file on the board that has the core, or None.

    Args:
        model: the file.
        cpu: of `emulator.CPUS`.
        instructions: per inference, counted on that core.

    Returns:
        `estimate` in ms; `error`, the largest relative error on the published latencies that did
        not calibrate; the `board` and `threads` that both are of. None where none is published for
        the core, or for the file's number format.
    """
    number_format = format_of(model)
    if cpu != CPU or number_format is None:
        return None
    return {
        "estimate": estimate_ms(number_format, instructions, len(model.operators)),
        "error": max(abs(error_of(row)) for row in PUBLISHED if not row.calibrates),
        "board": BOARD,
        "threads": THREADS,
    }


def estimate_ms(number_format: str, instructions: int, operators: int) -> float:
    """Return the estimate for a net that executes so many instructions in so many operators."""
    return float(_terms(number_format, instructions, operators) @ _constants())


def error_of(row: Published) -> float:
    """Return how far the estimate lies above the published latency, relative to it."""
    return estimate_ms(row.number_format, row.instructions, row.operators) / row.latency_ms - 1


def format_of(model: flatbuffer.Model) -> str | None:
    """Return "int8" or "fp32" where all kernels and the input are that, else None."""
    dtypes = {tensor.dtype for tensor in (*model.weights, *model.inputs)}
    names = {"int8": "int8", "float32": "fp32"}
    return names.get(dtypes.pop()) if len(dtypes) == 1 else None


@cache
def _constants() -> NDArray[np.float64]:
    """Return ms per instruction of each format, and ms per operator."""
    rows = [row for row in PUBLISHED if row.calibrates]
    terms = [_terms(row.number_format, row.instructions, row.operators) for row in rows]
    constants = np.linalg.solve(np.array(terms), [row.latency_ms for row in rows])
    return constants.astype(np.float64)


def _terms(number_format: str, instructions: int, operators: int) -> NDArray[np.float64]:
    per_format = [instructions if name == number_format else 0 for name in FORMATS]
    return np.array([*per_format, operators], np.float64)
