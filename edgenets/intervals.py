"""What an accuracy on so many images tells of images not seen: its confidence interval."""

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
