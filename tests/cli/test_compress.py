"""What `edgenets compress` says of its options before any work."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from edgenets.cli.budget import print_choice
from edgenets.cli.main import edgenets_command
from edgenets.errors import ArgumentError
from edgenets.models.weights.sources import PRETRAINED
from edgenets.pipeline.config_file import load_recipe
from edgenets.units import parse_bytes
from edgenets.verbs.compressing import with_budget

NET = PRETRAINED / "cifar10_mobilenet_v1"


def complaint(*options: str) -> str:
    """Return what a wrong use of `compress` is told."""
    arguments = ["compress", "net", "--data", "digits", "--out", "new", *options]
    with pytest.raises(click.UsageError) as raised:
        edgenets_command.main(arguments, standalone_mode=False)
    sentence = raised.value.format_message()
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize("size", ["0", "0.4", "-5", "300XB", "", "KB", "1e3", "nan", "3 0 KB"])
def test_budget_must_be_a_size(size: str):
    expected = f"expected a size of at least one byte, such as 300KB or 1.5MiB, got {size!r}"
    assert expected in complaint("--budget", size)


@pytest.mark.parametrize("points", ["-1", "101", "nan", "inf", "1%", ""])
def test_largest_loss_must_be_points(points: str):
    expected = f"expected points from 0 to 100, such as 1.0, got {points!r}"
    assert expected in complaint("--max-drop", points)


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--recipe", "int8", "--max-drop", "1"),
        ("--budget", "300KB", "--max-drop", "1"),
        ("--near", "models/old", "--budget", "300KB"),
        ("--budget-cycles", "9", "--budget-flash", "1KB", "--target", "ethos-u55-128"),
    ],
)
def test_one_of_recipe_budget_and_loss_must_be_given(options: tuple[str, ...]):
    assert complaint(*options) == (
        "pass one of --recipe, --budget, --budget-cycles, --budget-flash, --max-drop and --near; "
        "a recipe that ends in rate may have one of the budgets"
    )


@pytest.mark.parametrize(
    "options",
    [
        ("--budget-cycles", "300000"),
        ("--budget-flash", "100KB"),
        ("--recipe", "rate", "--budget-cycles", "300000"),
    ],
)
def test_budget_of_an_npu_needs_its_target(options: tuple[str, ...]):
    sentence = "--budget-cycles and --budget-flash need --target, one of ethos-u55-128, "
    assert complaint(*options).startswith(sentence)


def test_budget_of_bytes_has_no_target():
    sentence = complaint("--budget", "100KB", "--target", "ethos-u55-128")
    assert sentence.startswith("--target goes with --budget-cycles or --budget-flash")


@pytest.mark.parametrize(
    "options",
    [
        ("--speedup", "2", "--max-instructions", "9"),
        ("--speedup", "2", "--budget", "300KB"),
        ("--max-instructions", "9", "--max-drop", "1"),
    ],
)
def test_a_speedup_goes_with_a_recipe_alone(options: tuple[str, ...]):
    assert complaint(*options, "--target", "rpi5").startswith(
        "pass one of --speedup and --max-instructions"
    )


@pytest.mark.parametrize(
    "options, message",
    [
        (("--speedup", "2"), "--speedup needs --target: rpi3, rpi4 or rpi5"),
        (("--max-instructions", "9"), "--max-instructions needs --target: rpi3, rpi4 or rpi5"),
        (("--recipe", "int8", "--target", "rpi5"), "--target goes with"),
        (("--speedup", "1", "--target", "rpi5"), "1.0 is not in the range x>1"),
    ],
)
def test_a_speedup_has_a_target_and_is_one(options: tuple[str, ...], message: str):
    assert message in complaint(*options)


@pytest.mark.parametrize(
    "options, message",
    [
        (
            ("--recipe", "int8", "--for", "speed"),
            "--objective, --tries and --hours go with",
        ),
        (
            ("--budget", "9KB", "--tries", "3"),
            "--objective, --tries and --hours go with",
        ),
        (
            ("--max-drop", "1", "--for", "speed"),
            "--max-drop with --objective speed needs --target: rpi3, rpi4 or rpi5",
        ),
        (
            ("--max-drop", "1", "--target", "ethos-u55-128"),
            "one of rpi3, rpi4, rpi5, whose instructions are estimated, got 'ethos-u55-128'",
        ),
        (("--max-drop", "1", "--target", "coral"), "'coral' is not one of"),
        (("--max-drop", "1", "--for", "fun"), "'fun' is not one of 'size', 'speed'"),
        (
            ("--recipe", "int8", "--hours", "3"),
            "--objective, --tries and --hours go with",
        ),
        (("--max-drop", "1", "--tries", "0"), "0 is not in the range x>=1"),
    ],
)
def test_a_search_within_a_loss_is_for_something_that_is_known(options, message: str):
    assert message in complaint(*options)


def test_epochs_of_a_recipe_are_its_own():
    sentence = complaint("--recipe", "int8", "--epochs", "2")
    assert "a recipe has its own: write a recipe file (YAML) with `epochs:` in each" in sentence


@pytest.mark.parametrize(
    "text, size_bytes",
    [("300KB", 300_000), ("300 kb", 300_000), ("2MiB", 2 * 2**20), ("0.5MB", 500_000), ("7", 7)],
)
def test_sizes_are_decimal_but_for_binary_units(text: str, size_bytes: int):
    assert parse_bytes(text) == size_bytes


OF_CYCLES = ("--budget-cycles", "300000", "--target", "ethos-u55-128")
OF_BYTES = ("--budget", "300KB")


@pytest.mark.parametrize(
    "recipe, budget",
    [
        *((recipe, OF_CYCLES) for recipe in ("int8", "smallest", "- {stage: rate, max_kl: 0.1}")),
        *((recipe, OF_BYTES) for recipe in ("int8", "- {stage: rate, max_kl: 0.1}")),
    ],
)
def test_of_recipes_only_rate_without_a_goal_has_a_budget(
    recipe: str, budget: tuple[str, ...], tmp_path: Path, image_folder: Path
):
    if recipe.startswith("-"):
        (tmp_path / "recipe.yaml").write_text(recipe)
        recipe = str(tmp_path / "recipe.yaml")
    options = (*budget, "--recipe", recipe, "--data", str(image_folder), "--out", "new")
    with pytest.raises(ArgumentError, match="of recipes only those have a budget that end in rate"):
        edgenets_command.main(["compress", str(NET), *options], standalone_mode=False)


@pytest.mark.parametrize("recipe, epochs", [("rate", 0), ("smallest", None)])
def test_rate_with_or_without_training_keeps_a_budget_of_bytes(recipe: str, epochs: int | None):
    values = {"model": {"name": "mobilenet_v1"}, "data": {"source": "digits"}}
    config = load_recipe(recipe, values, [])
    (stage,) = with_budget(config, {"stored_bytes": 60_000}, None).compress
    assert (stage.budget_bytes, stage.epochs, stage.target) == (60_000, epochs, None)


def test_a_budget_of_an_npu_is_of_no_board(image_folder: Path):
    budget = ("--recipe", "rate", "--budget-cycles", "300000", "--target", "rpi5")
    arguments = ["compress", str(NET), *budget, "--data", str(image_folder), "--out", "new"]
    with pytest.raises(
        click.UsageError, match=r"need --target, one of ethos-u55-128, .* got 'rpi5'"
    ):
        edgenets_command.main(arguments, standalone_mode=False)


def test_missing_folder_is_named(tmp_path: Path):
    from edgenets.errors import EdgenetsError

    options = ("--budget", "9KB", "--data", "digits", "--out", str(tmp_path / "o"))
    with pytest.raises(EdgenetsError, match="nowhere is not a model folder"):
        edgenets_command.main(["compress", "nowhere", *options], standalone_mode=False)


def test_choice_and_tries_are_shown(capsys: pytest.CaptureFixture):
    row = {"layer": "stem", "weights": 216, "sparsity": 0.5, "clusters": 16}
    result = {
        "choice": [{**row, "size_bytes": 2048.0, "divergence": 0.01234}],
        "stages": [{"stored_bytes": 9_990}],
    }
    print_choice({**result, "budget_bytes": 10_000, "tries": [{"stored_bytes": 9_990}]})
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("stem", "216", "50.00 %", "16", "2.0 KiB", "0.0123"))
    assert shown.endswith("\nstored: 9,990 bytes of 10,000, in 1 try\n")
