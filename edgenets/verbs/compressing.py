"""What `Model.compress` is asked for: a recipe, a budget, a largest loss, a speedup, an update."""

from __future__ import annotations

from math import inf
from numbers import Real
from typing import TYPE_CHECKING, Any

from edgenets.errors import ArgumentError
from edgenets.export.targets import compiled_targets
from edgenets.models.operator_costs import TARGET_CORES
from edgenets.pipeline.tries.objectives import OBJECTIVES
from edgenets.verbs.arguments import (
    PathOrName,
    Size,
    positive_number,
    require_one_of,
    size_of,
    whole_number,
)

if TYPE_CHECKING:
    from edgenets.pipeline.config import RunConfig

ONE_OF = (
    "pass one of --recipe, --budget, --budget-cycles, --budget-flash, --max-drop and --near; a "
    "recipe that ends in rate may have one of the budgets"
)
BUDGETS_OF_RATE = {
    "stored_bytes": "budget_bytes",
    "cycles": "budget_cycles",
    "flash_bytes": "budget_flash",
}


def bounds_of(
    *,
    recipe: PathOrName | None,
    budget: Size | None,
    budget_cycles: int | None,
    budget_flash: Size | None,
    target: str | None,
    max_drop: float | None,
    objective: str | None,
    tries: int | None,
    hours: float | None,
    speedup: float | None,
    max_instructions: int | None,
    near: PathOrName | None,
    update_budget: Size | None,
    epochs: int | None,
) -> dict[str, int]:
    """Return the budget that is given, if one is, by what it bounds.

    Raises:
        ArgumentError: arguments do not go together, or one is out of range.
    """
    budgets = {
        "stored_bytes": None if budget is None else size_of(budget, "budget"),
        "cycles": budget_cycles,
        "flash_bytes": None if budget_flash is None else size_of(budget_flash, "budget_flash"),
    }
    bounds = {key: bound for key, bound in budgets.items() if bound is not None}
    faster = (speedup is not None) + (max_instructions is not None)
    others = sum(each is not None for each in (recipe, max_drop, near))
    of_recipe = recipe is not None and bool(bounds)
    if others + len(bounds) - of_recipe > 1:
        raise ArgumentError(ONE_OF)
    if faster > 1 or (faster and (bounds or max_drop is not None or near is not None)):
        raise ArgumentError(
            "pass one of --speedup and --max-instructions; a recipe may follow, but no budget, no "
            "--max-drop and no --near (a recipe file may have slim before rate with budget_bytes)"
        )
    trains = (
        (bounds and not of_recipe)
        or max_drop is not None
        or near is not None
        or (faster and recipe is None)
    )
    if epochs is not None and not trains:
        raise ArgumentError(
            "--epochs goes with a budget, --max-drop, --speedup or --near; a recipe has its own: "
            "write a recipe file (YAML) with `epochs:` in each stage that trains, and pass it with "
            "--recipe"
        )
    _require_near(near, update_budget)
    if max_drop is None and any(each is not None for each in (objective, tries, hours)):
        raise ArgumentError("--objective, --tries and --hours go with --max-drop; pass both")
    goals = {
        "--speedup": speedup is not None,
        "--max-instructions": max_instructions is not None,
        "--max-drop with --objective speed": objective == "speed",
    }
    core = next((goal for goal, given in goals.items() if given), None)
    _check_target(
        target,
        npu=bool(bounds.keys() - {"stored_bytes"}),
        core=core,
        may_be=max_drop is not None,
    )
    if objective is not None:
        require_one_of("objective", objective, tuple(OBJECTIVES))
    _check_ranges(
        speedup,
        max_drop,
        hours,
        {
            "max-instructions": max_instructions,
            "budget-cycles": budget_cycles,
            "tries": tries,
            "epochs": epochs,
        },
    )
    return bounds


def _check_target(target: str | None, *, npu: bool, core: str | None, may_be: bool) -> None:
    """Check the target, given whether an NPU is needed, what needs a core, and if one may be it."""
    if target is None and not (npu or core):
        return
    if npu and target not in (npus := compiled_targets("ethos_u")):
        got = "" if target is None else f", got {target!r}"
        raise ArgumentError(
            f"--budget-cycles and --budget-flash need --target, one of {', '.join(npus)}{got}"
        )
    if target is None:
        *others, last = TARGET_CORES
        raise ArgumentError(f"{core} needs --target: {', '.join(others)} or {last}")
    if not (npu or core or may_be):
        raise ArgumentError(
            "--target goes with --budget-cycles or --budget-flash, --speedup or "
            "--max-instructions, and --max-drop, which needs it for speed; pass both"
        )
    if (core or may_be) and target not in TARGET_CORES:
        known = ", ".join(TARGET_CORES)
        raise ArgumentError(
            f"--target of --speedup, --max-instructions and --max-drop must be one of {known}, "
            f"whose instructions are estimated, got {target!r}"
        )


def _check_ranges(
    speedup: float | None,
    max_drop: float | None,
    hours: float | None,
    counts: dict[str, int | None],
) -> None:
    if speedup is not None and not (isinstance(speedup, Real) and 1 < speedup < inf):
        raise ArgumentError(f"--speedup must be a number above 1, got {speedup!r}")
    if max_drop is not None and not (isinstance(max_drop, Real) and 0 <= max_drop <= 100):
        raise ArgumentError(f"--max-drop must be points from 0 to 100, got {max_drop!r}")
    positive_number("--hours", hours)
    for name, count in counts.items():
        if count is not None:
            whole_number(f"--{name}", count, 1)


def slim_stage(
    speedup: float | None, max_instructions: int | None, target: str | None
) -> list[dict[str, Any]]:
    """Return the stage `slim` that checked arguments ask for, as a recipe has it, or none."""
    if speedup is None and max_instructions is None:
        return []
    goal = {"speedup": speedup, "max_instructions": max_instructions}
    return [{"stage": "slim", "target": target, **goal}]


def with_budget(config: RunConfig, bounds: dict[str, int], target: str | None) -> RunConfig:
    """Return a config whose last stage, `rate`, meets a budget of bytes, or of a target's.

    Raises:
        ArgumentError: its last stage is another, or has a goal of its own.
    """
    from edgenets.quantize.settings import RateSettings

    ((key, bound),) = bounds.items()
    of_npu = key != "stored_bytes"
    *before, last = config.compress
    if not isinstance(last, RateSettings) or last.goals or (of_npu and last.epochs != 0):
        raise ArgumentError(
            "of recipes only those have a budget that end in rate, without another goal and, if it "
            "is of cycles or flash, without epochs; pass --recipe rate, or no recipe"
        )
    goal = {"target": target if of_npu else last.target, BUDGETS_OF_RATE[key]: bound}
    rate = RateSettings.model_validate({**last.model_dump(), **goal})
    return config.model_copy(update={"compress": (*before, rate)})


def near_stages(
    near: PathOrName, update_budget: Size | None, epochs: int | None
) -> list[dict[str, Any]]:
    """Return the recipe of an update near to a base.

    Raises:
        ArgumentError: the budget is no size.
    """
    limit = None if update_budget is None else size_of(update_budget, "update_budget")
    return [{"stage": "near", "base": str(near), "update_bytes": limit, "epochs": epochs}]


def near_training(
    near: PathOrName | None,
    update_budget: Size | None,
    data: PathOrName | None,
    *,
    by_several: bool,
) -> list[dict[str, Any]]:
    """Return the recipe behind a training: none, or that of an update, taught by what was trained.

    Raises:
        ArgumentError: the budget is no size, or arguments do not go together.
    """
    _require_near(near, update_budget)
    if near is None:
        return []
    if data is None:
        raise ArgumentError("--near learns from images: pass --data DATA")
    if by_several:
        raise ArgumentError(
            "--near is learned by one process; leave --workers and --cluster out, or pass what "
            "they train to edgenets compress --near"
        )
    from edgenets.training.settings import TRANSFER_DISTILLATION  # which needs pydantic

    (stage,) = near_stages(near, update_budget, None)
    # Even where training changed nothing: labels alone would teach what it did not keep.
    return [{**stage, "distillation": TRANSFER_DISTILLATION.model_dump()}]


def _require_near(near: PathOrName | None, update_budget: Size | None) -> None:
    if near is None and update_budget is not None:
        raise ArgumentError("--update-budget goes with --near; pass both")
