"""Packages of changes: exact, never much larger than full ones, and of their base alone."""

from __future__ import annotations

import tracemalloc
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgenets.errors import EdgenetsError
from edgenets.files import sha256_bytes
from edgenets.quantize.package.delta import refer
from edgenets.quantize.package.epk import base_sha256, pack, unpack
from edgenets.quantize.package.find import find_ranges
from edgenets.quantize.package.header import CRC_FROM
from edgenets.quantize.package.ranges import COPY, FLOATS_BY_ROW, INTEGERS, WEIGHTS_BY_ROW

RANDOM = np.random.default_rng(0)
KERNEL = RANDOM.normal(0, 20, (40, 64)).round().clip(-127, 127).astype(np.int8)


def tuned(kernel: np.ndarray, share: float) -> np.ndarray:
    """Return the kernel with so many codes one larger or smaller."""
    steps = np.where(RANDOM.random(kernel.shape) < share, RANDOM.choice([-1, 1], kernel.shape), 0)
    return (kernel + steps).clip(-127, 127).astype(kernel.dtype)


def kinds(new: bytes, old: bytes) -> list[tuple[int, bool]]:
    """Return the kinds of ranges that changes are made of, and whether they refer to the base."""
    found, in_base = (find_ranges(each, scales=True) for each in (new, old))
    data, base = (np.frombuffer(each, np.uint8) for each in (new, old))
    return [(each.kind, each.reference > 0) for each in refer(found, data, in_base, base)]


@given(
    share=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
    unsigned=st.booleans(),
    other=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=20, deadline=None)
def test_any_changes_come_back_in_little_more_than_a_full_package(
    dense_file: Callable[..., bytes], share: float, unsigned: bool, other: bool, seed: int
):
    random = np.random.default_rng(seed)
    shape = (int(random.integers(4, 30)), int(random.integers(20, 60)))
    kernel = random.integers(-127, 127, shape).astype(np.int8)
    changed = tuned(kernel[1:] if other else kernel, share)
    if unsigned:
        kernel, changed = (each.view(np.uint8) + np.uint8(128) for each in (kernel, changed))
    files = [dense_file(each, zero_point=128 * unsigned) for each in (changed, kernel)]
    package = pack(files[0], base=files[1])
    assert unpack(package, base=files[1]) == files[0]
    assert len(package) <= len(pack(files[0])) + 100


@pytest.mark.parametrize("new, old", [(b"", b"old"), (b"new", b"x" * 3000), (b"n" * 3000, b"o")])
def test_files_that_are_no_models_have_changes_too(new: bytes, old: bytes):
    package = pack(new, base=old)
    assert unpack(package, base=old) == new
    assert len(package) <= len(pack(new)) + 100


def test_few_changed_codes_take_little(dense_file: Callable[..., bytes]):
    old, new = dense_file(KERNEL), dense_file(tuned(KERNEL, 0.02))
    assert (WEIGHTS_BY_ROW, True) in kinds(new, old)
    assert len(pack(new, base=old)) < 0.25 * len(pack(new))
    assert len(pack(old, base=old)) < 130  # it is copied


def test_weights_of_no_likeness_are_coded_as_they_are(dense_file: Callable[..., bytes]):
    old = dense_file(KERNEL)
    new = dense_file(np.random.default_rng(1).permutation(KERNEL.ravel()).reshape(40, 64))
    assert (WEIGHTS_BY_ROW, False) in kinds(new, old)
    assert len(pack(new, base=old)) <= len(pack(new)) + 100


def test_kernels_are_found_in_the_base_wherever_they_are(dense_file: Callable[..., bytes]):
    old, new = dense_file(KERNEL), dense_file(tuned(KERNEL, 0.02), extremes=True)
    assert (WEIGHTS_BY_ROW, True) in kinds(new, old)
    package = pack(new, base=old)
    assert unpack(package, base=old) == new
    assert len(package) < 0.5 * len(pack(new))


def test_floats_that_changed_little_are_differences(dense_file: Callable[..., bytes]):
    kernel = RANDOM.normal(0, 1, (20, 64)).astype(np.float32)
    nearly = kernel * np.float32(1.00001)
    new, old = dense_file(nearly), dense_file(kernel)
    assert (INTEGERS, True) in kinds(new, old)
    assert (FLOATS_BY_ROW, False) in kinds(dense_file(nearly[::-1].copy()), old)
    package = pack(new, base=old)
    assert unpack(package, base=old) == new
    assert len(package) < 0.5 * len(pack(new))


def test_what_did_not_change_is_copied(dense_file: Callable[..., bytes]):
    old = dense_file(KERNEL)
    for new in (old, old + b"more"):
        assert kinds(new, old) == [(COPY, True)]
        assert unpack(pack(new, base=old), base=old) == new


def test_base_of_a_package_is_named_and_checked(dense_file: Callable[..., bytes]):
    old, new = dense_file(KERNEL), dense_file(tuned(KERNEL, 0.02))
    full, package = pack(new), pack(new, base=old)
    assert (base_sha256(full), base_sha256(package)) == (None, sha256_bytes(old))
    for wrong, base, sentence in (
        (package, None, f"whose SHA-256 is {base_sha256(package)}"),
        (package, new, f"whose SHA-256 is {base_sha256(package)}, the one"),
        (package, b"", f"whose SHA-256 is {base_sha256(package)}, the one"),
        (full, old, "without --base"),
    ):
        with pytest.raises(EdgenetsError, match=sentence):
            unpack(wrong, base)
    with pytest.raises(EdgenetsError, match="must not be empty"):
        pack(new, base=b"")
    with pytest.raises(EdgenetsError, match="damaged"):
        base_sha256(package[:-1])


def test_damage_behind_a_right_check_sum_gives_no_wrong_file(dense_file: Callable[..., bytes]):
    old, new = dense_file(KERNEL), dense_file(tuned(KERNEL, 0.1))
    package = pack(new, base=old)
    for at in range(CRC_FROM, len(package), 11):
        damaged = bytearray(package)
        damaged[at] ^= 1 << (at % 8)
        covered = bytes(damaged[CRC_FROM:])
        crc = zlib.crc32(covered).to_bytes(4, "little")
        tracemalloc.start()
        try:
            assert unpack(package[: CRC_FROM - 4] + crc + covered, old) == new
        except EdgenetsError as error:
            assert "damaged" in str(error) or "base" in str(error)
        assert tracemalloc.get_traced_memory()[1] < 1 << 21
        tracemalloc.stop()
