"""Splits load the same pixels from memory, from disk and from their files."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from edgenets import memory
from edgenets.data import loading
from edgenets.data.images import Preparation, load_rgb, prepare
from edgenets.data.loading import Split, map_in_threads
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
    in_memory.take([0])
    monkeypatch.setattr(loading, "bound_bytes", lambda: 0)
    on_disk, on_demand = split.load(PREPARATION), split.load(PREPARATION, once=True)
    assert type(in_memory._kept) is np.ndarray
    assert type(on_disk._kept) is np.memmap
    assert on_demand._kept is None
    for indices in ([3, 40, 0, 3], range(41), np.array([], np.int64)):
        for images in (on_disk, on_demand):
            np.testing.assert_array_equal(in_memory.take(indices), images.take(indices))


def test_pixels_on_disk_are_read_once_and_leave_no_file(split, monkeypatch, tmp_path):
    monkeypatch.setattr(loading, "bound_bytes", lambda: 0)
    monkeypatch.setattr(loading, "WRITTEN_AT_ONCE", 16)
    monkeypatch.setattr(loading, "DISK", str(tmp_path))
    monkeypatch.delenv("TMPDIR", raising=False)
    before = set(tmp_path.iterdir())
    images = split.load(PREPARATION)
    images.take([0])
    assert set(tmp_path.iterdir()) == before
    expected = prepare(load_rgb(split.sources[20]), PREPARATION)
    split.sources[20].unlink()
    pixels = images.take([20])
    np.testing.assert_array_equal(pixels[0], expected)
    pixels[:] = 0  # a copy, which may be changed
    np.testing.assert_array_equal(images.take([20])[0], expected)


@pytest.mark.parametrize("free", [0, None])
def test_pixels_without_room_on_disk_are_decoded_at_every_take(split, monkeypatch, capsys, free):
    monkeypatch.setattr(loading, "bound_bytes", lambda: 0)
    if free is None:
        monkeypatch.setenv("TMPDIR", "/nowhere")
        monkeypatch.setattr(loading.tempfile, "gettempdir", lambda: "/nowhere")
    else:
        monkeypatch.setattr(loading.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    images = split.load(PREPARATION)
    assert images._kept is None
    np.testing.assert_array_equal(
        images.take([2])[0], prepare(load_rgb(split.sources[2]), PREPARATION)
    )
    said = capsys.readouterr().err
    assert "41 prepared images take 4.3 KiB, for which there is no room in memory or in" in said
    assert ("not enough room" if free == 0 else "/nowhere (No such file or directory)") in said
    assert said.count("\n") == 1


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
    for free_bytes, kept in ((4 * size_bytes, True), (4 * size_bytes - 4, False)):
        monkeypatch.setattr(memory, "free_bytes", lambda free=free_bytes: free)
        assert (split.load(PREPARATION, once=True)._kept is not None) == kept


def test_subset_keeps_sources_and_labels_together(split):
    subset = split.subset(np.array([7, 1]))
    assert subset.sources == (split.sources[7], split.sources[1])
    assert subset.labels.tolist() == [7, 1]


def test_file_that_vanished_is_an_error_that_names_it(split):
    split.sources[3].unlink()
    with pytest.raises(EdgenetsError, match=rf"{split.sources[3]} was readable .*: no such file"):
        split.subset(np.array([3])).load(PREPARATION).take([0])


def test_threads_return_results_in_order_and_report_every_item():
    steps = []
    results = map_in_threads(lambda x: x * x, range(1000), steps.append)
    assert results == [x * x for x in range(1000)]
    assert sum(steps) == 1000


def test_an_error_in_a_thread_ends_the_rest_soon():
    begun = []

    def fail(item):
        begun.append(item)
        if item == 0:
            raise EdgenetsError("no")
        threading.Event().wait(0.001)

    with pytest.raises(EdgenetsError, match=r"^no$"):
        map_in_threads(fail, range(4_000), largest_chunk=1)
    assert len(begun) < 2_000
