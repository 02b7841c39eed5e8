"""Splits are stratified, complete and repeatable."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenets.data.splits import SeededSplit, balanced_sample, hold_out
from edgenets.errors import EdgenetsError

label_arrays = st.lists(st.integers(0, 6), max_size=80).map(
    lambda labels: np.array(labels, np.int64)
)
fractions = st.floats(0.01, 0.99)
seeds = st.integers(0, 2**32)


@given(label_arrays, fractions, seeds)
def test_hold_out_gives_every_image_to_one_part(labels, fraction, seed):
    kept, held = hold_out(labels, fraction, seed)
    assert sorted([*kept, *held]) == list(range(len(labels)))
    assert list(kept) == sorted(kept)
    assert list(held) == sorted(held)


@given(label_arrays, fractions, seeds)
def test_hold_out_takes_the_fraction_of_each_class_but_never_all_or_none(labels, fraction, seed):
    _, held = hold_out(labels, fraction, seed)
    for label in set(labels.tolist()):
        size, share = np.sum(labels == label), np.sum(labels[held] == label)
        if size == 1:
            assert share == 0
        else:
            assert 1 <= share <= size - 1
            assert abs(share - fraction * size) <= 1


@given(label_arrays, st.integers(0, 100), seeds)
def test_balanced_sample_is_as_even_as_the_classes_allow(labels, count, seed):
    chosen = balanced_sample(labels, count, seed)
    assert len(set(chosen.tolist())) == len(chosen) == min(count, len(labels))
    assert list(chosen) == sorted(chosen)
    shares = {label: np.sum(labels[chosen] == label) for label in set(labels.tolist())}
    for label, share in shares.items():
        # A class gives fewer than another if it has no more, or one fewer for the remainder.
        assert share == np.sum(labels == label) or share >= max(shares.values()) - 1


@given(label_arrays, seeds)
def test_equal_seeds_choose_equal_images(labels, seed):
    for first, second in zip(hold_out(labels, 0.3, seed), hold_out(labels, 0.3, seed), strict=True):
        np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(
        balanced_sample(labels, 10, seed), balanced_sample(labels, 10, seed)
    )


def test_other_seeds_choose_other_images():
    labels = np.repeat(np.arange(3), 50)
    assert not np.array_equal(hold_out(labels, 0.2, 0)[1], hold_out(labels, 0.2, 1)[1])
    assert not np.array_equal(balanced_sample(labels, 30, 0), balanced_sample(labels, 30, 1))


def test_hold_out_of_a_fifth_of_ten_and_five_is_two_and_one():
    labels = np.repeat([0, 1], [10, 5])
    _, held = hold_out(labels, 0.2, seed=0)
    assert labels[held].tolist() == [0, 0, 1]


def test_a_sample_smaller_than_the_classes_favours_none():
    labels = np.arange(10)
    chosen = {balanced_sample(labels, 3, seed).tolist()[0] for seed in range(20)}
    assert len(chosen) > 1


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 2, float("nan")])
def test_fraction_outside_0_and_1_is_refused(fraction):
    with pytest.raises(EdgenetsError, match="between 0 and 1"):
        hold_out(np.array([0, 1]), fraction, seed=0)


def test_seeded_split_survives_json():
    split = SeededSplit(seed=7, test_fraction=0.2, fingerprint="67d1")
    assert SeededSplit.from_json(split.to_json()) == split


@pytest.mark.parametrize(
    "change", [{"seed": -1}, {"seed": True}, {"seed": "0"}, {"test_fraction": 0}, {"more": 1}]
)
def test_stored_split_that_cannot_be_is_refused(change):
    with pytest.raises(EdgenetsError, match="a seeded split looks like"):
        SeededSplit.from_json({**SeededSplit(0, 0.2, "67d1").to_json(), **change})
