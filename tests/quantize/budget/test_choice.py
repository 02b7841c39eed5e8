"""Choosing by layer, whatever the options are."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenets.quantize.budget.choice import (
    Choice,
    Option,
    Options,
    divergence_of,
    size_of,
    trade_offs,
    uniform_choice,
)

SPARSITIES, CLUSTERS = (0.0, 0.5, 0.9), (255, 16)


@st.composite
def layer_options(draw: st.DrawFn) -> list[Option]:
    """Options of a layer: of a grid, with any sizes and divergences, whole numbers for ties."""
    sparsities = SPARSITIES if draw(st.booleans()) else SPARSITIES[:1]
    numbers = st.integers(0, 20).map(float)
    return [Option(s, k, draw(numbers), draw(numbers)) for s, k in product(sparsities, CLUSTERS)]


NETS = st.lists(layer_options(), min_size=1, max_size=4).map(
    lambda layers: {f"layer{i}": options for i, options in enumerate(layers)}
)


def best_within(choices: list[Choice], size_bytes: float) -> Choice:
    return next(choice for choice in choices if size_of(choice) <= size_bytes)


@given(NETS)
def test_smaller_choices_diverge_more(options: Options):
    for larger, smaller in pairwise(trade_offs(options)):
        assert size_of(larger) > size_of(smaller)
        assert divergence_of(larger) < divergence_of(smaller)


@given(NETS)
def test_ends_are_the_least_divergence_and_the_fewest_bytes(options: Options):
    first, *_, last = choices if len(choices := trade_offs(options)) > 1 else choices * 2
    least, fewest = (
        sum(min(getattr(option, field) for option in several) for several in options.values())
        for field in ("divergence", "size_bytes")
    )
    assert divergence_of(first) == least
    assert size_of(last) == fewest


@given(NETS, st.integers(0, 80))
def test_no_uniform_choice_within_a_budget_diverges_less(options: Options, budget: int):
    choices = trade_offs(options)
    for sparsity, clusters in product(SPARSITIES, CLUSTERS):
        uniform = uniform_choice(options, sparsity, clusters)
        if size_of(uniform) <= budget:
            assert divergence_of(best_within(choices, budget)) <= divergence_of(uniform)


@given(NETS, st.floats(0.01, 100))
def test_at_every_price_of_a_byte_the_best_of_all_choices_is_there(options: Options, price: float):
    def cost(option: Option) -> float:
        return option.divergence + price * option.size_bytes

    best = sum(min(map(cost, several)) for several in options.values())
    found = min(divergence_of(c) + price * size_of(c) for c in trade_offs(options))
    assert found == pytest.approx(best)


@given(NETS)
def test_choices_are_options_of_their_layers(options: Options):
    for choice in trade_offs(options):
        assert choice.keys() == options.keys()
        assert all(choice[name] in several for name, several in options.items())


def test_layer_that_cannot_be_pruned_stays_dense_in_a_uniform_choice():
    dense = [Option(0.0, 255, 10, 0.0), Option(0.0, 16, 5, 0.1)]
    both = [Option(s, k, 10, 0.0) for s in SPARSITIES for k in CLUSTERS]
    choice = uniform_choice({"depthwise": dense, "pointwise": both}, 0.6, 16)
    assert choice["depthwise"] == dense[1]
    assert choice["pointwise"][:2] == (0.5, 16)
