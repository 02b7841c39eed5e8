"""Splits load the same pixels whether they fit in memory or not."""

import threading

import numpy as np
import pytest

from edgenets.data import loading
from edgenets.data.images import Preparation, load_rgb, prepare
from edgenets.data.loading import Split, available_memory_bytes, map_in_threads
from edgenets.errors import EdgenetsError

PREPARATION = Preparation(6, 7)


@pytest.fixture
def split(make_folder):
    folder = make_folder({"a": 40})
    files = sorted(folder.glob("a/*"))
    array = np.full((9, 12, 3), 7, np.uint8)
    return Split((*files, array), np.arange(41))


def test_images_in_memory_and_decoded_on_demand_are_equal(split, monkeypatch):
    in_memory = split.load(PREPARATION)
    monkeypatch.setattr(loading, "available_memory_bytes", lambda: 0)
    on_demand = split.load(PREPARATION)
    assert in_memory._pixels is not None
    assert on_demand._pixels is None
    for indices in ([3, 40, 0, 3], range(41), np.array([], np.int64)):
        np.testing.assert_array_equal(in_memory.take(indices), on_demand.take(indices))


def test_take_returns_prepared_pixels_in_the_order_asked_for(split):
    images = split.load(PREPARATION)
    pixels = images.take([5, 2])
    assert len(images) == len(split) == 41
    assert pixels.shape == (2, 6, 6, 3)
    assert pixels.dtype == np.uint8
    for row, source in zip(pixels, (split.sources[5], split.sources[2]), strict=True):
        np.testing.assert_array_equal(row, prepare(load_rgb(source), PREPARATION))


def test_changing_what_take_returned_changes_nothing_else(split):
    images = split.load(PREPARATION)
    before = images.take([0])
    images.take([0])[:] = 0
    np.testing.assert_array_equal(images.take([0]), before)


def test_split_uses_at_most_a_quarter_of_the_memory(split, monkeypatch):
    size_bytes = 41 * 6 * 6 * 3
    for memory_bytes, kept in ((4 * size_bytes, True), (4 * size_bytes - 4, False)):
        monkeypatch.setattr(loading, "available_memory_bytes", lambda m=memory_bytes: m)
        assert (split.load(PREPARATION)._pixels is not None) == kept


def test_available_memory_is_plausible():
    assert 2**26 < available_memory_bytes() < 2**46


def test_subset_keeps_sources_and_labels_together(split):
    subset = split.subset(np.array([7, 1]))
    assert subset.sources == (split.sources[7], split.sources[1])
    assert subset.labels.tolist() == [7, 1]


def test_file_that_vanished_is_an_error_that_names_it(split):
    split.sources[3].unlink()
    with pytest.raises(EdgenetsError, match=rf"{split.sources[3]} was readable .*: no such file"):
        split.subset(np.array([3])).load(PREPARATION)


def test_threads_return_results_in_order_and_report_every_item():
    steps = []
    results = map_in_threads(lambda x: x * x, range(1000), steps.append)
    assert results == [x * x for x in range(1000)]
    assert sum(steps) == 1000


def test_an_error_in_a_thread_ends_the_rest_soon():
    begun = []

    def fail(item):
        begun.append(item)
        raise EdgenetsError("no")

    with pytest.raises(EdgenetsError, match="no"):
        map_in_threads(fail, range(100_000))
    assert len(begun) < 50_000
    assert threading.active_count() < 50
