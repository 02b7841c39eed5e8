"""Targets: what a file is made for, one row each. Everything that differs by target is in its row.

Adding a target is adding a row and, at most, one rewrite in `edgenets.export.lower`. Needs no
TensorFlow.

Source: docs/targets.md has the measurements behind each choice; what the Edge TPU maps is Coral's
table of operators.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from edgenets import flatbuffer
from edgenets.errors import unknown_name
from edgenets.export.formats import DYNAMIC, FP16, FP32, INT8, INT16X8

Rewrite = Literal["dense", "packed", "spelled", "paired", "turned", "averaged", "joined", "nested"]
"""A rewrite of the net, in `edgenets.export.lower.REWRITES`."""

SPARSE_FROM = 2 / 3
"""Zeros of a 1x1 kernel from which on XNNPACK computes it sparsely."""

# Operators that the Edge TPU maps at least in some form; all others run on the CPU.
EDGE_TPU_OPERATORS = frozenset(
    """
ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D EXPAND_DIMS FULLY_CONNECTED
L2_NORMALIZATION LOGISTIC LSTM MAXIMUM MAX_POOL_2D MEAN MINIMUM MUL PACK PAD PRELU QUANTIZE
REDUCE_MAX REDUCE_MIN RELU RELU6 RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT
SLICE SOFTMAX SPACE_TO_DEPTH SPLIT SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM TANH TRANSPOSE
TRANSPOSE_CONV
""".split()
)


class Target(NamedTuple):
    """What a file for a kind of device looks like."""

    name: str
    device: str  # in words
    formats: tuple[str, ...]  # names of `FORMATS` that run there; the first is preferred
    rewrites: tuple[Rewrite, ...]  # of the net, in this order, in every format
    integer_rewrites: tuple[Rewrite, ...] = ()  # further ones where activations are integers
    sparse: bool = False  # whether fp32 files store pruned kernels sparsely
    prefers_sparse: bool = False  # fp32 to int8, where all large 1x1 kernels are sparse enough
    operators: frozenset[str] | None = None  # that run fast there; None: those XNNPACK takes
    cpu: str | None = None  # core of the emulated board that has its kernels
    note: str = ""  # what the user should know, a sentence


ALL_FORMATS = tuple(row.name for row in (INT8, INT16X8, FP16, DYNAMIC, FP32))
GENERIC = Target(
    name="generic",
    device="any CPU",
    formats=ALL_FORMATS,
    rewrites=(),
)
RPI3 = Target(
    name="rpi3",
    device="Raspberry Pi 3",
    formats=ALL_FORMATS,
    rewrites=("packed", "nested"),
    integer_rewrites=("averaged", "joined"),
    sparse=True,
    prefers_sparse=True,
    cpu="cortex-a53",
)
RPI4 = Target(
    name="rpi4",
    device="Raspberry Pi 4",
    formats=ALL_FORMATS,
    rewrites=("packed", "nested"),
    integer_rewrites=("averaged", "joined", "paired"),
    sparse=True,
    prefers_sparse=True,
    cpu="cortex-a72",
)
RPI5 = Target(
    name="rpi5",
    device="Raspberry Pi 5",
    formats=ALL_FORMATS,
    rewrites=("packed", "nested"),
    integer_rewrites=("averaged", "joined", "paired"),
    sparse=True,
    cpu="cortex-a76",
)
CORAL = Target(
    name="coral",
    device="Coral Edge TPU",
    formats=(INT8.name,),
    rewrites=("dense", "spelled"),
    operators=EDGE_TPU_OPERATORS,
    note="compile the file with edgetpu_compiler before it goes to the board",
)
TARGETS = {row.name: row for row in (GENERIC, RPI3, RPI4, RPI5, CORAL)}


def find_target(name: str) -> Target:
    """Return the target `name`.

    Raises:
        EdgenetsError: there is none.
    """
    if name not in TARGETS:
        raise unknown_name("target", name, TARGETS)
    return TARGETS[name]


def notes(content: bytes, target: Target) -> list[str]:
    """Return what the user should know of the file on the target, in sentences."""
    told = [target.note] if target.note else []
    if target.operators is not None:
        names = {operator.name for operator in flatbuffer.read(content).operators}
        if others := sorted(names - target.operators):
            told.append(
                f"the {target.device} has no {', '.join(others)}: the file runs on the CPU from "
                "the first one on"
            )
    return told
