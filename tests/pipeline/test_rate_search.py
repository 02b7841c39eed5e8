"""How a budget and a bound are met by prices."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from edgenets.errors import EdgenetsError
from edgenets.export.targets import find_target
from edgenets.models.backend import keras
from edgenets.pipeline import rate_search
from edgenets.pipeline.price_search import (
    OF_CODING,
    OF_TRAINING,
    OF_WAITING,
    Limit,
    search_price,
)
from edgenets.pipeline.rate_search import LIMITS, USUAL_PRICE, _train_to_budget, code_to_goal
from edgenets.quantize.settings import RateSettings

BESIDE = 12_000  # bytes of a package that are no codes


def limit(key: str, most: float) -> Limit:
    return next(limit for limit in LIMITS if limit.key == key)._replace(most=most)


class Coder:
    """Bytes and divergence as a net has them: 12 % less and twice as much for each octave."""

    def __init__(self) -> None:
        self.prices: list[float] = []

    def __call__(self, price: float) -> SimpleNamespace:
        self.prices.append(price)
        octaves = price / 3e-7
        return SimpleNamespace(
            price=price,
            package_bytes=round(3e5 * octaves**-0.18),
            bits=8 * (3e5 * octaves**-0.18 - BESIDE),
            kl=0.05 * octaves,
        )


@pytest.mark.parametrize("budget_bytes", [200_000, 290_000, 310_000, 500_000])
def test_budget_is_met_and_used(budget_bytes: int):
    coder = Coder()
    found = search_price(coder, limit("budget_bytes", budget_bytes))
    assert 0.97 * budget_bytes <= found.package_bytes <= budget_bytes
    assert len(coder.prices) <= OF_CODING.most_tries


@pytest.mark.parametrize("max_kl", [0.004, 0.049, 0.051, 0.4])
def test_bound_is_met_and_used(max_kl: float):
    found = search_price(Coder(), limit("max_kl", max_kl))
    assert 0.97 * max_kl <= found.kl <= max_kl


class Waiting(Coder):
    """Of an NPU that computes for 260,000 cycles whatever the weights take."""

    def __call__(self, price: float) -> SimpleNamespace:
        self.prices.append(price)
        cycles = 260_000 + round(12_000 * (price / 3e-7) ** -0.4)
        return SimpleNamespace(price=price, estimates={"cycles": cycles, "npu_cycles": 260_000})


@pytest.mark.parametrize("budget_cycles", [261_500, 271_000, 290_000])
def test_budget_of_cycles_is_met_by_those_that_an_npu_waits(budget_cycles: int):
    coder = Waiting()
    found = search_price(coder, limit("budget_cycles", budget_cycles), effort=OF_WAITING)
    waiting, left = found.estimates["cycles"] - 260_000, budget_cycles - 260_000
    assert 0.9 * left <= waiting <= left
    assert len(coder.prices) <= 4


def test_cycles_of_computing_are_no_budget():
    with pytest.raises(EdgenetsError, match=r"260,000 of 272,000 .* budget_cycles above 260,000$"):
        search_price(Waiting(), limit("budget_cycles", 260_000))


def test_goal_out_of_reach_gets_a_sentence():
    with pytest.raises(EdgenetsError, match=r"budget_bytes is 1; pass a larger budget_bytes"):
        search_price(Coder(), limit("budget_bytes", 1))
    with pytest.raises(EdgenetsError, match=r"budget_bytes is 1,000; pass"):  # as it was given
        search_price(Coder(), limit("budget_bytes", 1000)._replace(part=1.15))


class Floored(Coder):
    """Of a net whose activations alone diverge, or whose labels alone take bytes."""

    def __call__(self, price: float) -> SimpleNamespace:
        self.prices.append(price)
        size = 12_000 + 40_000 * (price / 3e-7) ** -0.4
        return SimpleNamespace(price=price, package_bytes=round(size), kl=0.0143 + 750 * price)


@pytest.mark.parametrize("budget_bytes", [13_000, 20_000, 100_000])
def test_budget_is_met_above_a_floor(budget_bytes: int):
    found = search_price(Floored(), limit("budget_bytes", budget_bytes))
    assert 0.95 * budget_bytes <= found.package_bytes <= budget_bytes


@pytest.mark.parametrize("max_kl", [0.016, 0.03, 0.2])
def test_bound_is_met_above_a_floor(max_kl: float):
    found = search_price(Floored(), limit("max_kl", max_kl))
    assert 0.95 * max_kl <= found.kl <= max_kl


def test_nothing_diverges_below_some_price():
    def attempt(price: float) -> SimpleNamespace:
        return SimpleNamespace(price=price, package_bytes=1, kl=0.2 if price > 1e-6 else 0.0)

    assert search_price(attempt, limit("max_kl", 0.03)).kl == 0


def test_nearest_try_is_taken_and_not_the_last_one_within():
    values = iter([0.02, 0.05, 0.027, *4 * [0.024]])  # as trainings are: not quite by their price

    def attempt(price: float) -> SimpleNamespace:
        return SimpleNamespace(price=price, package_bytes=1, kl=next(values))

    assert search_price(attempt, limit("max_kl", 0.03)).kl == 0.027


def test_tries_that_run_out_are_said(capsys: pytest.CaptureFixture):
    search_price(
        lambda price: SimpleNamespace(price=price, package_bytes=1, kl=0.01), limit("max_kl", 0.03)
    )
    assert "after 7 tries the nearest has 0.01, max_kl is 0.03" in capsys.readouterr().err


def test_trainings_for_a_bound_are_few_and_begin_where_codes_without_met_it():
    coder = Coder()
    found = search_price(coder, limit("max_kl", 0.2), first_price=1e-6, effort=OF_TRAINING)
    assert coder.prices[0] == 1e-6 and len(coder.prices) <= 3
    assert 0.95 * 0.2 <= found.kl <= 0.2


@pytest.mark.parametrize(
    "goal, price",
    [
        ({"budget_bytes": 240_000, "epochs": 1}, None),
        ({"budget_bytes": 240_000, "epochs": 8}, None),
        ({"max_kl": 0.08, "epochs": 1}, None),
        ({"price": 2e-6, "epochs": 1}, 2e-6),
        ({"epochs": 1}, USUAL_PRICE),
    ],
)
def test_one_training_is_enough_if_it_keeps_the_goal(goal, price, monkeypatch):
    coder, trainings = Coder(), []

    def attempt(_, spec, price: float, train=None, budget_bits=None) -> SimpleNamespace:
        found = coder(price)
        if train:
            trainings.append((found.package_bytes, budget_bits))
        if budget_bits:
            found.package_bytes = round(budget_bits / 8 + BESIDE)
        return found

    monkeypatch.setattr(rate_search, "_measure_once", lambda *arguments: None)
    monkeypatch.setattr(rate_search, "_attempt", attempt)
    model, settings = SimpleNamespace(spec=None), RateSettings(**goal)
    found = code_to_goal(model, settings, None, None, flip=True, seed=0, train="so")
    ((begun, budget_bits),) = trainings
    assert coder.prices[-1] == found.price
    assert coder.prices == [price] if price else len(coder.prices) > 2
    if "budget_bytes" in goal:
        first = 1.15 if settings.epochs >= 8 else 1.0  # long ones begin above it, and come down
        assert 0.97 * first * 240_000 < begun <= first * 240_000
        assert 0.9 * 240_000 < budget_bits / 8 + BESIDE < 240_000


def test_what_no_price_changes_is_measured_once_for_a_net_and_its_images(monkeypatch):
    measured = []
    monkeypatch.setattr(rate_search, "_measure", lambda given: measured.append(given) or given)
    monkeypatch.setattr(rate_search, "_last_measured", {})
    dense = keras.layers.Dense(2)
    spec = SimpleNamespace(name="net", arguments={}, keep_float=())
    model = SimpleNamespace(net=keras.Sequential([keras.Input((3,)), dense]), spec=spec)
    images = np.zeros((2, 8, 8, 3), np.uint8)
    given = rate_search._Given(model, images, images, True, 0, None, True)
    assert rate_search._measure_once(given) is rate_search._measure_once(given)
    dense.set_weights([np.ones((3, 2)), np.zeros(2)])
    rate_search._measure_once(given)
    rate_search._measure_once(given._replace(held_out=images + 1))
    rate_search._measure_once(given._replace(npu=find_target("ethos-u55-128")))
    assert len(measured) == 4 and len(rate_search._last_measured) == 1


def test_training_over_its_budget_is_followed_by_one_to_as_much_less():
    budgets = []

    def train(price: float, budget_bits: float) -> SimpleNamespace:
        budgets.append(budget_bits / 8 + BESIDE)
        return SimpleNamespace(package_bytes=round(1.05 * budgets[-1]))

    found = SimpleNamespace(price=1e-6, package_bytes=30_000, bits=8 * (30_000 - BESIDE))
    trained = _train_to_budget(train, lambda _: None, found, 30_000)
    assert trained.package_bytes <= 30_000
    assert len(budgets) == 2
    assert _train_to_budget(train, lambda each: ("again", each), found, 30_000)[0] == "again"
    assert len(budgets) == 3  # the one that was over the budget is coded again


def test_what_a_training_leaves_above_a_budget_is_coded_again_if_answers_stay(monkeypatch):
    held_out = np.zeros((3, 4, 4, 3), np.uint8)
    before = SimpleNamespace(held_out=held_out, reference=np.eye(3, dtype=np.float32))
    trained = SimpleNamespace(model=SimpleNamespace(spec="spec"), history={"epoch": [1]})
    given = rate_search._Given("before", held_out, held_out, True, 0, None, True)
    asked = []
    monkeypatch.setattr(rate_search, "_measure", lambda each: asked.append(each.model) or "again")
    monkeypatch.setattr(rate_search, "_compare", lambda *_: (0.2, 0.9))
    for kl, is_taken in ((0.009, True), (0.011, False)):
        found = rate_search.Attempt(1e-7, None, None, b"", 29_900, 8.0, kl, 0.99)
        monkeypatch.setattr(rate_search, "_attempt", lambda *_, found=found: found)
        budget = limit("budget_bytes", 30_000)
        coded = rate_search._code_again(given, before, budget, trained)
        assert (coded is not None) == is_taken
    assert asked == [trained.model, trained.model]
    found = rate_search.Attempt(1e-7, None, None, b"", 29_900, 8.0, 0.0, 1.0)
    monkeypatch.setattr(rate_search, "_attempt", lambda *_: found)
    coded = rate_search._code_again(given, before, limit("budget_bytes", 30_000), trained)
    assert (coded.kl, coded.agreement) == (0.2, 0.9)  # against the net before it was trained
    assert coded.history == {"epoch": [1]} and coded.package_bytes == 29_900
    unreachable = limit("budget_bytes", 10_000)
    assert rate_search._code_again(given, before, unreachable, trained) is None


def test_trainings_that_never_keep_a_budget_get_a_sentence():
    found = SimpleNamespace(price=1e-6, package_bytes=30_000, bits=8 * (30_000 - BESIDE))
    large = SimpleNamespace(package_bytes=40_000)
    with pytest.raises(EdgenetsError, match=r"after 3 trainings .* 40,000 bytes .* is 30,000;"):
        _train_to_budget(lambda *_, **__: large, lambda _: None, found, 30_000)
