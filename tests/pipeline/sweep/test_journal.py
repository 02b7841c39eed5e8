"""The journal after a full disk, and after a process that was killed amid a line."""

import resource
from contextlib import contextmanager

import pytest

from edgenets.errors import EdgenetsError
from edgenets.pipeline.sweep.config import check_sweep
from edgenets.pipeline.sweep.space import points_of
from edgenets.pipeline.sweep.store import JOURNAL, Store


@pytest.fixture
def store(tmp_path):
    nets = [{"net": "squeezenet", "base_expand": [8, 16], "resolution": 32}]
    return Store(tmp_path / "sweep", check_sweep({"nets": nets}, "sweep.yaml"))


@contextmanager
def no_file_longer_than(size):
    """As on a full disk, a write comes as far as it can and then fails."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_line_that_had_no_room_is_a_sentence_and_the_next_ones_are_read(store):
    first, second = points_of(store.config)
    store.add(first, 0)
    journal = store.folder / JOURNAL
    with (
        no_file_longer_than(journal.stat().st_size + 10),
        pytest.raises(EdgenetsError, match=r"cannot use .*sweep\.journal: File too large; what"),
    ):
        store.add(second, 0)
    assert not journal.read_bytes().endswith(b"\n")
    for each in (store, Store(store.folder)):  # the same process, and one that is begun again
        each.add(second, 0)
        assert each.trials()[-1].point == second
    assert [trial.number for trial in Store(store.folder).trials()] == [0, 1, 2]


def test_a_journal_that_is_damaged_amid_is_told(store):
    journal = store.folder / JOURNAL
    journal.write_bytes(b"{\n" + journal.read_bytes())
    with pytest.raises(EdgenetsError, match=r"sweep\.journal is damaged; restore it"):
        Store(store.folder)
