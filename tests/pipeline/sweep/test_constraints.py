import pytest

from edgenets.errors import EdgenetsError
from edgenets.pipeline.sweep.constraints import broken, parse_constraint
from edgenets.pipeline.sweep.counting import MADE_SMALLER
from edgenets.quantize.recipe import STAGE_SETTINGS

TARGETS = ("rpi4", "ethos-u55-128")


@pytest.mark.parametrize(
    "text, key, target, most",
    [
        ("stored <= 100KB", "stored_bytes", None, 100_000),
        ("instructions on rpi4 <= 20M", "instructions", "rpi4", 20_000_000),
        ("cycles on ethos-u55-128 <= 300k", "cycles", "ethos-u55-128", 300_000),
        ("arena<=256KiB", "arena_bytes", None, 256 * 1024),
        ("top1 drop <= 1", "top1_drop", None, 1.0),
    ],
)
def test_constraints_of_the_guide_are_read(text, key, target, most):
    constraint = parse_constraint(text, TARGETS)
    assert (constraint.figure.key, constraint.target, constraint.most) == (key, target, most)


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("weight <= 1", "unknown figure 'weight'"),
        ("instruction <= 1M", "did you mean instructions?"),
        ("stored < 100KB", "must read FIGURE [on TARGET] <= NUMBER"),
        ("stored <= small", "must end in a number such as in 'stored <= 100KB'"),
        ("top1 drop <= 101", "got '101'"),
        ("stored on coral <= 1MB", "coral, for which no file is made"),
        ("cycles on rpi4 <= 1M", "cycles are known for ethos-u55-128"),
    ],
)
def test_a_constraint_that_is_none_is_told(text, sentence):
    with pytest.raises(EdgenetsError, match=sentence.replace("[", r"\[").replace("]", r"\]")):
        parse_constraint(text, TARGETS)


def test_figures_are_bounds_of_stages_that_the_untrained_file_has_not_gone_through():
    gone_through = {"prune", "share", "qat", "int8"}
    assert MADE_SMALLER.keys() == STAGE_SETTINGS.keys() - gone_through - {"fp16"}  # no float files


def test_a_constraint_of_a_target_bounds_its_rows_alone_and_nothing_that_is_not_known():
    bounds = [parse_constraint("stored on rpi4 <= 1KB", TARGETS)]
    assert broken(bounds, {"target": "rpi4", "stored_bytes": 1001}) == ["stored on rpi4 <= 1KB"]
    assert not broken(bounds, {"target": "rpi4", "stored_bytes": 1000})
    assert not broken(bounds, {"target": "ethos-u55-128", "stored_bytes": 1001})
    assert not broken(bounds, {"target": "rpi4"})
    row = {"target": "rpi4", "stored_bytes": 1001, "at_most": ["stored_bytes"]}
    assert not broken(bounds, row)  # what the recipe makes smaller yet
