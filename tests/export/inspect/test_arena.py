"""The activation arena: lifetimes and places, on graphs that can be followed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.export.inspect import arena
from edgenets.flatbuffer import Model, Operator, Tensor
from edgenets.flatbuffer.sizes import tensor_bytes


def tensor(size: int, data: np.ndarray | None = None, dtype: str = "int8") -> Tensor:
    none = np.zeros(0, np.float32)
    return Tensor("", (size,), (size,), dtype, none, none.astype(int), 0, False, 0, 0, data)


def model(sizes: list[int], steps: list[tuple[tuple[int, ...], tuple[int, ...]]], outputs) -> Model:
    """A graph of so many bytes per tensor; the first one is the input."""
    operators = tuple(Operator("ADD", 1, read, made) for read, made in steps)
    return Model(0, 1, tuple(map(tensor, sizes)), operators, (0,), outputs, {})


CHAIN = [((0,), (1,)), ((1,), (2,)), ((2,), (3,))]
RESIDUAL = [((0,), (1,)), ((1,), (2,)), ((2,), (3,)), ((1, 3), (4,))]


def test_in_a_chain_two_neighbours_are_there_at_once():
    chain = model([64, 640, 128, 64], CHAIN, (3,))
    assert arena.lifetimes(chain) == {0: (0, 3), 1: (0, 1), 2: (1, 2), 3: (2, 3)}
    # The input stays; then 640 and 128 side by side; the output where the 640 were.
    assert arena.arena_bytes(chain) == 64 + 640 + 128


def test_a_residual_is_kept_until_it_is_added():
    residual = model([64, 256, 256, 256, 64], RESIDUAL, (4,))
    assert arena.lifetimes(residual)[1] == (0, 3)
    assert arena.arena_bytes(residual) == 64 + 3 * 256


def test_where_the_file_places_tensors_its_places_count():
    placed = model([64, 5000, 64], [((0, 1), (2,))], (2,))  # the second is memory to work in

    def arena_bytes(*words: int) -> int:
        entry = {arena.OFFLINE_PLAN: np.array(words, "<i4").tobytes()}
        return arena.arena_bytes(placed._replace(metadata=entry))

    assert arena_bytes(1, 0, 3, 0, 0, 128) == 5000
    assert arena_bytes(1, 0, 3, -1, -1, -1) == 64 + 64
    assert arena_bytes(1, 0, 2, 0, 0) == arena_bytes(1) == 64 + 64  # of another graph; cut short


def test_tensors_begin_at_multiples_of_64_and_never_overlap_in_time():
    random = np.random.default_rng(0)
    sizes = [int(size) for size in random.integers(1, 5000, 40)]
    steps = [((i, int(random.integers(0, i + 1))), (i + 1,)) for i in range(39)]
    placed = arena.plan(model(sizes, steps, (39,)))
    assert len(placed) == 40
    for i, one in enumerate(placed):
        assert one.offset % 64 == 0
        for other in placed[:i]:
            at_once = one.first <= other.last and other.first <= one.last
            assert not at_once or other.end <= one.offset or one.end <= other.offset


def test_what_is_prepared_from_constants_is_not_in_the_arena():
    weight = tensor(8, np.zeros(8, np.int8))
    tensors = (tensor(64), weight, tensor(8, dtype="float32"), tensor(64))
    operators = (
        Operator("DEQUANTIZE", 1, (1,), (2,)),
        Operator("ADD", 1, (0, 2), (3,)),
    )
    net = Model(0, 1, tensors, operators, (0,), (3,), {})
    assert set(arena.lifetimes(net)) == {0, 3}


@pytest.mark.parametrize(
    "dtype, size_bytes",
    [("float32", 36), ("int4", 5), ("int8", 9), ("bfloat16", 18), ("string", 0)],
)
def test_a_tensor_takes_the_bits_of_its_type(dtype: str, size_bytes: int):
    assert tensor_bytes(tensor(9, dtype=dtype)) == size_bytes


def test_too_many_tensors_are_one_sentence():
    many = arena.MOST_TENSORS + 1
    steps = [((0,), tuple(range(1, many)))]
    with pytest.raises(EdgenetsError, match="computes 10001 tensors"):
        arena.plan(model([1] * many, steps, (many - 1,)))


@pytest.mark.parametrize(
    "name, scratch_bytes",
    [
        ("coral/deeplabv3_mnv2_dm05_pascal_quant.tflite", 0),
        ("coral/split_concat.tflite", 0),
        # im2col of the first convolution: 48 x 48 positions of 3 x 3 x 3 values
        ("mlperf_tiny/vww_96_int8.tflite", 25_344),
    ],
)
def test_interpreter_without_xnnpack_takes_the_plan_and_scratch_memory(
    shared_file, name: str, scratch_bytes: int
):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    path = shared_file(name)
    net = flatbuffer.read(path)
    interpreter = Interpreter(
        str(path),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    views = [interpreter.tensor(index)() for index in arena.lifetimes(net)]
    starts = [view.__array_interface__["data"][0] for view in views]
    ends = [start + view.nbytes for start, view in zip(starts, views, strict=True)]
    assert max(ends) - min(starts) == arena.arena_bytes(net) + scratch_bytes
