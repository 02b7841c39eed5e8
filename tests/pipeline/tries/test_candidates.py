"""The table of recipes that a search within a loss tries."""

from __future__ import annotations

from itertools import pairwise

import pytest

from edgenets.pipeline.tries.candidates import PRICES, SPEEDUPS, candidates, words_of
from edgenets.pipeline.tries.objectives import OBJECTIVES
from edgenets.quantize.recipe import LAST
from edgenets.quantize.settings import RateSettings, SlimSettings

IMAGES = 45_000


@pytest.mark.parametrize("word", OBJECTIVES)
def test_every_row_has_its_turn_after_those_that_it_builds_on(word: str):
    objective = OBJECTIVES[word]
    table = candidates(objective, IMAGES, "rpi5", 9.0)
    assert sorted(objective.order) == sorted(table)
    for name, row in table.items():
        for other in filter(None, (row.after, row.beyond)):
            assert objective.order.index(other) < objective.order.index(name)


def test_all_recipes_end_in_integers_and_differ_in_words():
    table = candidates(OBJECTIVES["size"], IMAGES, "rpi5", 9.0)
    alone = [step for row in table.values() if not row.after for step in row.steps]
    assert all(recipe[-1].stage in LAST for recipe in alone)
    assert len({words_of(recipe) for recipe in alone}) == len(alone)


def test_steps_become_stronger():
    assert all(mild < strong for mild, strong in pairwise(PRICES))
    assert all(mild < strong for mild, strong in pairwise(SPEEDUPS))
    assert (PRICES[0], PRICES[-1]) == (1e-7, 2.9e-5)


@pytest.mark.parametrize("images, epochs, slim, trained", [(IMAGES, None, 5, None), (90, 2, 2, 2)])
def test_slim_is_tried_in_a_quarter_of_the_usual_epochs_or_in_those_asked_for(
    images: int, epochs: int | None, slim: int, trained: int | None
):
    table = candidates(OBJECTIVES["size"], images, "rpi5", 9.0, epochs)
    first, last = table["slim, int8"].steps[0][0], table["smallest"].steps[0][-1]
    assert isinstance(first, SlimSettings) and isinstance(last, RateSettings)
    assert (first.epochs, last.epochs, first.target) == (slim, trained, "rpi5")
    assert all(step[-1].epochs == 0 for step in table["rate"].steps)


def test_no_speedup_is_tried_that_the_net_cannot_reach():
    for most, count in ((1.0, 0), (1.36, 3), (9.0, len(SPEEDUPS))):
        assert len(candidates(OBJECTIVES["size"], 9, "rpi4", most)["slim, int8"].steps) == count
