import numpy as np

from edgenets.pipeline.sweep.front import (
    accuracy_difference,
    best,
    front_of,
    is_more_accurate,
    ranks,
)


def row(size, bits, paired=True):
    bits = np.asarray(bits, bool)
    right = np.packbits(bits).tobytes().hex() if paired else None
    return {
        "stored_bytes": size,
        "top1": float(bits.mean()),
        "samples": len(bits),
        "right": right,
    }


def first(count, samples=400):
    """Answers of which the first `count` are right."""
    return np.arange(samples) < count


def test_pairs_tell_apart_what_overlapping_intervals_do_not():
    # 380 and 370 of 400: one is right wherever the other is, and on 10 images more.
    better, worse = row(2, first(380)), row(1, first(370))
    assert is_more_accurate(better, worse)
    assert not is_more_accurate(row(2, first(380), paired=False), row(1, first(370)))
    low, high = accuracy_difference(row(2, first(380), paired=False), worse)
    assert low < 0 < 10 / 400 < high


def test_pairs_that_differ_in_both_directions_are_alike():
    swapped = first(380)
    swapped[:30], swapped[380:] = False, True  # 20 only here, 30 only there
    assert not is_more_accurate(row(1, first(380)), row(1, swapped))
    assert not is_more_accurate(row(1, swapped), row(1, first(380)))


def test_a_dearer_point_is_on_the_front_only_if_it_is_surely_more_accurate():
    rows = [
        row(30, first(399)),  # surely better than the two cheaper ones
        row(10, first(360)),
        row(20, first(363)),  # three images more than the cheaper one, which may be chance
        row(40, first(300)),  # dearer and worse
    ]
    assert front_of(rows, "stored_bytes") == [1, 0]


def test_a_row_without_the_figure_is_on_no_front():
    assert front_of([row(None, first(399)), row(5, first(10))], "stored_bytes") == [1]


def test_of_equally_cheap_points_the_more_accurate_is_taken():
    assert front_of([row(10, first(200)), row(10, first(300))], "stored_bytes") == [1]


def test_front_of_nothing_is_empty():
    assert front_of([], "stored_bytes") == []
    assert best([], 3) == []


def test_layers_of_better_points_are_peeled_off_one_by_one():
    assert ranks([(1, 1), (2, 2), (1, 2), (3, 3), (1, 1)]) == [0, 2, 1, 3, 0]


def test_the_best_are_whole_layers_and_the_ends_of_the_next_one():
    points = [(1, 9), (2, 8), (3, 7), (9, 1), (10, 10)]
    assert best(points, 2) == [0, 3]
    assert best(points, 5) == [0, 1, 2, 3, 4]
