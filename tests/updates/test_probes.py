"""The probes of releases: their inputs are fetched once, and their answers with each release."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgenets.data.pixels import look_up, to_int8, to_network
from edgenets.errors import EdgenetsError
from edgenets.updates import probes, slots
from edgenets.updates.probe_files import (
    name_of_inputs,
    pack_answers,
    pack_inputs,
    read_probes,
)
from edgenets.updates.repository import add_target, set_release

LEVELS = np.arange(256).astype(np.uint8)


@pytest.fixture
def photograph() -> np.ndarray:
    """Two pictures that are smooth with some noise, as photographs are."""
    slope = np.add.outer(np.arange(32), np.arange(32))[np.newaxis, :, :, np.newaxis]
    noise = np.random.default_rng(0).integers(0, 8, (2, 32, 32, 3))
    return (2 * slope + noise).astype(np.uint8)


@pytest.mark.parametrize(
    "codes",
    [LEVELS, to_int8(LEVELS), to_network(LEVELS), np.stack([LEVELS * c for c in (1, 2, 3)], 1)],
    ids=["uint8", "int8", "float32", "by channel"],
)
def test_probes_come_back_as_the_network_takes_them(codes: np.ndarray, photograph: np.ndarray):
    outputs = np.float32([[0.1, 0.9], [0.7, 0.3]])
    inputs, expected = read_probes([pack_inputs(photograph), pack_answers(codes, outputs)])
    np.testing.assert_array_equal(inputs, look_up(codes, photograph))
    np.testing.assert_array_equal(expected, outputs)
    assert (inputs.dtype, expected.dtype) == (codes.dtype, outputs.dtype)


def test_inputs_take_less_than_npz_and_answers_next_to_nothing(photograph: np.ndarray):
    npz = io.BytesIO()
    np.savez_compressed(npz, inputs=photograph)
    assert len(pack_inputs(photograph)) < 0.75 * len(npz.getvalue())
    assert len(pack_answers(to_int8(LEVELS), np.int8([range(10)] * 4))) < 300


def test_inputs_are_named_by_the_pictures_alone(photograph: np.ndarray):
    assert name_of_inputs(photograph) == name_of_inputs(photograph.copy())
    assert name_of_inputs(photograph) != name_of_inputs(photograph[::-1])


def of_npz(**arrays: np.ndarray) -> bytes:
    """The file of probes in the first format of releases."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


@pytest.mark.parametrize(
    "contents",
    [
        [b"no package", b"no package"],
        [pack_answers(LEVELS, LEVELS[:2, np.newaxis])] * 2,
        [pack_inputs(np.zeros((1, 2, 2, 3), np.uint8)), pack_answers(LEVELS[:9], LEVELS)],
        [of_npz(inputs=LEVELS)],
        [of_npz(inputs=np.array([{}]), outputs=LEVELS)],
    ],
    ids=["no package", "no images", "no codes", "no outputs", "objects"],
)
def test_probes_that_are_none_are_a_sentence(contents: list[bytes]):
    with pytest.raises(EdgenetsError, match="its probes cannot be read"):
        read_probes(contents)


def test_the_next_update_fetches_answers_alone(world, untried):
    first, second = world.edgenets("release", "list", world.repository)["releases"]
    assert first["probes"]["inputs"] == second["probes"]["inputs"]
    assert first["probes"]["answers"]["target"] == "colours/1.answers.epk"
    record = world.update()
    (delta,) = second["deltas"]
    answers = second["probes"]["answers"]["size_bytes"]
    assert record["downloaded_bytes"] == delta["size_bytes"] + answers
    assert answers < 300 and second["probes"]["images"] == 3


@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: b""])
def test_kept_inputs_that_are_damaged_are_fetched_anew(change: Callable, world, untried):
    (kept,) = (world.board / "probes").iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(change(whole))
    record = world.update()
    (delta,) = record["release"]["deltas"]
    answers = record["release"]["probes"]["answers"]["size_bytes"]
    assert record["downloaded_bytes"] == delta["size_bytes"] + answers + len(whole)
    assert kept.read_bytes() == whole


def test_inputs_go_with_the_last_model_that_was_tried_with_them(world, untried):
    (old,) = (world.board / "probes").iterdir()
    (world.photographs / "test" / "red" / "1.png").unlink()
    (world.photographs / "test" / "green" / "1.png").rename(
        world.photographs / "test" / "red" / "1.png"
    )
    new = world.publish(3, "--probes", world.photographs)["probes"]["inputs"]["sha256"]
    assert new != old.name
    world.update()
    world.on_board("--confirm")
    assert {path.name for path in old.parent.iterdir()} == {old.name, new}
    world.publish(2)
    world.update()
    assert [path.name for path in old.parent.iterdir()] == [new]
    world.on_board("--confirm")
    world.publish(1)
    world.update()
    assert not list(old.parent.iterdir())


HERE, THERE = {"name": "a", "version": "1"}, {"name": "a", "version": "2"}


@pytest.mark.parametrize(
    "outputs, runtime, passes",
    [
        (np.int8([[3, 5]]), HERE, True),
        (np.int8([[3, 6]]), HERE, False),
        (np.int8([[3, 7]]), THERE, True),
        (np.int8([[3, 8]]), THERE, False),
        (np.int8([[3, 5, 0]]), THERE, False),
        (np.float32([[3, 7]]), HERE, True),
        (np.float32([[3, np.nan]]), HERE, False),
    ],
)
def test_answers_are_exact_in_the_runtime_of_the_release_and_near_in_others(
    outputs: np.ndarray, runtime: dict, passes: bool, monkeypatch: pytest.MonkeyPatch
):
    expected = np.array([[3, 5]], outputs.dtype)
    files = [pack_inputs(np.zeros((1, 2, 2, 3), np.uint8)), pack_answers(LEVELS, expected)]
    monkeypatch.setattr(probes, "run", lambda *_: (outputs, runtime))
    with (
        nullcontext()
        if passes
        else pytest.raises(EdgenetsError, match=r"answers differ|it returns")
    ):
        probes.check_probes(Path("net"), files, {"runtime": HERE, "tolerance": 2})


def in_the_first_format(world) -> None:
    """Make the newest release one as edgenets published them before inputs had their own file."""

    def change(repository) -> None:
        release = repository.releases()[-1]
        listed = repository.targets.signed.targets
        files = [release.probes[key]["target"] for key in ("inputs", "answers")]
        paths = [world.repository / "targets" / listed[f].get_prefixed_paths()[0] for f in files]
        inputs, outputs = read_probes([path.read_bytes() for path in paths])
        content = of_npz(inputs=inputs, outputs=outputs)
        same = {key: release.probes[key] for key in ("images", "runtime", "tolerance")}
        probes = same | add_target(repository, "colours/2.probes.npz", content)
        set_release(repository, replace(release, probes=probes))

    world.forge(change)


@pytest.mark.slow
def test_a_release_of_the_first_format_is_tried_and_goes_back_in_it(world):
    in_the_first_format(world)
    record = world.update()
    probes = record["release"]["probes"]
    assert record["action"] == "installed" and probes["target"] == "colours/2.probes.npz"
    text = (world.board / "slots" / "b" / "release.json").read_text()
    assert '"format": 1' in text
    assert '"format": 2' in (world.board / "slots" / "a" / "release.json").read_text()
    assert slots.release_in(world.board, "b").number == 2
