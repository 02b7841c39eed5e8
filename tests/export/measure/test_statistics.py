import doctest
from statistics import NormalDist

import numpy as np
import pytest

from edgenets.export.measure import statistics
from edgenets.export.measure.statistics import (
    block_length,
    median,
    median_interval,
    p90,
    p99,
    ratio_of_medians,
    undisturbed_difference,
)


def latencies(seed, traces, runs, correlation, outliers=0.0):
    """Log-normal latencies around a true median of 1: AR(1) in time, outliers to both sides."""
    random = np.random.default_rng(seed)
    noise = random.standard_normal((traces, runs + 100))
    walk = noise.copy()
    for i in range(1, runs + 100):
        walk[:, i] = correlation * walk[:, i - 1] + np.sqrt(1 - correlation**2) * noise[:, i]
    samples = np.exp(0.05 * walk[:, 100:])
    hit = random.random(samples.shape)
    samples[hit < outliers / 2] *= 5
    samples[hit > 1 - outliers / 2] /= 5
    return samples


def test_median_and_p90_are_those_of_the_sorted_samples():
    assert median([5, 1, 3]) == 3
    assert median([4, 1, 2, 3]) == 2.5
    assert p90(range(101)) == 90
    assert p90([1, 2]) == pytest.approx(1.9)
    assert p99(range(101)) == 99


@pytest.mark.slow
def test_interval_covers_the_true_median_of_1000_traces_as_often_as_it_says():
    covered = {}
    for correlation in (0, 0.5, 0.8, 0.9):
        traces = latencies(1, 250, 300, correlation, outliers=0.05)
        ends = [median_interval(trace) for trace in traces]
        covered[correlation] = np.mean([low <= 1 <= high for low, high in ends])
    assert 0.92 <= np.mean(list(covered.values())) <= 0.98, covered
    assert min(covered.values()) >= 0.90  # 250 draws at 95 % have a standard deviation of 1.4 %


def test_ratio_of_medians_covers_the_true_ratio_and_finds_what_differs():
    random = np.random.default_rng(0)
    covered = []
    for _ in range(1000):
        drift = np.exp(np.cumsum(0.02 * random.standard_normal(10)))  # of the machine, of both
        layout = np.exp(0.004 * random.standard_normal((2, 10)))  # of each opening
        noise = 1 + 0.05 * random.exponential(size=(2, 10, 30))
        first, second = (drift * layout)[:, :, np.newaxis] * noise
        _, low, high = ratio_of_medians(first, 1.15 * second)
        assert low > 1
        covered.append(low <= 1.15 <= high)
    # 1000 draws at 99 % have a standard deviation of 0.3 %
    assert 0.98 <= np.mean(covered) <= 1


def test_interval_is_as_wide_as_theory_for_independent_samples():
    # The median's standard error is sqrt(pi / 2) * sigma / sqrt(n); the interval is 3.92 of them,
    # and WIDER.
    widths = [np.ptp(median_interval(trace)) for trace in latencies(2, 50, 400, correlation=0)]
    assert np.mean(widths) == pytest.approx(
        statistics.WIDER * 3.92 * np.sqrt(np.pi / 2) * 0.05 / 20, rel=0.15
    )


def test_interval_grows_with_correlation():
    def width(correlation):
        return np.mean([np.ptp(median_interval(t)) for t in latencies(3, 20, 400, correlation)])

    assert width(0) < width(0.5) < width(0.9)


def test_interval_repeats_with_its_seed_and_holds_the_median():
    (trace,) = latencies(4, 1, 500, 0.5)
    low, high = median_interval(trace, seed=3)
    assert (low, high) == median_interval(trace, seed=3) != median_interval(trace, seed=4)
    assert trace.min() <= low <= np.median(trace) <= high <= trace.max()


def test_more_confidence_is_a_wider_interval():
    (trace,) = latencies(5, 1, 500, 0)
    assert np.ptp(median_interval(trace, 0.5)) < np.ptp(median_interval(trace, 0.99))


@pytest.mark.parametrize("samples", [[2.0], [1.0, 2.0], [2.0] * 100, list(range(9))])
def test_interval_of_few_or_equal_samples_stays_within_them(samples):
    low, high = median_interval(samples)
    assert min(samples) <= low <= np.median(samples) <= high <= max(samples)


def test_samples_are_resampled_in_parts_that_fit_in_memory(monkeypatch):
    (trace,) = latencies(6, 1, 300, 0.5)
    whole = median_interval(trace)
    monkeypatch.setattr(statistics, "VALUES_AT_ONCE", 7 * len(trace))
    assert median_interval(trace) == whole


def test_block_length_follows_correlation_and_not_outliers_or_ties():
    independent, correlated = latencies(7, 1, 1000, 0)[0], latencies(7, 1, 1000, 0.9)[0]
    assert block_length(np.ones(1000)) == 10  # the cube root
    assert block_length(independent) <= 15
    assert 40 <= block_length(correlated) <= 250
    independent[::97] *= 1e6
    assert block_length(independent) <= 15
    assert block_length(np.round(latencies(8, 1, 1000, 0)[0], 1)) <= 15


def test_student_t_is_the_table():
    # Two-sided 95 %: the t table's 2.306 at 8 degrees of freedom, 2.042 at 30
    assert statistics._student_t(0.975, 8) == pytest.approx(2.306, abs=0.002)
    assert statistics._student_t(0.975, 30) == pytest.approx(2.042, abs=0.001)


def test_docstring_examples_are_right():
    assert doctest.testmod(statistics).failed == 0


def test_interval_of_an_undisturbed_difference_covers_the_true_one():
    # One file takes 1 ms more than the other; both are interrupted, the longer one more often.
    random = np.random.default_rng(2)
    covered = []
    for first, second in zip(latencies(3, 200, 100, 0.3), latencies(4, 200, 100, 0.3), strict=True):
        longer = 1 + first + 4 * (random.random(100) < 0.5)
        shorter = second + 4 * (random.random(100) < 0.3)
        difference, low, high = undisturbed_difference(longer, shorter)
        assert low <= difference <= high
        # Of 100 the 10th percentile is that of the 50 or 70 not interrupted, at 20 and 14 %.
        ends = [np.exp(0.05 * NormalDist().inv_cdf(share)) for share in (0.1 / 0.5, 0.1 / 0.7)]
        covered.append(low <= 1 + ends[0] - ends[1] <= high)
    assert 0.90 <= np.mean(covered) <= 0.999
