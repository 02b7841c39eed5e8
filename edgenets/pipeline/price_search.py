"""The price of a bit at which something that falls or rises with it comes near to its limit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np

from edgenets.errors import EdgenetsError
from edgenets.progress import say

FIRST_PRICE = 3e-7  # nats per bit
USUAL_SLOPE_OF_BYTES, USUAL_SLOPE_OF_KL = -0.15, 1.0  # of logarithms, until two attempts tell
LEAST_SLOPE = 0.02  # that is believed
LEAST_VALUE = 1e-12  # whose logarithm is taken
LARGEST_STEP = 3.0  # of the price's logarithm, from one try to the next

Found = TypeVar("Found")


class Effort(NamedTuple):
    """How near to a budget or a bound prices are sought."""

    most_tries: int
    near: float  # how much of it may be left


OF_CODING, OF_TRAINING = Effort(7, near=0.02), Effort(3, near=0.05)
OF_WAITING = Effort(7, near=0.1)  # of the cycles that an NPU waits


class Limit(NamedTuple):
    """What prices are sought for."""

    key: str  # of the settings
    most: float
    falls: bool  # with the price
    value: Callable[[Any], float]
    floor: Callable[[Any], float] = lambda attempt: 0.0  # what no price changes of it
    part: float = 1.0  # of `most`, that is sought


class _Point(NamedTuple):
    """Logarithms of a price and of what it gave."""

    price: float
    value: float


def search_price(
    attempt: Callable[[float], Found],
    limit: Limit,
    *,
    first_price: float = FIRST_PRICE,
    effort: Effort = OF_CODING,
) -> Found:
    """Return the attempt nearest below a limit.

    The next price is where the line through the nearest attempts on both sides, or through the last
    two, meets it; of the logarithms, since both are near to powers of the price.

    Raises:
        EdgenetsError: none is below it; the message says what can be had.
    """
    price, slope = first_price, USUAL_SLOPE_OF_BYTES if limit.falls else USUAL_SLOPE_OF_KL
    nearest: tuple[float, Found] | None = None
    within: _Point | None = None
    beyond: _Point | None = None
    last: _Point | None = None
    for _ in range(effort.most_tries):
        found = attempt(price)
        floor = limit.floor(found)
        value, most = limit.value(found) - floor, limit.part * limit.most - floor
        if most <= 0:
            raise EdgenetsError(
                f"{_said(floor)} of {_said(limit.value(found))} are no waiting for weights, and "
                f"stay however few these are; pass a {limit.key} above {_said(floor)}"
            )
        target = np.log((1 - effort.near / 2) * most)
        point = _Point(float(np.log(price)), float(np.log(max(value, LEAST_VALUE))))
        if value <= most:
            within = point
            if nearest is None or value > nearest[0]:
                nearest = value, found
            if value >= (1 - effort.near) * most:
                return found
        else:
            beyond = point
        if within and beyond:
            (start, low), width = within, beyond.price - within.price
            part = (target - low) / (beyond.value - low)
            price = float(np.exp(start + np.clip(part, 0.1, 0.9) * width))
        else:
            if last:
                measured = (point.value - last.value) / (point.price - last.price)
                least = -LEAST_SLOPE if limit.falls else LEAST_SLOPE
                slope = min(measured, least) if limit.falls else max(measured, least)
            step = np.clip((target - point.value) / slope, -LARGEST_STEP, LARGEST_STEP)
            price = float(np.exp(point.price + step))
        last = point
    if nearest is None:
        raise EdgenetsError(
            f"of {effort.most_tries} tries the nearest has {_said(limit.value(found))} where "
            f"{limit.key} is {_said(limit.most)}; pass a larger {limit.key}"
        )
    say(
        f"after {effort.most_tries} tries the nearest has {_said(limit.value(nearest[1]))}, "
        f"{limit.key} is {_said(limit.most)}; pass `price` to go nearer"
    )
    return nearest[1]


def _said(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.6g}"
