"""Ends of a file: other numbers and probabilities, around integers that stay what they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgenets.export.measure.classifier import Classifier
from edgenets.export.write.inputs_outputs import set_ends
from edgenets.flatbuffer import File

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)


def with_ends(content: bytes, dtype: str | None = None, *, softmax: bool = False) -> Classifier:
    file = File(content)
    set_ends(file, dtype, softmax=softmax)
    return Classifier(file.content)


@pytest.mark.parametrize("softmax", [False, True])
def test_bytes_in_and_out_are_the_integers_of_the_int8_file(
    softmax: bool, colour_net: Callable[[int], bytes]
):
    plain = with_ends(colour_net(8), softmax=softmax)
    file = with_ends(colour_net(8), "uint8", softmax=softmax)
    np.testing.assert_array_equal(file.inputs(PIXELS), PIXELS)
    codes = file.outputs(PIXELS)
    assert codes.dtype == np.uint8 and len(np.unique(codes)) > 5
    np.testing.assert_array_equal(codes, plain.outputs(PIXELS).astype(int) + 128)
    np.testing.assert_array_equal(file.logits_of(codes), plain.logits(PIXELS))


def test_bytes_stand_for_the_values_of_the_int8_file(colour_net: Callable[[int], bytes]):
    file = File(colour_net(8))
    set_ends(file, "uint8", softmax=True)
    (image,), (scores,) = file.model.inputs, file.model.outputs
    assert [operator.name for operator in file.model.operators] == [
        *("QUANTIZE", "MEAN", "SOFTMAX", "QUANTIZE")
    ]
    assert image.scale[0] == np.float32(2 / 255) and image.zero_point[0] == 127  # -1 + 128
    assert scores.scale[0] == 1 / 256 and scores.zero_point[0] == 0


def test_a_files_own_ends_change_nothing(colour_net: Callable[[int], bytes]):
    file = File(colour_net(8))
    before = file.content
    set_ends(file, "int8")
    assert file.content is before
