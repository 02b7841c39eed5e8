"""Which release a board gets, and which it remembers to have left."""

from __future__ import annotations

from dataclasses import fields

import pytest

from edgenets.errors import EdgenetsError
from edgenets.results.updates import Release
from edgenets.updates import slots
from edgenets.updates.boards import update_boards
from edgenets.updates.release import Board, choose, count_newer


def a_release(number: int = 1, **given) -> Release:
    none = dict.fromkeys(field.name for field in fields(Release))
    usual = {"model": "m", "number": number, "percent": 100, "yanked": False}
    return Release(**{**none, **usual, "runtimes": (), "deltas": (), "targets": (), **given})


@pytest.mark.parametrize(
    "oldest, before, runs",
    [(None, "3", True), (None, "2.1", False), ("2.1", None, True), ("2.2", None, False)],
)
def test_a_runtime_must_have_the_name_and_lie_in_the_range(oldest, before, runs: bool):
    release = a_release(runtimes=({"name": "litert", "oldest": oldest, "before": before},))
    here, other = (Board(None, None, (name, "2.1")) for name in ("litert", "other"))
    assert bool(choose([release], "m", here, None).release) is runs
    assert choose([release], "m", other, None).release is None


def test_a_board_gets_the_releases_of_its_class():
    both = [a_release(1, device_class="camera"), a_release(2, device_class="door")]
    for of_class, number in (("camera", 1), ("door", 2)):
        assert choose(both, "m", Board(of_class, None, ("l", "1")), None).release.number == number


def test_yanked_releases_replace_none():
    assert count_newer(a_release(1), [a_release(2, yanked=True), a_release(3)]) == 1


def test_the_oldest_that_were_left_are_forgotten():
    state = slots.State()
    for number in range(1, slots.MOST_LEFT + 2):
        state = slots.note_left(state, a_release(number, sha256="0"), "why")
    assert [row["number"] for row in state.left] == list(range(2, slots.MOST_LEFT + 2))


@pytest.mark.parametrize(
    "devices, sentence",
    [(["ssh://a", "ssh://a"], "given twice"), (["local"], "is no board over SSH")],
)
def test_what_are_no_boards_are_refused(devices, sentence: str):
    with pytest.raises(EdgenetsError, match=sentence):
        update_boards(devices, [])
