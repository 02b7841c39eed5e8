"""Intervals of latencies, which are not independent of one another.

Sources: Kunsch, The jackknife and the bootstrap for general stationary observations, 1989 (moving
blocks); Politis and White, Automatic block-length selection for the dependent bootstrap, 2004, with
the correction of Patton, Politis and White, 2009; Shao, Fixed-b subsampling and block bootstrap,
2013 (a few long blocks make percentile intervals too narrow).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
UNDISTURBED = 0.1
"""The quantile of latencies that stands for no disturbance."""
MAX_BIAS = 0.5
"""Of a bootstrap variance, that is corrected."""
WIDER = 1.1
"""What is still missing from the interval's width, found on simulated traces: without it, of 1,000
autocorrelated ones with outliers, 300 samples long, 92 to 94 % were covered."""
VALUES_AT_ONCE = 1_000_000
"""Resampled values held in memory together: 16 MB with their indices, for boards."""


def median(samples: Sequence[float] | NDArray[np.float64]) -> float:
    """Return the median.

    >>> median([1.0, 9.0, 2.0, 4.0])
    3.0
    """
    return float(np.median(samples))


def p90(samples: Sequence[float] | NDArray[np.float64]) -> float:
    """Return the 90th percentile, interpolated between neighbours.

    >>> p90(range(11))
    9.0
    """
    return float(np.percentile(samples, 90))


def p99(samples: Sequence[float] | NDArray[np.float64]) -> float:
    """Return the 99th percentile, interpolated between neighbours.

    >>> p99(range(101))
    99.0
    """
    return float(np.percentile(samples, 99))


def ratio_of_medians(
    first: Sequence[Sequence[float] | NDArray[np.float64]],
    second: Sequence[Sequence[float] | NDArray[np.float64]],
    confidence: float = 0.99,
) -> tuple[float, float, float]:
    """Return how much larger the second median is, and a confidence interval of that ratio.

    The samples of both were taken in turn, in parts that differ by more than chance: for each part
    the files were opened anew, and where in memory they come to lie changes their speed. So a part
    is one observation, the logarithm of its ratio; the interval is that of their mean, by Student's
    t.

    Args:
        first: [parts][samples].
        second: [parts][samples], each taken beside the one of `first`.
        confidence: how often the interval covers the true ratio, in (0, 1).

    Returns:
        ratio, low, high: of second to first.

    Source: Kalibera and Jones, Rigorous benchmarking in reasonable time, 2013 (repeat at the level
    that varies most).

    >>> ratio_of_medians([[1.0, 2.0, 4.0]] * 4, [[2.0, 4.0, 8.0]] * 4)
    (2.0, 2.0, 2.0)
    """
    logs = np.log([median(b) / median(a) for a, b in zip(first, second, strict=True)])
    error = logs.std(ddof=1) / math.sqrt(len(logs))
    half = _student_t((1 + confidence) / 2, len(logs) - 1) * error
    middle = logs.mean()
    ratio, low, high = np.exp([middle, middle - half, middle + half])
    return float(ratio), float(low), float(high)


def undisturbed(samples: Sequence[float] | NDArray[np.float64]) -> float:
    """Return the 10th percentile: a latency when other programs do not interrupt.

    What disturbs only adds, and adds to more runs the longer they take, so that under load
    differences of medians are too large by far.

    >>> undisturbed(range(11))
    1.0
    """
    return float(np.quantile(samples, UNDISTURBED))


def median_interval(
    samples: Sequence[float] | NDArray[np.float64], confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Return a confidence interval of the median, also for autocorrelated samples.

    Medians of `RESAMPLES` series put together from random blocks of the samples (moving-block
    bootstrap) give a percentile interval. It is widened around the median as the interval of a mean
    of so few blocks would be: by Student's t with one degree of freedom less than there are blocks,
    by sqrt(blocks / (blocks - 1)), by what cutting the series into blocks takes from its variance
    (Kunsch's bias: how far dependence reaches over the block length), and by `WIDER`.

    Args:
        samples: [n] in the order they were measured.
        confidence: how often the interval covers the true median, in (0, 1).
        seed: of the resampling.

    Returns:
        low, high: within the range of the samples.

    >>> median_interval([3.0] * 20)
    (3.0, 3.0)
    """
    samples = np.asarray(samples, np.float64)
    block = block_length(samples)
    medians = _resampled_medians(samples, block, np.random.default_rng(seed))
    tail = (1 - confidence) / 2
    ends = np.quantile(medians, [tail, 1 - tail])

    blocks = len(samples) / block
    t_per_z = _student_t(1 - tail, blocks - 1) / NormalDist().inv_cdf(1 - tail)
    bias = min(_dependence(_ranks(samples)) / block, MAX_BIAS)
    wider = WIDER * t_per_z * np.sqrt(blocks / max(blocks - 1, 1) / (1 - bias))
    middle = np.median(samples)
    ends = middle + (ends - middle) * wider
    low, high = np.clip(ends, samples.min(), samples.max())
    return float(low), float(high)


def undisturbed_difference(
    first: NDArray[np.float64], second: NDArray[np.float64], confidence: float = 0.95, seed: int = 0
) -> tuple[float, float, float]:
    """Return by how much `first` takes longer than `second` where nothing disturbs either.

    That is the difference of their 10th percentiles (see `undisturbed`). The interval is a
    moving-block bootstrap's, of rounds, widened as that of `median_interval` by Student's t.

    Args:
        first: [rounds] of latencies.
        second: [rounds], taken in the same rounds.
        confidence: how often the interval covers the true difference, in (0, 1).
        seed: of the resampling.

    Returns:
        difference, low, high.

    >>> undisturbed_difference(np.full(20, 3.0), np.full(20, 2.0))
    (1.0, 1.0, 1.0)
    """
    block = max(block_length(first), block_length(second))
    differences = np.concatenate(
        [
            np.quantile(first[positions], UNDISTURBED, axis=1)
            - np.quantile(second[positions], UNDISTURBED, axis=1)
            for positions in _resampled_positions(len(first), block, np.random.default_rng(seed))
        ]
    )
    tail = (1 - confidence) / 2
    blocks = len(first) / block
    t_per_z = _student_t(1 - tail, blocks - 1) / NormalDist().inv_cdf(1 - tail)
    middle = undisturbed(first) - undisturbed(second)
    ends = np.quantile(differences, [tail, 1 - tail])
    low, high = middle + (ends - middle) * t_per_z * np.sqrt(blocks / max(blocks - 1, 1))
    return middle, float(min(low, middle)), float(max(high, middle))


def block_length(samples: NDArray[np.float64]) -> int:
    """Return how many successive samples to resample together, 1 to a quarter of them.

    Twice Politis and White's length, computed on the samples' ranks so that outliers and ties do no
    harm, and at least the cube root of the number of samples.
    """
    n = len(samples)
    dependent = 2 * (1.5 * _dependence(_ranks(samples)) ** 2 * n) ** (1 / 3)
    return max(1, min(n // 4, int(np.ceil(max(n ** (1 / 3), dependent)))))


def _resampled_medians(
    samples: NDArray[np.float64], block: int, random: np.random.Generator
) -> NDArray[np.float64]:
    parts = _resampled_positions(len(samples), block, random)
    return np.concatenate([np.median(samples[positions], axis=1) for positions in parts])


def _resampled_positions(
    n: int, block: int, random: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Yield positions in [0, n) of `RESAMPLES` series of random blocks, [series, n], in parts."""
    starts = random.integers(0, n - block + 1, size=(RESAMPLES, -(-n // block)))
    for part in np.array_split(starts, -(-RESAMPLES * n // VALUES_AT_ONCE)):
        yield (part[:, :, np.newaxis] + np.arange(block)).reshape(len(part), -1)[:, :n]


def _ranks(samples: NDArray[np.float64]) -> NDArray[np.int64]:
    ranks: NDArray[np.int64] = np.unique(samples, return_inverse=True)[1]
    return ranks


def _dependence(series: NDArray[Any]) -> float:
    """Return sum(|lag| covariance) / sum(covariance) over all lags, with a flat-top window.

    In samples: how far each reaches; 0 where they are independent. Politis and White's block length
    is (1.5 * its square * n) ** (1 / 3), and blocks of b samples lose its b-th part of a variance.
    """
    n = len(series)
    deviations = series - series.mean()
    if n < 8 or not deviations.any():
        return 0.0
    spectrum = np.abs(np.fft.rfft(deviations, 2 * n)) ** 2
    covariance = np.fft.irfft(spectrum)[:n] / n

    # The lag after which `run` correlations in a row are noise; the window is twice as long.
    run = max(5, int(np.ceil(np.sqrt(np.log10(n)))))
    longest = min(n - 1, int(np.ceil(np.sqrt(n))) + run)
    noise = np.abs(covariance[1:] / covariance[0]) < 2 * np.sqrt(np.log10(n) / n)
    last = next((lag for lag in range(longest) if noise[lag : lag + run].all()), longest)
    window = min(2 * max(last, 1), longest)

    lags = np.arange(1, window + 1)
    flat_top = np.clip(2 * (1 - lags / window), 0, 1) * covariance[1 : window + 1]
    variance = covariance[0] + 2 * np.sum(flat_top)
    if variance <= 0:
        return 0.0
    return max(0.0, float(2 * np.sum(flat_top * lags) / variance))


def _student_t(probability: float, freedom: float) -> float:
    """Return Student's t quantile by Fisher's expansion: 0.8 % low at 3 degrees, exact at 8.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5.
    """
    z = NormalDist().inv_cdf(probability)
    v = max(freedom, 3.0)
    terms = (
        z,
        (z**3 + z) / (4 * v),
        (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2),
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3),
    )
    return sum(terms)
