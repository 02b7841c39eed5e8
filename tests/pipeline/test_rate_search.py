"""How a budget and a bound are met by prices."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from edgenets.errors import EdgenetsError
from edgenets.pipeline.rate_search import MOST_TRIES, _kl, _package_bytes, _search


class Coder:
    """Bytes and divergence as a net has them: 12 % less and twice as much for each octave."""

    def __init__(self) -> None:
        self.prices: list[float] = []

    def __call__(self, price: float) -> SimpleNamespace:
        self.prices.append(price)
        octaves = price / 3e-7
        return SimpleNamespace(
            price=price, package_bytes=round(3e5 * octaves**-0.18), kl=0.05 * octaves
        )


@pytest.mark.parametrize("budget_bytes", [200_000, 290_000, 310_000, 500_000])
def test_budget_is_met_and_used(budget_bytes: int):
    coder = Coder()
    found = _search(coder, budget_bytes, _package_bytes, falls=True)
    assert 0.97 * budget_bytes <= found.package_bytes <= budget_bytes
    assert len(coder.prices) <= MOST_TRIES


@pytest.mark.parametrize("max_kl", [0.004, 0.049, 0.051, 0.4])
def test_bound_is_met_and_used(max_kl: float):
    found = _search(Coder(), max_kl, _kl, falls=False)
    assert 0.97 * max_kl <= found.kl <= max_kl


def test_goal_out_of_reach_gets_a_sentence():
    with pytest.raises(EdgenetsError, match=r"budget_bytes is 1; pass a larger budget_bytes"):
        _search(Coder(), 1, _package_bytes, falls=True)


class Floored(Coder):
    """Of a net whose activations alone diverge, or whose labels alone take bytes."""

    def __call__(self, price: float) -> SimpleNamespace:
        self.prices.append(price)
        size = 12_000 + 40_000 * (price / 3e-7) ** -0.4
        return SimpleNamespace(price=price, package_bytes=round(size), kl=0.0143 + 750 * price)


@pytest.mark.parametrize("budget_bytes", [13_000, 20_000, 100_000])
def test_budget_is_met_above_a_floor(budget_bytes: int):
    found = _search(Floored(), budget_bytes, _package_bytes, falls=True)
    assert 0.95 * budget_bytes <= found.package_bytes <= budget_bytes


@pytest.mark.parametrize("max_kl", [0.016, 0.03, 0.2])
def test_bound_is_met_above_a_floor(max_kl: float):
    found = _search(Floored(), max_kl, _kl, falls=False)
    assert 0.95 * max_kl <= found.kl <= max_kl


def test_nothing_diverges_below_some_price():
    def attempt(price: float) -> SimpleNamespace:
        return SimpleNamespace(price=price, package_bytes=1, kl=0.2 if price > 1e-6 else 0.0)

    assert _search(attempt, 0.03, _kl, falls=False).kl == 0


def test_tries_that_run_out_are_said(capsys: pytest.CaptureFixture):
    _search(
        lambda price: SimpleNamespace(price=price, package_bytes=1, kl=0.01), 0.03, _kl, falls=False
    )
    assert "after 7 tries the nearest has 0.01, max_kl is 0.03" in capsys.readouterr().err
