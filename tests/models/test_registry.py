from __future__ import annotations

import importlib
import inspect

import pytest

from edgenets.errors import EdgenetsError
from edgenets.models.registry import NETS, complete_arguments, create


def test_defaults_are_completed():
    complete = complete_arguments("mobilenet_v2", {})
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
        ("squeezenet", {"version": True}, "version of squeezenet must be a word, got True"),
        ("alexnet", {"output_stride": 8}, "unknown argument of alexnet 'output_stride'"),
        ("shufflenet_v1", {"scale": 0}, "scale of shufflenet_v1 must be above 0"),
    ],
)
def test_what_does_not_fit_gets_a_sentence(name: str, arguments: dict, message: str):
    with pytest.raises(EdgenetsError) as raised:
        complete_arguments(name, arguments)
    assert message in str(raised.value)


def test_number_is_accepted_where_a_version_stands():
    # YAML and the command line's --set read 1.0 as a number.
    for version in ("1.0", 1.0):
        assert complete_arguments("squeezenet", {"version": version})["version"] == "1.0"


def test_truth_is_read_in_any_case():
    for word in ("true", "True", True):
        complete = complete_arguments("mobilenet_v3_small", {"minimalistic": word})
        assert complete["minimalistic"] is True


@pytest.mark.parametrize("name", NETS)
def test_arguments_and_defaults_are_those_of_the_builder(name: str):
    module = importlib.import_module(f"edgenets.models.{NETS[name].module}")
    parameters = inspect.signature(getattr(module, name)).parameters
    assert {key: value.default for key, value in parameters.items()} == NETS[name].arguments


def test_too_narrow_a_net_gets_a_sentence():
    with pytest.raises(EdgenetsError, match="pass a larger width"):
        create("mobilenet_v1", width=0.001)
