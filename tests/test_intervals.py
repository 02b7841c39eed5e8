import numpy as np
import pytest

from edgenets.intervals import paired_interval, wilson_interval


@pytest.mark.parametrize(
    "right, samples, low, high",
    [
        (0, 10, 0, 3.8415 / 13.8415),  # z^2 / (n + z^2) with z = 1.96
        (10, 10, 10 / 13.8415, 1),
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I
        (15, 148, 0.0624, 0.1605),
    ],
)
def test_wilson_interval_is_the_published_one(right, samples, low, high):
    assert wilson_interval(right / samples, samples) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize(
    "first_only, second_only, samples",
    [(0.05, 0, 100), (0.02, 0, 100), (0.03, 0.01, 100), (0.05, 0.02, 500), (0.1, 0.05, 300)],
)
def test_paired_interval_holds_the_difference_in_19_of_20_cases(first_only, second_only, samples):
    chances = [first_only, second_only, 1 - first_only - second_only]
    drawn = np.random.default_rng(0).multinomial(samples, chances, 2000)
    intervals = np.array([paired_interval(int(a), int(b), samples) for a, b, _ in drawn])
    difference = first_only - second_only
    assert np.mean((intervals[:, 0] <= difference) & (difference <= intervals[:, 1])) >= 0.945


def test_that_no_image_tells_two_nets_apart_does_not_make_them_equal():
    low, high = paired_interval(0, 0, 100)
    assert -0.05 < low == -high < -0.01
