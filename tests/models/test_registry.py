from __future__ import annotations

import pytest

from edgenets.errors import EdgenetsError
from edgenets.models.registry import complete_arguments


def test_defaults_are_completed():
    complete = complete_arguments("mobilenet_v1", {})
    assert complete == {"resolution": 224, "classes": 1000, "width": 1.0, "output_stride": 32}


def test_words_of_a_command_line_get_the_argument_s_type():
    complete = complete_arguments("mobilenet_v1", {"width": "0.5", "classes": "7"})
    assert (complete["width"], complete["classes"]) == (0.5, 7)


def test_whole_number_is_accepted_where_a_fraction_may_stand():
    assert complete_arguments("mobilenet_v1", {"width": 1})["width"] == 1.0


@pytest.mark.parametrize(
    "name, arguments, message",
    [
        ("mobilnet_v1", {}, "unknown model 'mobilnet_v1'; did you mean mobilenet_v1?"),
        ("mobilenet_v1", {"widht": 1}, "did you mean width?"),
        ("mobilenet_v1", {"width": "wide"}, "width of mobilenet_v1 must be a number, got 'wide'"),
        ("mobilenet_v1", {"classes": 2.5}, "classes of mobilenet_v1 must be a whole number"),
        ("mobilenet_v1", {"classes": True}, "classes of mobilenet_v1 must be a whole number"),
        ("mobilenet_v1", {"classes": 0}, "classes of mobilenet_v1 must be at least 1, got 0"),
        ("mobilenet_v1", {"width": float("nan")}, "width of mobilenet_v1 must be above 0"),
        ("mobilenet_v1", {"output_stride": 12}, "output_stride must be 32, 16, 8 or 4, got 12"),
        ("mobilenet_v1", {"resolution": 16}, "smaller output_stride"),
    ],
)
def test_what_does_not_fit_gets_a_sentence(name: str, arguments: dict, message: str):
    with pytest.raises(EdgenetsError) as raised:
        complete_arguments(name, arguments)
    assert message in str(raised.value)


def test_too_narrow_a_net_gets_a_sentence():
    from edgenets.models.registry import create

    with pytest.raises(EdgenetsError, match="pass a larger width"):
        create("mobilenet_v1", width=0.001)
