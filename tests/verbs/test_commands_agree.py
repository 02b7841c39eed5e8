"""Commands and verbs have the same names, arguments and defaults."""

from __future__ import annotations

import inspect
from typing import Any

import click
import pytest

import edgenets as en
from edgenets.cli.main import LazyCommands, edgenets_command
from edgenets.models.registry import NETS

# Each command: its verbs; options that are about what is shown; and what is not alike, and why.
SERVICE = {"install_service", "units", "program", "device"}  # of the command alone
SHOWN = {"json", "all", "per_layer"}
ALIKE = {
    "list": (en.variants, set()),
    "run": (en.run, set()),
    "sweep": (en.sweep, set()),
    "train": (en.train, set()),
    "compress": (en.Model.compress, set()),
    # Those of a Keras file are arguments of `export_model`.
    "export": (en.Model.export, {"trust_source", "labels", "input_range", "fit", "resize"}),
    "inspect": (en.File.inspect, set()),
    "pack": (en.File.pack, set()),
    "unpack": (en.unpack, set()),
    "evaluate": (en.File.evaluate, set()),
    "predict": (en.File.predict, set()),
    "benchmark": (en.File.benchmark, set()),
    "verify": (en.File.verify, set()),
    # `Releases` has the keys; verbs of their own have the names of the options of `update`.
    "release init": (en.Releases.init, {"keys"}),
    "release publish": (en.Releases.publish, {"keys"}),
    "release yank": (en.Releases.yank, {"keys"}),
    "release rotate": (en.Releases.rotate, {"keys"}),
    "release renew": (en.Releases.renew, {"keys"}),
    "release list": (en.Releases.list, set()),
    "update": (en.update, {"confirm", "rollback", "status", "start", *SERVICE}),
}
WITHOUT_A_VERB = {"summary", "report", "doctor"}
REQUIRED = inspect.Parameter.empty


def options_of(command: str) -> dict[str, Any]:
    """The options of a command by the names that verbs have, and their defaults."""
    assert isinstance(edgenets_command, LazyCommands)
    name, *inner = command.split()
    found = edgenets_command.get_command(click.Context(edgenets_command), name)
    for each in inner:
        assert isinstance(found, click.Group)
        found = found.commands[each]
    assert found is not None
    options = {}
    for option in found.params:
        if isinstance(option, click.Option):
            name = max(option.opts, key=len).removeprefix("--").replace("-", "_")
            options[name] = REQUIRED if option.required else default_of(option)
    return options


def default_of(option: click.Option) -> Any:
    """What a command gets where the option is not given; of a repeatable one with one value, it."""
    default = option.to_info_dict()["default"]
    if default is None and option.multiple:
        return ()
    if isinstance(default, list | tuple) and len(default) == 1:
        return default[0]
    return default


def keywords_of(verb: Any) -> dict[str, Any]:
    """The arguments of a verb that have a command's option."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(verb).parameters.values()
    return {each.name: each.default for each in parameters if each.kind in kinds}


@pytest.mark.parametrize("command", ALIKE)
def test_options_and_arguments_have_the_same_names_and_defaults(command: str):
    verb, only_the_commands = ALIKE[command]
    options = {k: v for k, v in options_of(command).items() if k not in SHOWN | only_the_commands}
    arguments = keywords_of(verb)
    for positional in ("self", "name", "config", "package", "source", "file", "number", "role"):
        arguments.pop(positional, None)
    assert arguments.keys() == options.keys()
    for name, default in options.items():
        # A command must write to some place; a verb may return what it made.
        if name in ("out", "data") and default is REQUIRED:
            assert arguments[name] in (REQUIRED, None)
        else:
            assert arguments[name] == default, name


def test_a_model_evaluates_with_the_commands_arguments_that_are_not_a_files():
    arguments = keywords_of(en.Model.evaluate)
    options = options_of("evaluate")
    del arguments["self"]
    assert arguments == {name: options[name] for name in ("data", "split", "max_bytes")}


def test_models_of_others_are_exported_with_the_commands_arguments():
    options, arguments = options_of("export"), keywords_of(en.export_model)
    shared = options.keys() - SHOWN - {"keep_float"}  # which edgenets' own layers have
    assert arguments.keys() - {"model", "images"} == shared
    for name in shared - {"out", "labels"}:
        assert arguments[name] == options[name], name


def test_every_command_has_a_verb_or_is_named():
    from edgenets.cli.main import COMMANDS

    named = {command.split()[0] for command in ALIKE}
    assert named | WITHOUT_A_VERB == set(COMMANDS)


def test_no_argument_of_a_net_is_one_of_training():
    arguments = {name for net in NETS.values() for name in net.arguments}
    assert not arguments & inspect.signature(en.train).parameters.keys()
