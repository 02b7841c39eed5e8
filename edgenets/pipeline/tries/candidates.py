"""The recipes that a search within a loss tries: one table, a kind of recipe a row.

The recipes of a row go from the mildest to the strongest, so that the strongest one within the loss
is found by bisection. What a row finds may stand before, or begin, those of rows that come later.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

from edgenets.pipeline.tries.objectives import Objective
from edgenets.quantize.recipe import AnyStage, Recipe
from edgenets.quantize.settings import (
    Int8Settings,
    PruneSettings,
    RateSettings,
    ShareSettings,
    SlimSettings,
)

PRICES = tuple(float(f"{1e-7 * 1.5**step:.2g}") for step in range(15))  # nats a bit, to 2.9e-5
SPEEDUPS = (1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5)
PRUNINGS = ((0.5, 32), (0.65, 32), (0.8, 16))  # zeros, and values that are shared
SHORT = 0.25  # of the usual epochs, in which tries of `slim` are trained
BEYOND = (2, 4, 6)  # steps that are tried with training, from the one that was found without


class Row(NamedTuple):
    """Recipes of one kind.

    Attributes:
        steps: the recipes, from the mildest to the strongest.
        after: the row of whose recipe the first stages stand before; it has to find one.
        beyond: the row of the same prices, from whose step on `BEYOND` says which ones are tried.
        share: of the loss that may be had, what its recipe may cost where it stands before others.
    """

    steps: tuple[Recipe, ...]
    after: str | None = None
    beyond: str | None = None
    share: float = 1.0


def candidates(
    objective: Objective,
    images: int,
    target: str,
    most_speedup: float,
    epochs: int | None = None,
) -> dict[str, Row]:
    """Return the table, by the names of its rows.

    Args:
        objective: what is minimised.
        images: to train on.
        target: on which `slim` is to make the net faster.
        most_speedup: how much faster it can become there; 1 if it cannot be slimmed.
        epochs: of each training; by default as suits the images.
    """
    int8 = Int8Settings()
    usual = SlimSettings().pace(images, has_batch_norm=True).epochs
    short = ceil(SHORT * usual) if epochs is None else epochs
    untrained = tuple((RateSettings(price=price),) for price in PRICES)
    priced = tuple((RateSettings(price=price, epochs=epochs),) for price in PRICES)
    slimmed = tuple(
        (SlimSettings(target=target, speedup=speedup, epochs=short), int8)
        for speedup in SPEEDUPS
        if speedup < most_speedup
    )
    pruned = tuple(
        (
            PruneSettings(sparsity=zeros, epochs=epochs),
            ShareSettings(clusters=values, epochs=epochs),
            int8,
        )
        for zeros, values in PRUNINGS
    )
    return {
        "int8": Row(((int8,),)),
        "rate": Row(untrained),
        "slim, int8": Row(slimmed, share=objective.slim_share),
        "slim, rate": Row(untrained, after="slim, int8"),
        "smallest": Row(priced, beyond="rate"),
        "slim, smallest": Row(priced, after="slim, int8", beyond="slim, rate"),
        "prune, share, int8": Row(pruned),
    }


def words_of(recipe: Recipe) -> str:
    """Return a candidate in words, no two of a table alike.

    >>> words_of((SlimSettings(speedup=1.5), RateSettings(price=1e-6, epochs=4)))
    'slim 1.5x, rate 1e-06 trained'
    """
    return ", ".join(map(_stage_words, recipe))


def _stage_words(stage: AnyStage) -> str:
    match stage:
        case SlimSettings():
            return f"slim {stage.speedup:g}x"
        case PruneSettings():
            return f"prune {stage.sparsity:.0%}"
        case ShareSettings():
            return f"share {stage.clusters}"
        case RateSettings():
            return f"rate {stage.price:g}" + " trained" * (stage.epochs != 0)
    return stage.stage
