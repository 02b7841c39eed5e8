"""Size accounting, against sizes counted by hand and the authors' own file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgenets.errors import EdgenetsError
from edgenets.quantize.sizes.accounting import (
    DEEP_COMPRESSION,
    SQUEEZENET_FILE,
    STEPS,
    Bits,
    Coding,
    LayerWeights,
    account,
    leave_out_zeros,
    store_layer,
)

SPARSE = arrays.arrays(np.int8, st.integers(0, 200), elements=st.sampled_from([0, 0, 0, 0, 0, 7]))
CODES = arrays.arrays(
    np.int8, st.tuples(st.integers(1, 20), st.integers(1, 20)), elements=st.integers(-5, 5)
)
FILES = {"float_file_bytes": 1000, "file_bytes": 500, "stored_bytes": 100}


@given(SPARSE, st.integers(1, 5))
def test_zeros_left_out_come_back(kernel: np.ndarray, gap_bits: int):
    values, gaps = leave_out_zeros(kernel, gap_bits)
    assert ((gaps >= 0) & (gaps < 2**gap_bits)).all()
    restored = np.zeros_like(kernel)
    restored[np.cumsum(gaps + 1) - 1] = values
    np.testing.assert_array_equal(restored, kernel)


def test_a_gap_that_does_not_fit_is_bridged_by_fillers():
    kernel = np.zeros(30, np.int8)
    kernel[[7, 8, 25]] = 1
    # Figure 2 of Deep Compression counts in 3 bits from the last value: 8, 1, then 8 and 8 and 1.
    values, gaps = leave_out_zeros(kernel, gap_bits=3)
    assert (gaps + 1).tolist() == [8, 1, 8, 8, 1]
    assert values.tolist() == [1, 1, 0, 0, 1]


def test_sharing_without_zeros_saves_what_formula_1_of_the_paper_says():
    # Figure 3: 16 weights of b = 32 bits, k = 4 of them distinct: n b / (n log2(k) + k b) = 3.2.
    kernel = np.float32([2.0, -1.0, 1.5, 0.5] * 4).reshape(4, 4)
    bits = store_layer(LayerWeights("fc", kernel, biases=0), DEEP_COMPRESSION)["shared"].bits
    assert bits == Bits(values=16 * 2, codebook=4 * 32, header=32)
    assert 16 * 32 / (bits.values + bits.codebook) == 3.2


def test_each_step_of_a_dense_layer_is_as_counted_by_hand():
    kernel = np.zeros((200, 100), np.int8)
    kernel[:, 0], kernel[0, 1] = 5, -3
    stored = store_layer(LayerWeights("fc", kernel, biases=200, scales=200), DEEP_COMPRESSION)
    fillers = 199 * 3  # 98 zeros are before the second 5, 99 before each later one: 3 * 32 + 2 or 3
    entries = 201 + fillers
    assert [stored[step].entries for step in STEPS] == [20_000, entries, entries, entries]
    common = {"header": 32, "biases": 200 * 32}
    assert stored["float32"].bits == Bits(values=20_000 * 32, biases=200 * 32)
    assert stored["pruned"].bits == Bits(values=entries * 32, gaps=entries * 5, **common)
    shared = Bits(
        values=entries * 2,  # indices of -3, 0 and 5
        gaps=entries * 5,
        codebook=3 * 8,
        scales=200 * 32,
        **common,
    )
    assert stored["shared"].bits == shared
    assert stored["huffman"].bits == shared._replace(
        values=fillers * 1 + 200 * 2 + 1 * 2,  # 0, 5 and -3
        gaps=fillers * 1 + 198 * 2 + 2 * 3 + 1 * 3,  # 31 zeros, 3, none and 2
        code_lengths=(3 + 32) * 8,
    )


def test_a_convolution_s_gaps_have_8_bits():
    kernel = np.zeros((4, 256, 3, 3), np.float32)
    kernel[:, 0, 0, 0] = 0.5
    bits = store_layer(LayerWeights("conv", kernel, biases=0), DEEP_COMPRESSION)["pruned"].bits
    entries = 1 + 3 * (2303 // 256 + 1)  # after the first, 2303 zeros are before each
    assert bits == Bits(values=entries * 32, gaps=entries * 8, header=32)


def test_a_layer_that_has_few_zeros_is_stored_whole():
    kernel = np.int8([[1, -1, 1, -1, 1, -1, 1, 0]])
    stored = store_layer(LayerWeights("fc", kernel, biases=0, scales=1), DEEP_COMPRESSION)
    assert stored["shared"] == (8, Bits(values=8 * 2, codebook=3 * 8, scales=32, header=32))
    gapped = store_layer(LayerWeights("fc", kernel, biases=0, scales=1), Coding(may_be_whole=False))
    assert gapped["shared"] == (7, Bits(7 * 1, 7 * 5, codebook=2 * 8, scales=32, header=32))


def test_weights_that_are_all_different_have_no_codebook():
    kernel = np.random.default_rng(0).normal(size=(20, 30)).astype(np.float32)
    kernel[np.abs(kernel) < 1] = 0
    stored = store_layer(LayerWeights("fc", kernel, biases=0), DEEP_COMPRESSION)
    assert stored["shared"] == stored["pruned"]
    assert stored["huffman"].bits.values == 32 * stored["huffman"].entries


@pytest.mark.parametrize("dtype", [np.int8, np.float32])
def test_a_layer_of_zeros_takes_a_header_and_biases(dtype: type):
    stored = store_layer(LayerWeights("fc", np.zeros((3, 4), dtype), biases=3), DEEP_COMPRESSION)
    for step in STEPS[1:]:
        assert stored[step] == (0, Bits(header=32, biases=3 * 32))


@given(CODES, st.booleans())
def test_no_step_takes_more_than_the_one_before(codes: np.ndarray, is_float: bool):
    kernel = codes * np.float32(0.1) if is_float else codes
    layer = LayerWeights("fc", kernel, biases=4, scales=0 if is_float else 4)
    dense, *sizes = (
        stored.bits.size_bytes for stored in store_layer(layer, DEEP_COMPRESSION).values()
    )
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] <= dense + 4  # the header


def test_more_values_than_the_index_can_tell_apart_get_a_sentence():
    layer = LayerWeights("fc", np.arange(1, 18, dtype=np.int8)[np.newaxis], biases=0)
    with pytest.raises(EdgenetsError, match="fc has 17 values, which 4 bits cannot tell apart"):
        store_layer(layer, Coding(index_bits=4))


def test_rows_are_the_sums_of_the_layers_and_say_what_is_measured():
    random = np.random.default_rng(0)
    layers = [
        LayerWeights("conv", random.integers(-3, 4, (8, 4, 3, 3)).astype(np.int8), 8, 8),
        LayerWeights("fc", (random.random((10, 8)) < 0.1).astype(np.int8), 10, 10),
    ]
    accounting = account(layers, **FILES)
    rows = {row["name"]: row for row in accounting["rows"]}
    assert [rows[step]["kind"] for step in STEPS] == ["theoretical"] * 4
    files = [rows[name] for name in ("float32_tflite", "tflite", "stored")]
    assert [(row["kind"], row["size_bytes"], row["vs_float"]) for row in files] == [
        ("measured", 1000, 1),
        ("measured", 500, 2),
        ("measured", 100, 10),
    ]
    assert rows["stored"]["vs_alexnet"] == 240_000_000 / 100
    assert rows["float32"]["size_bytes"] == 4 * (8 * 4 * 9 + 8 + 80 + 10)
    for step in STEPS:
        row = rows[step]
        assert row["size_bytes"] == sum(row["parts"].values())
        assert row["vs_float"] == rows["float32"]["size_bytes"] / row["size_bytes"]
        assert row["parts"]["biases"] == 4 * 18
    for step, suffix in (("shared", ""), ("huffman", "_huffman")):
        sizes = [layer[f"size_bytes{suffix}"] for layer in accounting["layers"]]
        assert sum(sizes) == accounting["total"][f"size_bytes{suffix}"] == rows[step]["size_bytes"]
        assert accounting["total"][f"rate{suffix}"] == pytest.approx(1 / rows[step]["vs_float"])


def test_layers_are_told_in_the_columns_of_the_paper_s_tables():
    kernel = np.zeros((200, 100), np.int8)
    kernel[:, 0], kernel[0, 1] = 5, -3
    accounting = account([LayerWeights("fc", kernel, biases=200, scales=200)], **FILES)
    (layer,) = accounting["layers"]
    assert accounting["total"] == {**layer, "name": "total"}
    assert (layer["weights"], layer["nonzeros"], layer["biases"]) == (20_000, 201, 200)
    assert (layer["share"], layer["kept"], layer["distinct_values"]) == (1, 0.01005, 3)
    assert layer["entries"] == layer["entries_huffman"] == 798
    assert (layer["weight_bits"], layer["index_bits"]) == (2, 5)
    assert layer["weight_bits_huffman"] == (597 + 402) / 798
    assert layer["index_bits_huffman"] == (597 + 405) / 798
    assert layer["rate"] == (200 + 499 + 3 + 800 + 4 + 800) / (4 * 20_200)  # rounded up to bytes


@pytest.mark.slow
def test_the_authors_file_of_squeezenet_has_the_size_of_its_shared_row(shared_data: Path):
    from edgenets.models.registry import create
    from edgenets.models.weights.convolutions import slots
    from edgenets.models.weights.deep_compression import decode_layers

    path = shared_data / "squeezenet_deep_compression.net"
    content = path.read_bytes()
    shapes = {slot.layer.name: slot.kernel_shape for slot in slots(create("squeezenet"))}
    layers = [
        LayerWeights(layer.name, layer.kernel.transpose(3, 2, 0, 1), layer.bias.size)
        for layer in decode_layers(content, shapes, path)
    ]
    files = {"float_file_bytes": 1, "file_bytes": len(content), "stored_bytes": 1}
    accounting = account(layers, **files, coding=SQUEEZENET_FILE)
    rows = {row["name"]: row for row in accounting["rows"]}
    assert rows["shared"]["size_bytes"] == len(content) == 675_763
    assert rows["shared"]["parts"] == {
        "values": 422_083,  # indices of one byte, fillers included
        "gaps": 211_048,  # two in a byte, filled up in each layer
        "codebook": 26 * 256 * 4,
        "scales": 0,
        "code_lengths": 0,
        "header": 26 * 4,
        "biases": 3_976 * 4,
    }


def test_a_file_that_was_not_packed_has_no_row_of_what_is_stored():
    layers = [LayerWeights("a", np.int8([[1, 0, 2]]), 1, 1)]
    rows = account(layers, **{**FILES, "stored_bytes": None})["rows"]
    assert [row["name"] for row in rows][-2:] == ["float32_tflite", "tflite"]
