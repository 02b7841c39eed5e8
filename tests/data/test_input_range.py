from __future__ import annotations

import numpy as np
import pytest

from edgenets import flatbuffer
from edgenets.data.input_range import (
    CENTRED,
    ENTRY,
    TFLITE_METADATA,
    input_codes,
    input_range_of,
)
from edgenets.data.pixels import to_int8, to_network
from edgenets.errors import EdgenetsError
from edgenets.export.metadata import Table, _encode, standard_entry

LEVELS = np.arange(256, dtype=np.uint8)


def image_of(dtype, scale=None, zero_point=None):
    quantized = [] if scale is None else [scale]
    return flatbuffer.Tensor(
        name="image",
        shape=(1, 8, 8, 3),
        shape_signature=(1, 8, 8, 3),
        dtype=dtype,
        scale=np.float32(quantized),
        zero_point=np.int64([] if zero_point is None else [zero_point]),
        axis=0,
        offset=0,
        size_bytes=0,
        data=None,
        is_variable=False,
    )


def codes_of(*tensor, given=None, **metadata):
    image = image_of(*tensor)
    model = flatbuffer.Model(0, 1, (image,), (), (0,), (), metadata)
    return input_codes(image, input_range_of(model, "net.tflite", given))


def normalized(mean, std, units=1):
    """The standard metadata of an image that is normalized so, behind other process units."""
    options = Table({0: np.array(mean, np.float32), 1: np.array(std, np.float32)})
    other = [Table({0: np.uint8(2), 1: Table({})})] * (units - 1)  # a tokenizer, which has none
    image = Table({0: "image", 4: [*other, Table({0: np.uint8(1), 1: options})]})
    return _encode(Table({0: "net", 3: [Table({2: [image]})]}))


@pytest.mark.parametrize(
    "scale, low",
    [
        *((1 / 255, 0), (0.9 / 255 + 0.1 / 253, 0)),  # [0, 1], as calibrated on nearly white
        *((1, 0), (254 / 255, 0)),
        *((2 / 255, 127), (2 / 255, 128), (1 / 128, 128), (1 / 128, 127), (1.0005 * 2 / 255, 127)),
    ],
)
def test_an_8_bit_input_whose_codes_span_a_known_range_takes_the_byte(scale, low):
    np.testing.assert_array_equal(codes_of("uint8", scale, low), LEVELS)
    signed = codes_of("int8", scale, low - 128)
    assert signed.dtype == np.int8
    np.testing.assert_array_equal(signed, to_int8(LEVELS))


def test_the_bytes_of_an_8_bit_input_go_before_what_metadata_say():
    for entry in (normalized([0], [255]), standard_entry("net")):
        codes = codes_of("uint8", 1, 0, **{TFLITE_METADATA: entry})
        np.testing.assert_array_equal(codes, LEVELS)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_an_8_bit_input_of_another_span_is_asked_about_and_takes_the_nearest_codes(dtype):
    low = {"uint8": 0, "int8": -128}[dtype]
    tensor = (dtype, 4 / 255, low + 102)  # codes stand for -1.6 to 2.4
    with pytest.raises(
        EdgenetsError, match=rf" {dtype} input .*\(its codes stand for -1\.6 to 2\.4\)"
    ):
        codes_of(*tensor)
    codes = codes_of(*tensor, given=(0, 1)).astype(int) - low
    assert codes[[0, 255]].tolist() == [102, round(102 + 255 / 4)]
    per_channel = normalized([127.5, 127.5, 102], [127.5, 255, 63.75])
    codes = codes_of(*tensor, **{TFLITE_METADATA: per_channel})[[0, 255]].astype(int) - low
    steps = 255 / 4
    expected = 102 + np.array([[-1, -0.5, -1.6], [1, 0.5, 2.4]]) * steps
    np.testing.assert_array_equal(codes, np.floor(expected + 0.5))


def test_a_range_that_most_codes_lie_outside_of_is_refused():
    sentence = r"pixels from 0 to 255 are 2 of the values that .* codes stand for 0 to 1; pass the"
    with pytest.raises(EdgenetsError, match=sentence):
        codes_of("int8", 1 / 255, -128, given=(0, 255))
    with pytest.raises(EdgenetsError, match="pixels from 0 to 1 are 2 of the values"):
        codes_of("int16", 1.0, 0, given=(0, 1))


def test_a_float_input_takes_what_the_metadata_say_for_all_channels_or_each():
    for units in (1, 2):
        codes = codes_of("float32", **{TFLITE_METADATA: normalized([0], [255], units)})
        assert codes.dtype == np.float32
        np.testing.assert_allclose(codes, LEVELS / 255, atol=1e-7)
    mean, std = np.float32([123.675, 116.28, 103.53]), np.float32([58.395, 57.12, 57.375])
    codes = codes_of("float32", **{TFLITE_METADATA: normalized(mean, std)})
    np.testing.assert_allclose(codes, (LEVELS[:, np.newaxis] - mean) / std, rtol=1e-6)


def test_a_file_of_edgenets_takes_minus_1_to_1_as_it_was_trained():
    for entries in ({ENTRY: b"{}"}, {TFLITE_METADATA: standard_entry("net")}):
        np.testing.assert_array_equal(codes_of("float32", **entries), to_network(LEVELS))
    sixteen = codes_of("int16", 1 / 32767, 0, **{ENTRY: b"{}"})
    assert sixteen[[0, 64, 128, 255]].tolist() == [-32767, -16319, 128, 32767]


def test_what_the_user_says_goes_before_the_file():
    codes = codes_of("float32", given=(0, 255), **{ENTRY: b"{}"})
    np.testing.assert_array_equal(codes, LEVELS)
    codes = codes_of("float32", given=([0, 0, 0], [1, 2, 3]))
    np.testing.assert_array_equal(codes[255], [1, 2, 3])
    np.testing.assert_array_equal(codes_of("int8", 2 / 255, -1, given=CENTRED), to_int8(LEVELS))


@pytest.mark.parametrize("entries", [{}, {TFLITE_METADATA: normalized([], [])}])
def test_nothing_is_guessed(entries):
    with pytest.raises(EdgenetsError) as raised:
        codes_of("float32", **entries)
    assert str(raised.value) == (
        "net.tflite does not say which values its float32 input takes for black and for white; "
        "pass those of its training as --input-range, such as 0..1 or -1..1 (in Python: "
        "input_range=(0, 1))"
    )


@pytest.mark.parametrize(
    "given",
    [
        (0, 0),
        (0, float("nan")),
        (0, "white"),
        ([0, 0], [1, 1]),
        ([[0]], [[1]]),
        (None, 1),
        (0, 1, 2),
        1,
    ],
)
def test_what_is_no_range_is_one_sentence(given):
    with pytest.raises(EdgenetsError, match=r"^an input range is .* pass for example \(0, 1\)$"):
        codes_of("float32", given=given)


@pytest.mark.parametrize(
    "entry, sentence",
    [
        (normalized([0], [0]), "divides pixels by 0"),
        (normalized([0], [255])[:60], "is damaged"),
        (b"", "is damaged"),
        (normalized([np.nan], [255]), "an input range is"),
    ],
)
def test_damaged_metadata_are_one_sentence(entry, sentence):
    with pytest.raises(EdgenetsError, match=sentence):
        codes_of("float32", **{TFLITE_METADATA: entry})


def test_shared_files_take_what_their_makers_trained_them_with(shared_data):
    for name, black, white in (
        ("mlperf_tiny/pretrainedResnet_quant.tflite", 0, 255),
        ("mlperf_tiny/vww_96_int8.tflite", 0, 1),
        ("coral/mobilenet_v1_0.25_128_quant.tflite", -1, 127 / 128),
    ):
        model = flatbuffer.read(shared_data / name)
        found = input_range_of(model)
        np.testing.assert_allclose([*found.black, *found.white], [black, white], atol=1e-6)
        low = 0 if model.inputs[0].dtype == "uint8" else 128
        codes = input_codes(model.inputs[0], found).astype(int) + low
        np.testing.assert_array_equal(codes, LEVELS)
