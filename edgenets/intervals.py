"""What accuracies on so many images tell of images not seen: confidence intervals."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson_interval(fraction: float, samples: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a probability, seen as `fraction` of `samples`.

    Source: Wilson, Probable inference, the law of succession, and statistical inference, 1927.

    >>> low, high = wilson_interval(0.9, 100)
    >>> round(low, 3), round(high, 3)
    (0.826, 0.945)
    """
    z2 = NormalDist().inv_cdf(0.975) ** 2 / samples
    middle = fraction + z2 / 2
    half = math.sqrt(z2 * fraction * (1 - fraction) + z2 * z2 / 4)
    return max(0.0, (middle - half) / (1 + z2)), min(1.0, (middle + half) / (1 + z2))


def difference_interval(first: float, second: float, samples: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of `first` - `second`, fractions of other images each.

    Source: Newcombe, Interval estimation for the difference between independent proportions, 1998,
    method 10.

    >>> low, high = difference_interval(0.9, 0.8, 100)
    >>> round(low, 3), round(high, 3)
    (0.0, 0.199)
    """
    (low1, high1), (low2, high2) = (wilson_interval(f, samples) for f in (first, second))
    difference = first - second
    return (
        difference - math.hypot(first - low1, high2 - second),
        difference + math.hypot(high1 - first, second - low2),
    )


def paired_interval(first_only: int, second_only: int, samples: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of the difference of two accuracies on the same images.

    Only images that one of both answers rightly tell them apart; of each kind one is added, so that
    it holds where these are few, or all of one kind.

    Args:
        first_only, second_only: images that only the first answers rightly, or only the second.
        samples: all images.

    Source: Bonett and Price, Adjusted Wald confidence interval for a difference of binomial
    proportions based on paired data, 2012.

    >>> low, high = paired_interval(15, 5, 100)
    >>> round(low, 3), round(high, 3)
    (0.01, 0.186)
    """
    one, other = ((count + 1) / (samples + 2) for count in (first_only, second_only))
    difference = one - other
    error = math.sqrt((one + other - difference**2) / (samples + 2))
    half = NormalDist().inv_cdf(0.975) * error
    return max(-1.0, difference - half), min(1.0, difference + half)
