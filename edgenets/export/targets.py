"""Targets: what a file is made for, one row each. Everything that differs by target is in its row.

Adding a target is adding a row to `TARGETS` and, at most, one rewrite in
`edgenets.export.lower.lower`: commands and configs follow the table. Needs no TensorFlow.

Source: docs/evidence/targets.md has the measurements behind each choice.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from edgenets.errors import ArgumentError, unknown_name
from edgenets.export.formats import DYNAMIC, FP16, FP32, INT8, INT16X8

Rewrite = (
    Literal["dense", "dense_narrow", "dense_ungrouped", "packed", "spelled", "turned", "averaged"]
    | Literal["joined", "nested", "paired", "paired_wide", "paired_outputs"]
)
"""A rewrite of the net, in `edgenets.export.lower.lower.REWRITES`."""

ACCELERATORS = {"edge_tpu": "Edge TPU", "ethos_u": "Ethos-U"}
"""What `Target.accelerator` is called."""


class Target(NamedTuple):
    """What a file for a kind of device looks like."""

    name: str
    device: str  # in words
    formats: tuple[str, ...]  # names of `FORMATS` that run there; the first is preferred
    rewrites: tuple[Rewrite, ...]  # of the net, in this order, in every format
    integer_rewrites: tuple[Rewrite, ...] = ()  # further ones where activations are integers
    int8_rewrites: tuple[Rewrite, ...] = ()  # before all others, in int8 alone
    sparse: bool = False  # whether fp32 files store pruned kernels sparsely
    prefers_sparse: bool = False  # fp32 to int8, where all large 1x1 kernels are sparse enough
    accelerator: Literal["edge_tpu", "ethos_u"] | None = None  # None: XNNPACK on the CPU
    system_config: str = ""  # of an Ethos-U: clock and memories that Vela's estimates are of
    memory_mode: str = ""  # of an Ethos-U: what is stored in which memory
    palette: int | None = None  # of an Ethos-U: distinct values of a kernel that it codes by number
    micro: bool = False  # whether it is exported as a folder of C++ sources, for TFLM
    cpu: str | None = None  # core of the emulated board that has its kernels
    names: bool = False  # whether files keep the names of their tensors, if not told otherwise
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
    int8_rewrites=("dense_ungrouped",),
    sparse=True,
    cpu="cortex-a76",
)
CORAL = Target(
    name="coral",
    device="Coral Edge TPU",
    formats=(INT8.name,),
    rewrites=("dense", "spelled"),
    accelerator="edge_tpu",
    names=True,
    note="compile the file with edgetpu_compiler before it goes to the board",
)
ETHOS_U55_128 = Target(
    name="ethos-u55-128",
    device="Arm Ethos-U55 of 128 MACs a cycle",
    formats=(INT8.name, INT16X8.name),
    rewrites=("dense_narrow", "paired_wide", "paired_outputs"),
    accelerator="ethos_u",
    system_config="Ethos_U55_High_End_Embedded",
    memory_mode="Shared_Sram",
    palette=32,
    names=True,
    note="compile the file with --compile, or with Vela, before it goes to the board",
)
ETHOS_U55_256 = ETHOS_U55_128._replace(
    name="ethos-u55-256", device="Arm Ethos-U55 of 256 MACs a cycle"
)
ETHOS_U65_256 = ETHOS_U55_128._replace(
    name="ethos-u65-256",
    device="Arm Ethos-U65 of 256 MACs a cycle",
    system_config="Ethos_U65_Client_Server",
    memory_mode="Dedicated_Sram_384KB",
)
ETHOS_U65_512 = ETHOS_U65_256._replace(
    name="ethos-u65-512",
    device="Arm Ethos-U65 of 512 MACs a cycle",
    rewrites=("dense_narrow", "paired_wide"),
)
ETHOS_U = (ETHOS_U55_128, ETHOS_U55_256, ETHOS_U65_256, ETHOS_U65_512)
MCU = Target(
    name="mcu",
    device="microcontroller with TensorFlow Lite Micro",
    formats=(INT8.name,),
    rewrites=(),
    micro=True,
    note="microcontrollers compute as LiteRT's reference kernels do, which round otherwise than "
    "XNNPACK",
)
TARGETS = {row.name: row for row in (GENERIC, RPI3, RPI4, RPI5, CORAL, *ETHOS_U, MCU)}


def compiled_targets(accelerator: str | None = None) -> tuple[str, ...]:
    """Return the names of the targets that have a compiler: of one accelerator, or of all."""
    return tuple(
        row.name
        for row in TARGETS.values()
        if row.accelerator and accelerator in (None, row.accelerator)
    )


def require_format(target: Target, number_format: str) -> None:
    """Check that files of a format, a name of `FORMATS`, are written for the target.

    Raises:
        EdgenetsError: they are not.
    """
    if number_format not in target.formats:
        raise ArgumentError(
            f"for {target.name} edgenets writes {', '.join(target.formats)}, not {number_format}; "
            "pass another --format or --target"
        )


def find_target(name: str) -> Target:
    """Return the target `name`.

    Raises:
        EdgenetsError: there is none.
    """
    if name not in TARGETS:
        raise unknown_name("target", name, TARGETS)
    return TARGETS[name]
