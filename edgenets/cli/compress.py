"""`edgenets compress`: a smaller model folder from a trained one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgenets.cli.budget import print_choice, print_tries
from edgenets.cli.options import (
    Points,
    Size,
    data_option,
    json_option,
    log_dir_option,
    near_option,
    out_option,
    seed_option,
    training_images_options,
    update_budget_option,
    usage_errors,
)
from edgenets.cli.output import echo, print_json, print_table
from edgenets.cli.size_tables import print_accounting
from edgenets.errors import ArgumentError
from edgenets.export.targets import compiled_targets
from edgenets.models.operator_costs import TARGET_CORES
from edgenets.pipeline.tries.objectives import OBJECTIVES
from edgenets.progress import warn
from edgenets.results.models import CompressRecord, stage_rows
from edgenets.verbs.compressing import ONE_OF, bounds_of

LAYERS_NAMED = 3  # of those with the largest error in int8


@click.command()
@click.argument("model_dir", type=click.Path(path_type=Path))
@click.option(
    "--recipe",
    metavar="RECIPE",
    help="deep-compression, slim, prune, share, qat, int8, rate, smallest, fp16, prune-xnnpack, or "
    "a .yaml file with a list of stages.",
)
@click.option(
    "--budget",
    metavar="SIZE",
    type=Size(),
    help="Choose zeros and values of each layer so that the file, packed, takes at most "
    "SIZE, such as 300KB or 1.5MiB; with --recipe rate or smallest, the price of a bit.",
)
@click.option(
    "--budget-cycles",
    metavar="N",
    type=click.IntRange(min=1),
    help="Choose them so that Vela estimates at most N cycles an image on the Ethos-U TARGET; with "
    "--recipe rate, the price of a bit.",
)
@click.option(
    "--budget-flash",
    metavar="SIZE",
    type=Size(),
    help="Choose them so that Vela estimates at most SIZE of flash on the Ethos-U TARGET; with "
    "--recipe rate, the price of a bit.",
)
@click.option(
    "--target",
    type=click.Choice([*compiled_targets("ethos_u"), *TARGET_CORES]),
    help="Of --budget-cycles or --budget-flash; rpi3, rpi4 or rpi5 of --speedup, "
    "--max-instructions and --max-drop.",
)
@click.option(
    "--max-drop",
    metavar="POINTS",
    type=Points(),
    help="Try recipes (slim, prune, share, rate, int8), and take the best that loses at most so "
    "many points of top-1 on held-out images.",
)
@click.option(
    "--for",
    "--objective",
    "objective",
    type=click.Choice(list(OBJECTIVES)),
    help="Of --max-drop, what is best: the smallest file, or the fewest instructions on the "
    "TARGET, then the smallest.  [default: size]",
)
@click.option(
    "--tries",
    metavar="N",
    type=click.IntRange(min=1),
    help="Of --max-drop: how many recipes at most, for size those first that take little time.  "
    "[default: up to 18]",
)
@click.option(
    "--hours",
    metavar="HOURS",
    type=click.FloatRange(min=0, min_open=True, max=10_000),
    help="Of --max-drop: begin no more tries after so many hours.",
)
@click.option(
    "--speedup",
    metavar="FACTOR",
    type=click.FloatRange(min=1, min_open=True),
    help="First remove channels until an inference is estimated to execute so many times fewer "
    "instructions on the TARGET; then do the recipe, int8 by default.",
)
@click.option(
    "--max-instructions",
    metavar="N",
    type=click.IntRange(min=1),
    help="The same, by the number of instructions.",
)
@near_option(
    "Fine-tune from the codes of this model folder, so that an update of its file is small."
)
@update_budget_option
@click.option(
    "--epochs",
    metavar="N",
    type=click.IntRange(min=1),
    help="Of each training, without a recipe.  [default: 20 to slim (5 with --max-drop), 10 to "
    "prune, 4 to share, 20 for codes, 5 with --near; more of fewer than 1,200 images]",
)
@data_option(required=True)
@out_option("MODEL_DIR", "New model folder.")
@training_images_options
@seed_option("Decides splits and the order of the images.  [default: the model's]", None)
@click.option("--per-layer", is_flag=True, help="Show the bits per weight of every layer.")
@log_dir_option
@json_option
def command(
    model_dir: Path,
    recipe: str | None,
    budget: int | None,
    budget_cycles: int | None,
    budget_flash: int | None,
    target: str | None,
    max_drop: float | None,
    objective: str | None,
    tries: int | None,
    hours: float | None,
    speedup: float | None,
    max_instructions: int | None,
    near: Path | None,
    update_budget: int | None,
    epochs: int | None,
    data: str,
    out: Path,
    per_layer: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Slim, prune, share weights and quantize a model folder.

    How far it goes says one of --recipe, a budget, --max-drop and --near; --speedup removes
    channels before a recipe. The result is a model folder with the integers of its int8 file, which
    `edgenets export` writes as they are. Fine-tuning learns from the model as it was, too. Stopped
    at any time, the same command goes on.
    """
    from edgenets.verbs.model import Model

    goal: dict[str, Any] = {
        "recipe": recipe,
        "budget": budget,
        "budget_cycles": budget_cycles,
        "budget_flash": budget_flash,
        "target": target,
        "max_drop": max_drop,
        "objective": objective,
        "tries": tries,
        "hours": hours,
        "speedup": speedup,
        "max_instructions": max_instructions,
        "near": near,
        "update_budget": update_budget,
        "epochs": epochs,
    }
    with usage_errors():  # before the model is read
        bounds_of(**goal)
        if all(goal[key] is None for key in goal.keys() - {"target", "epochs"}):
            raise ArgumentError(ONE_OF)
    settings |= goal
    record = Model.load(model_dir).compress(data, out=out, **settings).record
    assert isinstance(record, CompressRecord)
    if as_json:
        print_json(record.to_json())
        return
    print_compressed(record, per_layer)
    if record.chosen is not None:
        print_tries(record.to_json())
        echo(f"all tries as a front: {out / 'tries.html'}")
    echo(f"the model is in {out}")
    warn(record.warnings)


def print_compressed(record: CompressRecord, per_layer: bool = False) -> None:
    """Print what a compression made of a model."""
    result = record.to_json()
    print_stages(result["stages"])
    print_instructions(result["stages"])
    print_accounting(result["accounting"], per_layer)
    if errors := result["stages"][-1].get("error"):
        print_worst_layers(errors)
    if "update_bytes" in (last := result["stages"][-1]):
        echo(
            f"an update of the base takes {last['update_bytes']:,} bytes, the whole package "
            f"{last['package_bytes']:,}"
        )
    if npu := last.get("npu"):
        echo(
            f"an estimated {npu['cycles']:,} cycles an image on {npu['target']}, "
            f"{npu['npu_cycles']:,} of them computing; {npu['flash_bytes']:,} bytes of flash"
        )
    if "choice" in result:
        print_choice(result)


def print_stages(stages: list[dict[str, Any]]) -> None:
    """Print what each stage of a compression made of the model."""
    columns = (
        *("stage", ">top-1", ">95 % interval", ">nonzeros", ">zeros", ">values"),
        *(">.tflite", ">stored", ">time"),
    )
    print_table(columns, stage_rows(stages, columns))


def print_instructions(stages: list[dict[str, Any]]) -> None:
    """Print what a stage `slim` made of the instructions of an inference."""
    for counted in (stage["instructions"] for stage in stages if "instructions" in stage):
        before, after = counted["before"], counted["after"]
        echo(
            f"an estimated {after:,} instructions an image on {counted['target']}, before slim "
            f"{before:,}: {before / after:.2f} times as many"
        )


def print_worst_layers(errors: list[dict[str, Any]]) -> None:
    """Print the layers that add most of an int8 file's error."""
    from edgenets.export.report.layer_errors import LayerError, worst_layers

    worst = worst_layers([LayerError(**error) for error in errors], LAYERS_NAMED)
    named = ", ".join(f"{error.layer} {error.own_snr_db:.1f} dB" for error in worst)
    echo(f"int8 adds most error in {named} (signal to noise; all layers: int8_error.svg)")
