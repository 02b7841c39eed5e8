"""What a microcontroller gets of a file that passed its checks, measured by running TFLM.

Measured are the arena, the agreement with LiteRT's reference kernels, and that lookup tables change
no answer. Without tflite-micro, which exists for Linux on x86-64 alone, the arena is an estimate,
there are no tables, and nothing is compared.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets.errors import EdgenetsError
from edgenets.export.board.protocol import TFLM, TFLM_PACKAGE
from edgenets.export.devices.tflm import MAX_SECONDS, least_arena
from edgenets.export.inspect.arena import arena_bytes
from edgenets.export.inspect.tflm import estimated_arena_bytes, lacking, resolver_methods
from edgenets.export.measure.classifier import ClassifierFile
from edgenets.export.measure.runtimes import Runtime, images_within, open_runtimes
from edgenets.export.write.mcu.flash import for_flash, with_tables, worth_coding
from edgenets.export.write.mcu.sources import Arena
from edgenets.flatbuffer import File, Model
from edgenets.packages import has_wheel, installed_version

MOST_IMAGES, MOST_MACS = 16, 2_000_000_000
"""That are compared, and that they may take: TFLM's portable kernels are slow."""


@dataclass(frozen=True)
class Firmware:
    """What goes into the flash, and what was found out about it."""

    flash: File
    arena: Arena
    tables: int = 0  # kernels that are stored by lookup tables
    flash_bytes_without: int = 0  # without tables
    arena_bytes_without: int = 0
    bit_equal: int = 0  # outputs that are those of LiteRT's reference kernels
    images: int = 0  # that were compared

    @property
    def notes(self) -> list[str]:
        """Sentences about it."""
        if self.arena.is_estimate:
            way = (
                "run: pip install 'edgenets[mcu]'"
                if has_wheel(TFLM_PACKAGE)
                else "export on Linux on x86-64, which has it"
            )
            return [
                f"the arena is an estimate, and no lookup tables were tried: {TFLM_PACKAGE} is not "
                f"installed; {way}"
            ]
        if self.bit_equal == self.images:
            return []
        return [
            f"TFLM answers {self.images - self.bit_equal} of {self.images} images otherwise than "
            "LiteRT's reference kernels"
        ]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON; `runtime` is the version of tflite-micro, null without it."""
        is_estimate = self.arena.is_estimate
        return {
            "runtime": None if is_estimate else installed_version(TFLM_PACKAGE),
            "arena_bytes": self.arena.size_bytes,
            "arena_is_estimate": is_estimate,
            "operators": resolver_methods(self.flash.model),
            "flash_bytes": len(self.flash.content),
            "tables": {
                "kernels": self.tables,
                "flash_bytes_without": self.flash_bytes_without,
                "arena_bytes_without": self.arena_bytes_without,
            },
            "bit_equal": self.bit_equal,
            "images": self.images,
        }


def require_operators(model: Model) -> None:
    """Check that TFLM has the operators of a file, before it is written.

    Raises:
        EdgenetsError: it lacks some.
    """
    if problems := lacking(model):
        raise EdgenetsError(
            f"the file does not run on a microcontroller: {'; '.join(problems)}; replace such "
            "layers, or quantize all of them"
        )


def measure(file: File, images: NDArray[np.uint8], *, tables: bool = True) -> Firmware:
    """Return what a microcontroller gets of a classifier.

    Lookup tables are taken where they save more flash than they cost memory (which the arena that
    is found decides, not the plan), and every answer is the same to the last bit.

    Args:
        file: a quantized classifier.
        images: to compare on, `[images, height, width, 3]`.
        tables: whether kernels may be stored by lookup tables.

    Raises:
        EdgenetsError: TFLM refuses the file, or no arena is large enough.
    """
    plain = for_flash(file)
    size = len(plain.content)
    if installed_version(TFLM_PACKAGE) is None:
        arena = Arena(estimated_arena_bytes(plain.model), is_estimate=True)
        return Firmware(plain, arena, 0, size, arena.size_bytes)
    arena = _least_arena(plain)
    shown = images[: images_within(MOST_MACS, plain.model, MOST_IMAGES)]
    inputs = ClassifierFile(file).inputs(shown)
    with ExitStack() as stack:
        (reference, micro), _ = open_runtimes(
            stack, ("reference", TFLM), patience_seconds=MAX_SECONDS
        )
        answers, expected = _scores(micro, plain, inputs), _scores(reference, file, inputs)
        equal = int((answers == expected).all(axis=1).sum())
        found = Firmware(plain, arena, 0, size, arena.size_bytes, equal, len(inputs))
        kernels = worth_coding(plain.model) if tables else {}
        if not kernels:
            return found
        coded = with_tables(plain, kernels)
        coded_arena = _least_arena(coded)
        pays = size - len(coded.content) > coded_arena.size_bytes - arena.size_bytes
        if not pays or not np.array_equal(_scores(micro, coded, inputs), answers):
            return found
    return replace(found, flash=coded, arena=coded_arena, tables=len(kernels))


def _least_arena(file: File) -> Arena:
    return Arena(least_arena(file.content, arena_bytes(file.model)), is_estimate=False)


def _scores(runtime: Runtime, file: File, inputs: NDArray[Any]) -> NDArray[Any]:
    return runtime.run(file.content, inputs).outputs[0]
