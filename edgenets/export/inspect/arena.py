"""How much memory the activations of a `.tflite` file take, planned from how long each is needed.

An activation occupies the arena from the operator that computes it to the last one that reads it;
two that are needed at different times may lie at the same place. Inputs, outputs and states are
kept from beginning to end, so that a caller can read and fill them between runs. As TFLite's
ArenaPlanner does, tensors are placed from the largest to the smallest, each into the tightest gap
that is free for all of its time, at multiples of 64 bytes.

What an interpreter takes differs: its own kernels may ask for scratch memory (im2col), it lets some
operators write over their input, and XNNPACK plans what lies inside its partitions itself, with
other alignment. docs/evidence/inspect.md has both figures side by side. A size that may vary counts
as in the file, which is 1. Of a file that Vela compiled, the memory that its operators work in is
placed by the file itself.

Source: tensorflow/lite/arena_planner.cc and simple_memory_arena.cc; for places in the file
tensorflow/lite/micro/micro_allocation_info.cc of tflite-micro.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.flatbuffer.extract import preparing_operators
from edgenets.flatbuffer.sizes import tensor_bytes

ALIGNMENT = 64
MOST_TENSORS = 10_000
"""The plan's effort grows with their square."""
OFFLINE_PLAN = "OfflineMemoryAllocation"
"""Metadata of int32: a version, one word more, how many tensors, and the offset of each or -1."""


class Placed(NamedTuple):
    """An activation in the arena."""

    tensor: int
    first: int  # operator that it must be there for, by index
    last: int
    offset: int
    size_bytes: int

    @property
    def end(self) -> int:
        """Where the memory behind it begins."""
        return self.offset + self.size_bytes


def plan(model: flatbuffer.Model) -> tuple[Placed, ...]:
    """Return every activation's place, by offset.

    Raises:
        EdgenetsError: the model has too many tensors.

    Source: ArenaPlanner::PlanAllocations and SimpleMemoryArena::Allocate.
    """
    lives = lifetimes(model)
    if len(lives) > MOST_TENSORS:
        raise EdgenetsError(
            f"the model computes {len(lives)} tensors; the arena of up to {MOST_TENSORS} is "
            "planned: check the file"
        )
    whole = (0, len(model.operators))
    sizes = {tensor: tensor_bytes(model.tensors[tensor]) for tensor in lives}
    placed: list[Placed] = []
    for tensor in sorted(
        lives,
        key=lambda t: (lives[t] != whole, -sizes[t] if lives[t] != whole else 0, lives[t][0], t),
    ):
        first, last = lives[tensor]
        offset = _tightest_gap(
            [other for other in placed if other.last >= first and other.first <= last],
            sizes[tensor],
        )
        placed.append(Placed(tensor, first, last, offset, sizes[tensor]))
        placed.sort(key=lambda other: other.offset)
    return tuple(placed)


def arena_bytes(model: flatbuffer.Model) -> int:
    """Return the size of the arena that holds all activations."""
    ends = [one.end for one in plan(model)]
    return max([*ends, *_ends_in_file(model)], default=0)


def _ends_in_file(model: flatbuffer.Model) -> list[int]:
    """Return where the tensors end that the file itself places; none if it places none of its."""
    content = model.metadata.get(OFFLINE_PLAN, b"")
    words = np.frombuffer(content[: len(content) // 4 * 4], "<i4").tolist()
    offsets = words[3:]
    if words[2:3] != [len(model.tensors)] or len(offsets) != len(model.tensors):
        return []
    placed = zip(offsets, model.tensors, strict=True)
    return [offset + tensor_bytes(tensor) for offset, tensor in placed if offset >= 0]


def lifetimes(model: flatbuffer.Model) -> dict[int, tuple[int, int]]:
    """Return the first and the last operator that each activation must be there for, by tensor.

    The number of operators stands for the end: what is read after the last one.
    """
    end = len(model.operators)
    preparing = preparing_operators(model)
    prepared = {t for i in preparing for t in model.operators[i].outputs}
    kept = {t for t in model.input_indices if not model.tensors[t].is_constant}
    kept |= {i for i, tensor in enumerate(model.tensors) if tensor.is_variable}
    first = dict.fromkeys(kept, 0)
    last = dict.fromkeys(kept, end)
    for i, operator in enumerate(model.operators):
        for tensor in operator.inputs:
            if tensor in first and tensor not in kept:
                last[tensor] = i
        for tensor in operator.outputs:
            if tensor not in prepared and not model.tensors[tensor].is_constant:
                first.setdefault(tensor, i)
    last |= {tensor: end for tensor in model.output_indices if tensor in first}
    return {tensor: (start, last.get(tensor, end)) for tensor, start in first.items()}


def _tightest_gap(neighbours: list[Placed], size_bytes: int) -> int:
    """Return the offset of the smallest gap among those that are there at the same time."""
    best, tightest = None, None
    free = 0
    for other in neighbours:
        start = _aligned(free)
        gap = other.offset - start
        if gap >= size_bytes and (tightest is None or gap < tightest):
            best, tightest = start, gap
        free = max(free, other.end)
    return _aligned(free) if best is None else best


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT
