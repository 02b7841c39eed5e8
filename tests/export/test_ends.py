"""The ends of files, and what is said of the programs that they are for."""

from __future__ import annotations

import doctest
from typing import Any

import pytest

from edgenets.data.images import FITS, Preparation
from edgenets.errors import EdgenetsError
from edgenets.export import ends
from edgenets.export.ends import CLIENTS, ENDS, choose_ends
from edgenets.export.formats import FORMATS


@pytest.mark.parametrize(
    "asked, number_format, dtype",
    [
        ({"ends": None}, "int8", "int8"),
        ({"ends": None}, "int16x8", "int16"),
        ({"ends": "uint8"}, "int8", "uint8"),
        ({"ends": "float"}, "int16x8", "float32"),
        ({"ends": None, "float_ends": True}, "int8", "float32"),
        ({"ends": "float", "float_ends": True}, "fp16", "float32"),
        ({"ends": None, "client": "mediapipe"}, "int8", "uint8"),
        ({"ends": "float", "client": "mediapipe"}, "int8", "float32"),
        ({"ends": None, "client": "mediapipe"}, "int16x8", "float32"),
        ({"ends": None, "client": "mediapipe"}, "dynamic", "float32"),
    ],
)
def test_ends_are_those_asked_for_or_the_clients_or_the_formats(
    asked: dict[str, Any], number_format: str, dtype: str
):
    assert choose_ends(**asked).dtype(FORMATS[number_format]) == dtype


@pytest.mark.parametrize(
    "asked, sentence",
    [
        ({"ends": "uint"}, r"unknown ends 'uint'; did you mean uint8\?"),
        ({"ends": None, "client": "mediapip"}, r"did you mean mediapipe\?"),
        ({"ends": "uint8", "float_ends": True}, "--float-ends is --ends float, and --ends uint8"),
        (
            {"ends": "int8", "client": "mediapipe"},
            "takes files with --ends uint8 or float, not int8; leave --ends",
        ),
        ({"ends": "uint8", "number_format": "fp32"}, "of int8 files, not of fp32"),
        ({"ends": "int8", "number_format": "int16x8"}, "of int8 files, not of int16x8"),
    ],
)
def test_ends_that_cannot_be_are_one_sentence(asked: dict[str, Any], sentence: str):
    asked = dict(asked)
    number_format = FORMATS[asked.pop("number_format", "int8")]
    with pytest.raises(EdgenetsError, match=sentence) as told:
        choose_ends(**asked).dtype(number_format)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("fit", FITS)
def test_a_client_that_prepares_otherwise_is_named_with_what_to_do(fit: Any):
    note = choose_ends(None, client="mediapipe").note(Preparation(96, 96, fit))
    if fit == "stretch":
        assert not note
    else:
        assert f"prepared with fit {fit}" in note and "train it with --fit stretch, or" in note
    assert not choose_ends("uint8").note(Preparation(96, 96, fit))


def test_every_client_takes_known_ends_and_has_a_known_fit():
    for name, row in CLIENTS.items():
        assert row.name == name and row.ends and set(row.ends) <= set(ENDS) and row.fit in FITS
        assert "float" in row.ends  # which every format can have


def test_docstring_examples_are_right():
    assert doctest.testmod(ends).failed == 0
