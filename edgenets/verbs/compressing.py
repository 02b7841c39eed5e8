"""What `Model.compress` is asked for: a recipe, one of the budgets, or a largest loss."""

from __future__ import annotations

from edgenets.errors import ArgumentError
from edgenets.verbs.arguments import PathOrName, Size, size_of

ONE_OF = "pass one of --recipe, --budget, --budget-cycles, --budget-flash and --max-drop"


def bounds_of(
    *,
    recipe: PathOrName | None,
    budget: Size | None,
    budget_cycles: int | None,
    budget_flash: Size | None,
    target: str | None,
    max_drop: float | None,
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
    if (recipe is not None) + len(bounds) + (max_drop is not None) > 1:
        raise ArgumentError(ONE_OF)
    if not bounds and max_drop is None and epochs is not None:
        raise ArgumentError("--epochs goes with a budget or --max-drop; a recipe has its own")
    if (target is not None) != bool(bounds.keys() - {"stored_bytes"}):
        raise ArgumentError("--target goes with --budget-cycles or --budget-flash; pass both")
    if budget_cycles is not None and budget_cycles < 1:
        raise ArgumentError(f"--budget-cycles must be at least 1, got {budget_cycles}")
    if max_drop is not None and not 0 <= max_drop <= 100:
        raise ArgumentError(f"--max-drop must be points from 0 to 100, got {max_drop}")
    if epochs is not None and epochs < 1:
        raise ArgumentError(f"--epochs must be at least 1, got {epochs}")
    return bounds
