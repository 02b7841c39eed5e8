import pytest

from edgenets.intervals import wilson_interval


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
